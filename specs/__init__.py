"""What must hold: input sets, the specification language, and its normal form, the `Query`.

x0, c, eps = Data("x0", (1, 8, 8)), Label("c", 10), Param("eps", 0.1)
x, f = Var("x", like=x0), Net("f", (1, 8, 8), 10)
spec = forall(x, ball(x0, eps) & box(0, 1), argmax(f(x)) == c)
query = spec.query(model, x0=images, c=labels)      # a batch of problems; query.violation(x) > 0 is bad
"""

from .expressions import (
    Data,
    Domain,
    Expr,
    Formula,
    Label,
    Net,
    Param,
    Term,
    Var,
    all_,
    any_,
    argmax,
    ball,
    between,
    box,
    implies,
    vmax,
    vmin,
    vsum,
)
from .library import SPECS, output_bounds, robustness, spec, targeted
from .query import Query, Verdict
from .sets import Ball, Box, InputSet, Intersection, Product
from .spec import Spec, forall
from .tree import All, Any, Atom, Tree
from .vnnlib import VnnlibProperty, parse_vnnlib, read_vnnlib

__all__ = [
    "SPECS",
    "All",
    "Any",
    "Atom",
    "Ball",
    "Box",
    "Data",
    "Domain",
    "Expr",
    "Formula",
    "InputSet",
    "Intersection",
    "Label",
    "Net",
    "Param",
    "Product",
    "Query",
    "Spec",
    "Term",
    "Tree",
    "Var",
    "Verdict",
    "VnnlibProperty",
    "all_",
    "any_",
    "argmax",
    "ball",
    "between",
    "box",
    "forall",
    "implies",
    "output_bounds",
    "parse_vnnlib",
    "read_vnnlib",
    "robustness",
    "spec",
    "targeted",
    "vmax",
    "vmin",
    "vsum",
]

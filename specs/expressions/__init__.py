"""The language: terms over one network, formulas over terms, and domains; one file per kind of node."""

from .arithmetic import vsum
from .base import Expr, Formula, Term
from .comparisons import all_, any_, argmax, between
from .domains import Domain, ball, box
from .extrema import vmax, vmin
from .indexing import Element
from .leaves import Data, Label, Net, Param, Shape, Var
from .logic import implies

__all__ = [
    "Data",
    "Domain",
    "Element",
    "Expr",
    "Formula",
    "Label",
    "Net",
    "Param",
    "Shape",
    "Term",
    "Var",
    "all_",
    "any_",
    "argmax",
    "ball",
    "between",
    "box",
    "implies",
    "vmax",
    "vmin",
    "vsum",
]

"""The language: terms over networks, formulas over terms, and domains; one file per kind of node."""

from .arithmetic import vsum
from .base import Expr, Formula, Term
from .comparisons import all_, any_, argmax, between, rank
from .constants import Const
from .domains import Domain, ball, box
from .extrema import vmax, vmin
from .functions import cos, exp, log, log_softmax, relu, sigmoid, sin, softmax, sqrt, tanh
from .indexing import Element
from .leaves import Data, Label, Param, Shape, Var
from .logic import implies
from .networks import Net
from .norms import dot, norm
from .shaping import concat, reshape, stack

__all__ = [
    "Const",
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
    "concat",
    "cos",
    "dot",
    "exp",
    "implies",
    "log",
    "log_softmax",
    "norm",
    "rank",
    "relu",
    "reshape",
    "sigmoid",
    "sin",
    "softmax",
    "sqrt",
    "stack",
    "tanh",
    "vmax",
    "vmin",
    "vsum",
]

"""The language: terms over networks, formulas over terms, and domains; one file per kind of node."""

from .arithmetic import vsum
from .balls import ball
from .base import Expr, Formula, Term
from .choices import choice, segment
from .comparisons import all_, any_, argmax, between, rank
from .constants import Const
from .domains import Domain, box
from .extrema import vmax, vmin
from .functions import cos, exp, log, log_softmax, relu, sigmoid, sin, softmax, sqrt, tanh
from .indexing import Element
from .leaves import Data, Label, Param, Shape, Var
from .logic import implies
from .networks import Net
from .norms import dot, norm
from .patches import patch
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
    "choice",
    "concat",
    "cos",
    "dot",
    "exp",
    "implies",
    "log",
    "log_softmax",
    "norm",
    "patch",
    "rank",
    "relu",
    "reshape",
    "segment",
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

"""The language: terms over networks, formulas over terms, and domains; one file per kind of node."""

from .arithmetic import vsum
from .balls import ball
from .base import Expr, Formula, Term
from .choices import choice, segment
from .choosing import conf, drop
from .comparisons import all_, any_, argmax, between, rank
from .constants import Const
from .counting import at_least
from .coupling import close
from .detection import iou
from .domains import Domain, box
from .extrema import vmax, vmin
from .functions import cos, exp, log, log_softmax, relu, sigmoid, sin, softmax, sqrt, tanh
from .indexing import Element
from .leaves import Data, Label, Param, Shape, Var
from .logic import implies
from .naming import let
from .networks import Net
from .norms import dot, norm
from .patches import patch
from .picking import add, flip, pick, put
from .shaping import concat, reshape, stack
from .temporal import always, eventually, rollout, until
from .tokens import one_hot, synonyms

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
    "add",
    "all_",
    "always",
    "any_",
    "argmax",
    "at_least",
    "ball",
    "between",
    "box",
    "choice",
    "close",
    "concat",
    "conf",
    "cos",
    "dot",
    "drop",
    "eventually",
    "exp",
    "flip",
    "implies",
    "iou",
    "let",
    "log",
    "log_softmax",
    "norm",
    "one_hot",
    "patch",
    "pick",
    "put",
    "rank",
    "relu",
    "reshape",
    "rollout",
    "segment",
    "sigmoid",
    "sin",
    "softmax",
    "sqrt",
    "stack",
    "synonyms",
    "tanh",
    "until",
    "vmax",
    "vmin",
    "vsum",
]

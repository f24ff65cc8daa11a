"""The operators of expressions by their nodes in the syntax, and the kinds of values in words."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction

from ..expressions.base import Expr, Formula, Term
from ..expressions.comparisons import ArgMax, Rank
from ..expressions.domains import Domain
from ..expressions.leaves import Label
from ..expressions.networks import Net
from .numbers import plain

__all__ = ["BINARY", "COMPARISONS", "CONNECTIVES", "INVERT", "MIRRORED", "described", "operand"]

_Apply = Callable[..., object]

BINARY: Mapping[type[ast.operator], tuple[str, _Apply]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.Pow: ("**", operator.pow),
    ast.MatMult: ("@", operator.matmul),
    ast.BitAnd: ("&", operator.and_),
    ast.BitOr: ("|", operator.or_),
}

CONNECTIVES: Mapping[type[ast.boolop], tuple[str, _Apply]] = {
    ast.And: ("and", operator.and_),
    ast.Or: ("or", operator.or_),
}

INVERT: _Apply = operator.invert

COMPARISONS: Mapping[type[ast.cmpop], _Apply] = {
    ast.LtE: operator.le,
    ast.Lt: operator.lt,
    ast.GtE: operator.ge,
    ast.Gt: operator.gt,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}

MIRRORED: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.LtE: ast.GtE,
    ast.Lt: ast.Gt,
    ast.GtE: ast.LtE,
    ast.Gt: ast.Lt,
    ast.Eq: ast.Eq,
    ast.NotEq: ast.NotEq,
}
"""a REL b says the same as b MIRRORED a."""

_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    ((Fraction, float), "a number"),
    (Term, "the term"),
    (Label, "the label"),
    (Domain, "the domain"),
    (Formula, "the formula"),
    (ArgMax, "the class"),
    (Rank, "a rank"),
    (Net, "the network"),
    (str, "a string"),
    (list, "a list"),
    (tuple, "a tuple"),
    (bool, "a truth value"),
)


def described(value: object) -> str:
    """A value in a few words, for messages."""
    kind = next((word for types, word in _KINDS if isinstance(value, types)), type(value).__name__)
    if isinstance(value, Expr):
        return f"{kind} `{value.text if len(value.text) <= 60 else value.text[:60] + '..'}`"
    return f"{kind} `{value.name}`" if isinstance(value, Net) else kind


def operand(value: object) -> object:
    """The value as the language takes it: numbers as int or float, also inside lists."""
    if isinstance(value, Fraction | float):
        return plain(value)
    if isinstance(value, list | tuple):
        return type(value)(operand(item) for item in value)
    return value

"""Functions of one number, elementwise, and softmax: features that verifiers bound by operator rules."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError

from ..vocabulary import function
from .base import Expr, Term, term
from .scope import Scope

__all__ = [
    "FUNCTIONS",
    "Function",
    "Pointwise",
    "Softmax",
    "cos",
    "exp",
    "log",
    "log_softmax",
    "relu",
    "sigmoid",
    "sin",
    "softmax",
    "sqrt",
    "tanh",
]


@dataclass(frozen=True, slots=True)
class Function:
    """A named function of one number and what computes it."""

    name: str
    run: Callable[[Tensor], Tensor]

    def __call__(self, of: object) -> Term:
        """The function of every element of a term."""
        return Pointwise(self, term(of))


@dataclass(frozen=True, eq=False, repr=False)
class Pointwise(Term):
    """function(of), elementwise."""

    function: Function
    of: Term

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of,)

    @property
    def text(self) -> str:
        return f"{self.function.name}({self.of.text})"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.of.shape

    def run(self, scope: Scope) -> Tensor:
        return self.function.run(scope.of(self.of))


@dataclass(frozen=True, eq=False, repr=False)
class Softmax(Term):
    """Softmax over the last axis, or its logarithm."""

    of: Term
    logarithm: bool

    def __post_init__(self) -> None:
        if not self.of.shape:
            raise ShapeError(f"softmax of `{self.of.text}`, a single number", cure="give a vector")

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of,)

    @property
    def text(self) -> str:
        return f"{'log_softmax' if self.logarithm else 'softmax'}({self.of.text})"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.of.shape

    def run(self, scope: Scope) -> Tensor:
        logits = scope.of(self.of)
        return logits.log_softmax(-1) if self.logarithm else logits.softmax(-1)


@function("softmax")
def softmax(of: object) -> Term:
    """The softmax over the last axis of a term."""
    return Softmax(term(of), False)


@function("log_softmax")
def log_softmax(of: object) -> Term:
    """The logarithm of the softmax over the last axis of a term."""
    return Softmax(term(of), True)


exp = Function("exp", torch.exp)
log = Function("log", torch.log)
sqrt = Function("sqrt", torch.sqrt)
sin = Function("sin", torch.sin)
cos = Function("cos", torch.cos)
sigmoid = Function("sigmoid", torch.sigmoid)
tanh = Function("tanh", torch.tanh)
relu = Function("relu", torch.relu)

FUNCTIONS = (exp, log, sqrt, sin, cos, sigmoid, tanh, relu)
"""Every function of one number that the language has."""

for _one in FUNCTIONS:
    function(_one.name)(_one)

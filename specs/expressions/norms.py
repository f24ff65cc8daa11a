"""Norms and inner products of terms."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from robustbench_local.errors import SpecError

from ..vocabulary import function
from .arithmetic import Multiply, Total
from .base import Bindings, Expr, Term, term
from .extrema import Absolute, Largest
from .scope import Scope
from .values import Value

__all__ = ["Norm", "dot", "norm"]


@dataclass(frozen=True, eq=False, repr=False)
class Norm(Term):
    """|of|_p over all elements, p one of 1, 2, inf; inf, and few summands of 1, split into exact cases."""

    of: Term
    p: float

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of,)

    @property
    def text(self) -> str:
        return f"norm({self.of.text}, {self.p:g})"

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    @property
    def unit(self) -> str | None:
        return self.of.unit

    def lower(self, env: Bindings) -> Value:
        if self.p == 2:
            return super().lower(env)
        size = Absolute(self.of)
        return (Largest((size,)) if math.isinf(self.p) else Total(size)).lower(env)

    def run(self, scope: Scope) -> Tensor:
        flat = scope.of(self.of).flatten(1) if self.of.shape else scope.of(self.of).unsqueeze(1)
        if math.isinf(self.p):
            return flat.abs().amax(1)
        return flat.abs().sum(1) if self.p == 1 else flat.norm(dim=1)


@function("norm")
def norm(of: object, p: float = 2) -> Term:
    """|of|_p of all elements of a term, p one of 1, 2 and math.inf; a scalar."""
    if p not in (1, 2, math.inf):
        raise SpecError(f"no norm of p = {p!r}", cure="supported: 1, 2, inf")
    return Norm(term(of), float(p))


@function("dot")
def dot(left: object, right: object) -> Term:
    """The sum of the products of two terms' elements, of one shape; a scalar."""
    return Total(Multiply(term(left), term(right)))

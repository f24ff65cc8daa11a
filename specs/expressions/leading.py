"""By how much each element of a vector leads all others: one feature in place of rows for every pair."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .base import Expr, Term
from .scope import Scope

__all__ = ["Leads"]


@dataclass(frozen=True, eq=False, repr=False)
class Leads(Term):
    """y_k - max over j != k of y_j, for every element k of a vector of at least 2 elements."""

    of: Term

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.of,)

    @property
    def text(self) -> str:
        return f"leads({self.of.text})"

    @property
    def shape(self) -> tuple[int, ...]:
        return self.of.shape

    def run(self, scope: Scope) -> Tensor:
        y = scope.of(self.of)
        before, after = _running(y), _running(y.flip(1)).flip(1)  # max of y_0 .. y_k, of y_k .. y_K-1
        between = torch.maximum(before[:, :-2], after[:, 2:])
        return y - torch.cat([after[:, 1:2], between, before[:, -2:-1]], 1)


def _running(y: Tensor) -> Tensor:
    """Running maxima, by doubling: bounds of a cummax would take K * K numbers for every row."""
    step = 1
    while step < y.shape[1]:
        y = torch.cat([y[:, :step], torch.maximum(y[:, step:], y[:, :-step])], 1)
        step *= 2
    return y

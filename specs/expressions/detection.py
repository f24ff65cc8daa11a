"""Boxes of detectors: how much of two boxes is common to both."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError

from ..vocabulary import function
from .base import Expr, Term, term
from .scope import Scope

__all__ = ["Overlap", "iou"]


@dataclass(frozen=True, eq=False, repr=False)
class Overlap(Term):
    """Intersection over union of two boxes (left, top, right, bottom)."""

    left: Term
    right: Term

    def __post_init__(self) -> None:
        for part in (self.left, self.right):
            if part.shape != (4,):
                raise ShapeError(
                    f"`{part.text}` has shape {part.shape}", cure="give boxes as (left, top, right, bottom)"
                )

    @property
    def children(self) -> tuple[Expr, ...]:
        return self.left, self.right

    @property
    def text(self) -> str:
        return f"iou({self.left.text}, {self.right.text})"

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    def run(self, scope: Scope) -> Tensor:
        a, b = scope.of(self.left), scope.of(self.right)
        low, high = torch.maximum(a[:, :2], b[:, :2]), torch.minimum(a[:, 2:], b[:, 2:])
        # part = common / (area + area) is at most 1/2, and common / union = 1 / (1 - part) - 1: written so,
        # the quotient has a bound even where the areas are only known apart from each other
        part = _area(low, high) / (_area(a[:, :2], a[:, 2:]) + _area(b[:, :2], b[:, 2:]))
        return (1 - part.clamp(0, 0.5)).reciprocal() - 1


def _area(low: Tensor, high: Tensor) -> Tensor:
    sides = (high - low).relu()
    return sides[:, 0] * sides[:, 1]


@function("iou")
def iou(left: object, right: object) -> Term:
    """Intersection over union of two boxes (left, top, right, bottom), in [0, 1].

    A box whose right edge lies left of its left edge is empty. One of the two must keep a positive area:
    bounds are infinite where both may be empty.
    """
    return Overlap(term(left), term(right))

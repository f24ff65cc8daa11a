"""Elementwise bounds of a tensor: the value that interval propagation passes from node to node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

__all__ = ["Interval", "contract", "contract_rows"]


@dataclass(frozen=True, slots=True, eq=False)
class Interval:
    """Bounds `lower <= value <= upper`, both (B, *shape); NaN means that nothing is known."""

    lower: Tensor
    upper: Tensor
    _kept: dict[object, Any] = field(default_factory=dict, init=False, repr=False)

    def once(self, key: object, make: Callable[[], T]) -> T:
        """What `make` computes from this interval (and constants that `key` stands for), computed once.

        Backward propagation asks for the same lines again for every start node and every tuning step.
        """
        if key not in self._kept:
            self._kept[key] = make()
        found: T = self._kept[key]
        return found

    def mid_radius(self) -> tuple[Tensor, Tensor]:
        """Centre and half width, both (B, *shape)."""
        return self.once("mid_radius", self._mid_radius)

    def _mid_radius(self) -> tuple[Tensor, Tensor]:
        mid = torch.lerp(self.lower, self.upper, 0.5)
        return mid, self.upper - mid

    @staticmethod
    def around(centre: Tensor, spread: Tensor) -> Interval:
        """centre - spread <= value <= centre + spread; without gradients `spread` is overwritten."""
        lower = centre - spread
        return Interval(lower, centre + spread if torch.is_grad_enabled() else spread.add_(centre))

    def intersect(self, other: Interval) -> Interval:
        """The tighter of two valid bounds in each coordinate; NaN in either stays NaN."""
        return Interval(torch.maximum(self.lower, other.lower), torch.minimum(self.upper, other.upper))

    def select(self, samples: Tensor) -> Interval:
        """The bounds of some samples: index (b,)."""
        return Interval(self.lower[samples], self.upper[samples])

    def put(self, samples: Tensor, part: Interval) -> Interval:
        """The same with other bounds of some samples: index (b,)."""
        lower = self.lower.index_copy(0, samples, part.lower)
        return Interval(lower, self.upper.index_copy(0, samples, part.upper))

    def unsqueeze(self, axis: int) -> Interval:
        """The same bounds with a new axis of length one."""
        return Interval(self.lower.unsqueeze(axis), self.upper.unsqueeze(axis))

    def scaled(self, factor: Tensor | float) -> Interval:
        """Bounds of factor * value, with broadcasting; NaN stays NaN."""
        one, other = self.lower * factor, self.upper * factor
        return Interval(torch.minimum(one, other), torch.maximum(one, other))

    def plus(self, other: Interval) -> Interval:
        """Bounds of the sum, with broadcasting."""
        return Interval(self.lower + other.lower, self.upper + other.upper)

    def times(self, other: Interval) -> Interval:
        """All products of a value of one and a value of the other, with broadcasting; NaN stays NaN."""
        ends = [a * b for a in (self.lower, self.upper) for b in (other.lower, other.upper)]
        low = torch.minimum(torch.minimum(ends[0], ends[1]), torch.minimum(ends[2], ends[3]))
        high = torch.maximum(torch.maximum(ends[0], ends[1]), torch.maximum(ends[2], ends[3]))
        return Interval(low, high)

    def minimum(self, a: Tensor) -> Tensor:
        """Smallest value of <a_k, x> over the box: a (B or 1, K, *shape) -> (B, K), exact."""
        mid, radius = self.mid_radius()
        return contract(a, mid) - contract(a.abs(), radius)


def contract(a: Tensor, v: Tensor) -> Tensor:
    """<a_k, v> per sample and row: a (B or 1, K, *shape), v (B or 1, *shape) -> (B, K)."""
    if a.dim() == 2:  # one number per sample
        return a * v.unsqueeze(1)
    if a.dim() > 3 and not a.is_contiguous():
        # rows in channels-last memory: contract in that order, without a copy
        a, v = a.movedim(2, -1), v.movedim(1, -1)
    return (a.flatten(2) @ v.flatten(1).unsqueeze(2)).squeeze(2)


def contract_rows(a: Tensor, v: Tensor) -> Tensor:
    """<a_k, v_k>: a (B or 1, K, *shape), v (B or 1, K or 1, *shape), with an axis for rows -> (B, K)."""
    if v.shape[1] == 1:
        return contract(a, v.squeeze(1))
    terms = a * v
    return terms.reshape(*terms.shape[:2], -1).sum(2)  # a node of one number has no axes of its own

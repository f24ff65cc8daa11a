"""Elementwise bounds of a tensor: the value that interval propagation passes from node to node."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Interval", "contract"]


@dataclass(frozen=True, slots=True, eq=False)
class Interval:
    """Bounds `lower <= value <= upper`, both (B, *shape); NaN means that nothing is known."""

    lower: Tensor
    upper: Tensor

    def mid_radius(self) -> tuple[Tensor, Tensor]:
        """Centre and half width, both (B, *shape)."""
        mid = (self.lower + self.upper) / 2
        return mid, self.upper - mid

    def intersect(self, other: Interval) -> Interval:
        """The tighter of two valid bounds in each coordinate; NaN in either stays NaN."""
        return Interval(torch.maximum(self.lower, other.lower), torch.minimum(self.upper, other.upper))

    def select(self, samples: Tensor) -> Interval:
        """The bounds of some samples: index (b,)."""
        return Interval(self.lower[samples], self.upper[samples])

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

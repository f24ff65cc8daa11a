"""Where an interval of coordinates lies on a row of knots, and what linear interpolation can do there.

A function that is linear between the knots 0, 1, ..., n - 1, and constant beyond the first and the last, has
its extreme values over an interval at the interval's ends or at knots between them, also with a linear
function subtracted. Its value is a mean of the knots' values with the weights max(0, 1 - |u - k|).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Reach"]

_MOST_KNOTS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Reach:
    """Intervals [low, high] of coordinates, each (B, P), on the knots 0, ..., size - 1.

    knots (K, B, P): numbers of the knots around, the last repeated where there are fewer than K; `inside`
    tells which lie between the ends. places (K + 2, B, P): the ends, and these. at_low and at_high (K, B, P):
    the weights at the ends; least and most (K, B, P): the range of the weights within. wide (B, P): the
    interval is not finite or meets too many knots; all the rest then says nothing.
    """

    size: int
    low: Tensor
    high: Tensor
    knots: Tensor
    places: Tensor
    inside: Tensor
    at_low: Tensor
    at_high: Tensor
    least: Tensor
    most: Tensor
    wide: Tensor

    @staticmethod
    def of(low: Tensor, high: Tensor, size: int) -> Reach:
        """The reach of intervals on `size` >= 1 knots."""
        known = torch.isfinite(low) & torch.isfinite(high)
        low, high = torch.where(known, low, 0), torch.where(known, high, 0)
        near_low, near_high = low.clamp(0, size - 1), high.clamp(0, size - 1)
        first, last = near_low.floor(), near_high.ceil()
        count = last - first + 1
        wide = (count > _MOST_KNOTS) | ~known
        narrow = count.masked_fill(wide, 1)
        longest = int(narrow.max()) if narrow.numel() else 1
        steps = torch.arange(longest, dtype=low.dtype, device=low.device).reshape(-1, 1, 1)
        knots = (first + steps).clamp(max=size - 1)
        new = first + steps <= size - 1  # not a repetition
        inside = (knots > low) & (knots < high) & new
        at_low, at_high = (_hat(knots - x) * new for x in (near_low, near_high))
        nearest = torch.minimum(torch.maximum(knots, near_low), near_high)
        return Reach(
            size,
            low,
            high,
            knots.long(),
            torch.cat((low.unsqueeze(0), torch.where(inside, knots, low), high.unsqueeze(0))),
            inside,
            at_low,
            at_high,
            torch.minimum(at_low, at_high),
            _hat(knots - nearest) * new,
            wide,
        )

    def along(self, values: Tensor) -> Tensor:
        """Values (K, *any, B, *any, P) on the knots as values at `places` (K + 2, *any, B, *any, P)."""
        at_low, at_high = (_summed(_fitted(w, values) * values) for w in (self.at_low, self.at_high))
        middle = torch.where(_fitted(self.inside, values), values, at_low)
        return torch.cat((at_low, middle, at_high))

    def slopes(self, values: Tensor, others: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The least and the largest slope within the intervals, and zero: values as in `along`.

        others: upper bounds of the knots' values, of which `values` then are lower bounds.
        """
        top = values if others is None else others
        cells, zero = _fitted(self._cells(), values[1:]), torch.zeros_like(values[:1])
        least = torch.cat((zero, (values[1:] - top[:-1]) * cells))
        return least.amin(0), torch.cat((zero, (top[1:] - values[:-1]) * cells)).amax(0)

    def secant(self, values: Tensor) -> Tensor:
        """The slope from one end to the other: values as in `along`; zero at points."""
        share = ((self.at_high - self.at_low) / (self.high - self.low)).nan_to_num(0.0).clamp(-1, 1)
        return _summed(_fitted(share, values) * values).squeeze(0)

    def middle(self, values: Tensor) -> Tensor:
        """The mean of the values at both ends."""
        return _summed(_fitted((self.at_low + self.at_high) / 2, values) * values).squeeze(0)

    def _cells(self) -> Tensor:
        """Which gaps between neighbouring knots the intervals meet, (K - 1, B, P)."""
        left, right = self.knots[:-1], self.knots[1:]
        return (left < right) & (left < self.high) & (right > self.low)


def _hat(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _summed(values: Tensor) -> Tensor:
    return values.sum(0, keepdim=True)


def _fitted(table: Tensor, values: Tensor) -> Tensor:
    """A table (K, B, P) with axes of length one, so that it broadcasts with values (K, *any, B, R, C, P)."""
    between = (1,) * (values.dim() - 5)
    return table.reshape(table.shape[0], *between, table.shape[1], 1, 1, table.shape[2])

"""What a price on |x' - x|_p does to pairs (x, x') of boxes: one object for each of p = 1 and 2.

With a price the norm falls apart into coordinates, each of which has a closed form. The right price makes the
norm as large as allowed; it is found by `bracket`. Bounds do not depend on how well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = ["PENALTIES", "Gains", "Penalty", "bracket"]

_Pair = tuple[Tensor, Tensor]


class Gains(NamedTuple):
    """A concave function of a difference d: slopes left and right of a bend, over limits; (..., n) each."""

    left: Tensor
    right: Tensor
    bend: Tensor
    low: Tensor
    high: Tensor


class Penalty(Protocol):
    """A price times the sum of a function of the differences: |d| for p = 1, d^2 / 2 for p = 2."""

    def length(self, d: Tensor) -> Tensor:
        """|d|_p over the last axis."""
        ...

    def scale(self, gains: Gains, radius: Tensor) -> Tensor:
        """A price (...) of a sensible size."""
        ...

    def best(self, gains: Gains, price: Tensor) -> Tensor:
        """The d (..., n) of largest gain minus penalty, at prices (..., 1)."""
        ...

    def cost(self, d: Tensor, price: Tensor, radius: Tensor) -> Tensor:
        """The penalties of d (..., n) minus that of norm `radius` at prices (...): <= 0 within the radius."""
        ...

    def pairs(self, points: _Pair, faces: tuple[_Pair, _Pair], price: Tensor) -> _Pair:
        """The pairs (B, n) in the faces of least squared distance to `points` plus penalty."""
        ...


class _Absolute:
    """p = 1."""

    def length(self, d: Tensor) -> Tensor:
        return d.abs().sum(-1)

    def scale(self, gains: Gains, radius: Tensor) -> Tensor:
        return torch.maximum(gains.left.abs(), gains.right.abs()).amax(-1) + 0 * radius

    def best(self, gains: Gains, price: Tensor) -> Tensor:
        def gain(d: Tensor) -> Tensor:
            away = d - gains.bend
            return torch.where(away < 0, gains.left, gains.right) * away - price * d.abs()

        zero = torch.zeros_like(gains.bend).clamp(gains.low, gains.high)
        d, most = zero, gain(zero)
        for other in (gains.bend.clamp(gains.low, gains.high), gains.low, gains.high):
            value = gain(other)
            d, most = torch.where(value > most, other, d), torch.maximum(most, value)
        return d

    def cost(self, d: Tensor, price: Tensor, radius: Tensor) -> Tensor:
        return price * (d.abs().sum(-1) - radius)

    def pairs(self, points: _Pair, faces: tuple[_Pair, _Pair], price: Tensor) -> _Pair:
        (a, b), (first, second) = points, faces
        together = torch.maximum(first[0], second[0]), torch.minimum(first[1], second[1])
        x = (0.5 * (a + b)).clamp(*together)
        apart = together[0] > together[1]
        found = x.clamp(*first), x.clamp(*second)
        least = torch.where(apart, torch.inf, _far(points, found, price))
        for sign in (1.0, -1.0):  # x' above x, and below
            pair = (a + sign * price).clamp(*first), (b - sign * price).clamp(*second)
            value = _far(points, pair, price)
            better = value < least
            found = torch.where(better, pair[0], found[0]), torch.where(better, pair[1], found[1])
            least = torch.minimum(least, value)
        return found


class _Square:
    """p = 2."""

    def length(self, d: Tensor) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(d, dim=-1)
        return norms

    def scale(self, gains: Gains, radius: Tensor) -> Tensor:
        steep = torch.maximum(gains.left.abs(), gains.right.abs())
        return self.length(steep) / radius.clamp(min=1e-300)

    def best(self, gains: Gains, price: Tensor) -> Tensor:
        least = price.clamp(min=1e-300)
        d = torch.minimum(torch.maximum(gains.bend, gains.right / least), gains.left / least)
        return d.clamp(gains.low, gains.high)

    def cost(self, d: Tensor, price: Tensor, radius: Tensor) -> Tensor:
        return 0.5 * price * (d.square().sum(-1) - radius.square())

    def pairs(self, points: _Pair, faces: tuple[_Pair, _Pair], price: Tensor) -> _Pair:
        (a, b), (first, second) = points, faces
        share = price / (1 + price)  # finite for every price
        free = (a * (1 + price) + b * price) / (1 + 2 * price)
        found, least = (a, b), torch.full_like(a, torch.inf)
        # x' free, at its lower face, at its upper one: each gives the best x there
        for x in (free, a + share * (second[0] - a), a + share * (second[1] - a)):
            x = x.clamp(*first)
            pair = x, (b + share * (x - b)).clamp(*second)
            value = (x - a).square() + (pair[1] - b).square() + price * (pair[1] - x).square()
            better = value < least
            found = torch.where(better, pair[0], found[0]), torch.where(better, pair[1], found[1])
            least = torch.minimum(least, value)
        return found


PENALTIES: dict[float, Penalty] = {1: _Absolute(), 2: _Square()}


def bracket(excess: Callable[[Tensor], Tensor], like: Tensor, tolerance: float, steps: int = 80) -> _Pair:
    """Points s in [0, 1] with excess(s) <= 0, and above them ones with excess > 0 or 1; of like's shape.

    `excess` is increasing in each element. Where even 0 is too much both are 0. Stops where all values on
    the low side are within the tolerance.
    """
    low, high = torch.zeros_like(like), torch.ones_like(like)
    full = excess(high) <= 0
    low = torch.where(full, high, low)
    below, above = excess(torch.zeros_like(like)), excess(high)
    none = below > 0
    for k in range(steps):
        if bool((full | none | (below >= -tolerance)).all()):
            break
        middle = 0.5 * (low + high)
        if k % 3 == 2:  # now and then the secant, which is exact where the excess is straight
            secant = low - below * (high - low) / (above - below)
            middle = torch.where((secant > low) & (secant < high), secant, middle)
        value = excess(middle)
        under = (value <= 0) & ~full
        over = (value > 0) & ~full
        low, below = torch.where(under, middle, low), torch.where(under, value, below)
        high, above = torch.where(over, middle, high), torch.where(over, value, above)
    return low, torch.where(none, low, high)


def _far(points: _Pair, pair: _Pair, price: Tensor) -> Tensor:
    moved = 0.5 * ((pair[0] - points[0]).square() + (pair[1] - points[1]).square())
    return moved + price * (pair[1] - pair[0]).abs()

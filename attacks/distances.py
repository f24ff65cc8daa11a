"""The four norms in which minimum-norm attacks measure, on flattened points.

`to_plane` is the projection onto a halfspace cut by a box of F. Croce and M. Hein, "Minimally distorted
adversarial examples with a fast adaptive boundary attack", ICML 2020, arXiv 1907.02044, section 3. There
breakpoints are sorted; here the gain of a step is a concave function of its length, whose root Newton's
method finds in a few rounds, without a sort (l2 and linf), while l1 and l0 fill the best coordinates first.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = ["DISTANCES", "Distance", "Plane"]

_MOST_ROUNDS = 40
_TINY = 1e-30


class Plane(NamedTuple):
    """The halfspaces <normal, d> >= need of displacements d that are also within lower <= d <= upper."""

    normal: Tensor  # (b, n)
    need: Tensor  # (b,)
    lower: Tensor  # (b, n), at most 0
    upper: Tensor  # (b, n), at least 0

    def room(self) -> Tensor:
        """How far each coordinate may move in the direction of the normal, (b, n), at least 0."""
        return torch.where(self.normal >= 0, self.upper, -self.lower).clamp(min=0)


class Distance(Protocol):
    """A norm of flattened displacements (b, n)."""

    @property
    def p(self) -> float:
        """The norm: 0, 1, 2 or inf."""
        ...

    def length(self, d: Tensor) -> Tensor:
        """Norms (b,) of d (b, n)."""
        ...

    def dual(self, g: Tensor) -> Tensor:
        """The gain (b,) of a step of norm 1 along gradients g (b, n): the dual norm."""
        ...

    def shrink(self, d: Tensor, radius: Tensor) -> Tensor:
        """The nearest vectors to d (b, n), in the Euclidean sense, of norm at most radius (b,)."""
        ...

    def to_plane(self, plane: Plane) -> Tensor:
        """The displacements (b, n) of least norm into the plane; the nearest ones where none reach."""
        ...


class _LInf:
    p = math.inf

    def length(self, d: Tensor) -> Tensor:
        return d.abs().amax(1)

    def dual(self, g: Tensor) -> Tensor:
        return g.abs().sum(1)

    def shrink(self, d: Tensor, radius: Tensor) -> Tensor:
        wide = radius.unsqueeze(1)
        return d.clamp(-wide, wide)

    def to_plane(self, plane: Plane) -> Tensor:
        return _along_rates(plane, (plane.normal != 0).to(plane.normal.dtype))


class _L2:
    p = 2.0

    def length(self, d: Tensor) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(d, dim=1)
        return norms

    def dual(self, g: Tensor) -> Tensor:
        return self.length(g)

    def shrink(self, d: Tensor, radius: Tensor) -> Tensor:
        return d * (radius / self.length(d).clamp(min=_TINY)).clamp(max=1.0).unsqueeze(1)

    def to_plane(self, plane: Plane) -> Tensor:
        largest = plane.normal.abs().amax(1, keepdim=True).clamp(min=_TINY)
        return _along_rates(plane, plane.normal.abs() / largest)


class _L1:
    p = 1.0

    def length(self, d: Tensor) -> Tensor:
        return d.abs().sum(1)

    def dual(self, g: Tensor) -> Tensor:
        return g.abs().amax(1)

    def shrink(self, d: Tensor, radius: Tensor) -> Tensor:
        size = d.abs()
        falling = size.sort(1, descending=True).values
        count = torch.arange(1, d.shape[1] + 1, device=d.device)
        levels = (falling.cumsum(1) - radius.unsqueeze(1)) / count
        last = (falling > levels).long().sum(1, keepdim=True).clamp(min=1) - 1
        level = levels.gather(1, last).clamp(min=0)
        return d - d.clamp(-level, level)

    def to_plane(self, plane: Plane) -> Tensor:
        return _filled(plane, plane.normal.abs(), whole=False)


class _L0:
    p = 0.0

    def length(self, d: Tensor) -> Tensor:
        return (d != 0).sum(1).to(d.dtype)

    def dual(self, g: Tensor) -> Tensor:
        return g.abs().amax(1)

    def shrink(self, d: Tensor, radius: Tensor) -> Tensor:
        rank = d.abs().argsort(dim=1, descending=True, stable=True).argsort(dim=1, stable=True)
        return torch.where(rank < radius.floor().unsqueeze(1), d, 0.0)

    def to_plane(self, plane: Plane) -> Tensor:
        return _filled(plane, plane.normal.abs() * plane.room(), whole=True)


DISTANCES: dict[float, Distance] = {0.0: _L0(), 1.0: _L1(), 2.0: _L2(), math.inf: _LInf()}
"""The norms by their p."""


def _along_rates(plane: Plane, rates: Tensor) -> Tensor:
    """d_i = sign(normal_i) min(t rate_i, room_i) with the least t >= 0 that meets the need, rates (b, n).

    The gain of t is concave and piecewise linear, so Newton's method from t = 0 climbs to the root in at
    most as many rounds as there are pieces; a few are usual.
    """
    size, room = plane.normal.abs(), plane.room()
    need = plane.need.clamp(min=0)
    t = torch.zeros_like(need)
    step = room.clamp(max=0)
    for _ in range(_MOST_ROUNDS):
        free = step < room
        slope = torch.where(free, size * rates, 0.0).sum(1)
        short = need - (size * step).sum(1)
        go = (short > 1e-6 * need) & (slope > _TINY)
        if not bool(go.any()):
            break
        t = torch.where(go, t + short / slope.clamp(min=_TINY), t)
        step = torch.minimum(t.unsqueeze(1) * rates, room)
    # not even the far corner reaches the plane: go there
    lost = (need - (size * step).sum(1) > 1e-3 * need) & (t > 0)
    step = torch.where(lost.unsqueeze(1), torch.where(rates > 0, room.clamp(max=1e6), 0.0), step)
    return plane.normal.sign() * step


def _filled(plane: Plane, worth: Tensor, *, whole: bool) -> Tensor:
    """Coordinates moved as far as they may, the most worthy (b, n) first, until the need is met.

    whole: the last one moves all its way too (a count of coordinates does not care how far they move).
    """
    size, room = plane.normal.abs(), plane.room().clamp(max=1e6)
    order = worth.argsort(dim=1, descending=True, stable=True)
    gain = (size * room).gather(1, order)
    before = gain.cumsum(1) - gain
    left = plane.need.clamp(min=0).unsqueeze(1) - before
    moved = room.gather(1, order)
    if not whole:
        moved = torch.minimum(moved, left / size.gather(1, order).clamp(min=_TINY))
    moved = torch.where((left > 0) & (gain > 0), moved, 0.0)
    return plane.normal.sign() * torch.zeros_like(moved).scatter(1, order, moved)

"""Lines that support the convex hull of finitely many points: relaxations of piecewise linear functions.

The hull of such a function on a box is the hull of its two ends and of its corners in between, and a line
of ANY slope is moved below all of these points by one minimum. So a free parameter may choose the slope,
and whatever it chooses is sound. Around a jump the points are both one-sided limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from ..interval import Interval

__all__ = ["Corner", "Fan", "fan_below"]

_STEEPEST = 1e12


@dataclass(frozen=True, slots=True, eq=False)
class Corner:
    """A point of a function's graph, or a one-sided limit: position and value, each of the box's shape."""

    position: Tensor
    value: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Fan:
    """Lines below points, one for each slope from `least` to `most`."""

    corners: tuple[Corner, ...]
    least: Tensor
    most: Tensor

    def line(self, free: Tensor | None) -> tuple[Tensor, Tensor]:
        """Slope and offset of one line: at a share `free` within [0, 1] of the way, the best without."""
        if free is None:
            slope = self.best()
        else:
            slope = self.least + free * (self.most - self.least)
        return slope, self.offset(slope)

    def offset(self, slope: Tensor) -> Tensor:
        """The largest offset that keeps a line of this slope below every point."""
        return reduce(torch.minimum, (c.value - slope * c.position for c in self.corners))

    def best(self) -> Tensor:
        """The slope of the hull's edge at the middle of the box: the line with the smallest area above it."""
        first, last = self.corners[0].position, self.corners[-1].position
        middle = torch.lerp(first, last, 0.5)
        slopes = [self.least]
        if len(self.corners) > 3:  # edges between two inner corners
            pairs = zip(self.corners[1:-2], self.corners[2:-1], strict=True)
            inner = (_slope(one, other, self.least) for one, other in pairs)
            slopes += [torch.minimum(torch.maximum(s, self.least), self.most) for s in inner]
        if len(self.corners) > 2:
            slopes.append(self.most)
        best, height = slopes[0], slopes[0] * middle + self.offset(slopes[0])
        for slope in slopes[1:]:
            other = slope * middle + self.offset(slope)
            best = torch.where(other > height, slope, best)
            height = torch.maximum(other, height)
        return best

    def share(self) -> Tensor:
        """The value of `free` that gives the best line."""
        width = self.most - self.least
        share = (self.best() - self.least) / torch.where(width > 0, width, torch.ones_like(width))
        return share.clamp(0, 1)


def fan_below(box: Interval, corners: Sequence[Corner], *, jumps: bool) -> Fan:
    """The supporting lines below a function with these corners, the box's ends first and last.

    jumps: limit the slopes, since a line through two sides of a jump may be so steep that rounding in its
    offset would exceed all that it gains.
    """
    low, high = box.lower, box.upper
    first, last = corners[0].value, corners[-1].value
    for corner in corners[1:-1]:
        first = torch.where(corner.position <= low, torch.minimum(first, corner.value), first)
        last = torch.where(corner.position >= high, torch.minimum(last, corner.value), last)
    points = (Corner(low, first), *corners[1:-1], Corner(high, last))
    inf = torch.full_like(low, torch.inf)
    least = reduce(torch.minimum, (_slope(points[0], p, inf) for p in points[1:]))
    most = reduce(torch.maximum, (_slope(p, points[-1], -inf) for p in points[:-1]))
    wide = high > low
    least, most = (torch.where(wide, s, torch.zeros_like(s)) for s in (least, most))
    if jumps:
        size = reduce(torch.maximum, (p.value.detach().abs() for p in points))
        reach = torch.maximum(low.detach().abs(), high.detach().abs())
        steepest = 4 + (4 * (1 + size) / reach).clamp(max=_STEEPEST)
        least, most = (torch.minimum(torch.maximum(s, -steepest), steepest) for s in (least, most))
    return Fan(points, least, most)


def _slope(one: Corner, other: Corner, otherwise: Tensor) -> Tensor:
    """The slope from one point to one right of it; `otherwise` where it is not to the right."""
    width = other.position - one.position
    right = width > 0
    rise = (other.value - one.value) / torch.where(right, width, torch.ones_like(width))
    return torch.where(right, rise, otherwise)

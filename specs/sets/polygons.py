"""The polygon {(x, x') : x and x' in intervals, low <= x' - x <= high} of every coordinate.

With d = x' - x: the largest of p x + q x' = (p + q) x + q d lies where x is smallest or largest or where the
bound of x' and that of d meet, with the largest d there for q >= 0 and the smallest for q < 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustbench_local.errors import EmptySetError

from .box import Box, box_beside, box_within
from .input_set import first_index
from .rounding import enclose_sum, round_down, round_up

__all__ = ["Corners", "Inner", "Polygons"]

_Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """B n polygons: outer and inner faces of x and of x', and the gap; pairs of (B, n) float64."""

    first: _Pair
    second: _Pair
    boxes: tuple[Box, Box]  # flat, for the faces within a dtype
    gap: _Pair
    _casts: dict[torch.dtype, Corners] = field(default_factory=dict, init=False)
    _inners: dict[torch.dtype, Inner] = field(default_factory=dict, init=False)

    @classmethod
    def of(cls, first: Box, second: Box, gap: _Pair) -> Polygons:
        """The polygons of two boxes (B, *shape) and a gap (B, n)."""
        one, two = box_beside([first], first.dtype), box_beside([second], second.dtype)
        return cls((one.lower, one.upper), (two.lower, two.upper), (one, two), gap)

    def select(self, index: Tensor) -> Polygons:
        """The polygons at an index of the batch."""
        boxes = self.boxes[0].select(index), self.boxes[1].select(index)
        part = Polygons(_at(self.first, index), _at(self.second, index), boxes, _at(self.gap, index))
        part._casts.update({k: v.select(index) for k, v in self._casts.items()})
        part._inners.update({k: v.select(index) for k, v in self._inners.items()})
        return part

    @torch.inference_mode(False)
    def cast(self, dtype: torch.dtype) -> Corners:
        """The corners in a dtype."""
        if dtype not in self._casts:
            self._casts[dtype] = _corners(self, dtype)
        return self._casts[dtype]

    @torch.inference_mode(False)
    def inner(self, dtype: torch.dtype) -> Inner:
        """What pairs of a dtype lie inside; EmptySetError where a coordinate has none."""
        if dtype not in self._inners:
            first, second = self.boxes[0].inner(dtype), self.boxes[1].inner(dtype)
            lower, upper = _range(first, second, self.gap)
            bad = lower > upper
            if bool(bad.any()):
                b, i = first_index(bad)
                raise EmptySetError(
                    f"no pair of {dtype} at sample {b}, coordinate {i} (flattened)",
                    cure="use float64 points or wider bounds",
                )
            self._inners[dtype] = Inner(first, second, self.gap, (lower, upper))
        return self._inners[dtype]

    def missing(self) -> tuple[int, int] | None:
        """Sample and coordinate of a polygon without a pair of float64 numbers, if there is one."""
        first, second = (box.inner(torch.float64) for box in self.boxes)
        lower, upper = _range(first, second, self.gap)
        bad = (lower > upper) | (self.gap[0] > self.gap[1])
        return (first_index(bad)[0], first_index(bad)[1]) if bool(bad.any()) else None

    def middle(self) -> Tensor:
        """x in the middle of its range, x' of what that leaves, (B, 2n)."""
        half = torch.full_like(self.gap[0], 0.5)
        return torch.cat(self.inner(torch.float64).draw(half, half), 1)

    def hull(self, dtype: torch.dtype) -> Box:
        """The smallest box around all pairs, (B, 2n)."""
        (l1, u1), (l2, u2), (low, high) = self.first, self.second, self.gap
        outer_x = torch.maximum(l1, _down(l2, -high)), torch.minimum(u1, _up(u2, -low))
        outer_y = torch.maximum(l2, _down(l1, low)), torch.minimum(u2, _up(u1, high))
        inner_x = self.inner(torch.float64).range
        (l1, u1), (l2, u2) = (box.inner(torch.float64) for box in self.boxes)
        inner_y = torch.maximum(l2, _up(l1, low)), torch.minimum(u2, _down(u1, high))
        return box_beside([box_within(outer_x, inner_x), box_within(outer_y, inner_y)], dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Corners:
    """Corners (x, d) in one dtype, each (B, n), and how far from the real ones they may be."""

    left: tuple[Tensor, Tensor, Tensor]  # the smallest x, and the largest and smallest d there
    right: tuple[Tensor, Tensor, Tensor]
    top: _Pair  # where the upper bounds of x' and d meet
    bottom: _Pair
    error: _Pair  # of all x, of all d

    def select(self, index: Tensor) -> Corners:
        """The corners at an index of the batch."""
        left, right = (tuple(t[index] for t in side) for side in (self.left, self.right))
        ends = (_at(pair, index) for pair in (self.top, self.bottom, self.error))
        return Corners((left[0], left[1], left[2]), (right[0], right[1], right[2]), *ends)

    def support(self, p: Tensor, q: Tensor) -> Tensor:
        """max sum p x + q x', (B, K), for p and q (B or 1, K, n)."""
        s = p + q
        largest = torch.maximum(self._end(s, q, self.left), self._end(s, q, self.right))
        for x, d in (self.top, self.bottom):
            largest = torch.maximum(largest, s * x.unsqueeze(1) + q * d.unsqueeze(1))
        doubt = s.abs() * self.error[0].unsqueeze(1) + q.abs() * self.error[1].unsqueeze(1)
        return (largest + doubt).sum(2)

    def best(self, p: Tensor, q: Tensor) -> _Pair:
        """The best corners (x, d) for p and q (B, n)."""
        s, ends = p + q, []
        for x, most, least in (self.left, self.right):
            ends.append((x, torch.where(q >= 0, most, least)))
        x, d = ends[0]
        for other_x, other_d in (ends[1], self.top, self.bottom):
            better = s * other_x + q * other_d > s * x + q * d
            x, d = torch.where(better, other_x, x), torch.where(better, other_d, d)
        return x, d

    def _end(self, s: Tensor, q: Tensor, side: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        x, most, least = (t.unsqueeze(1) for t in side)
        return s * x + torch.maximum(q * most, q * least)


@dataclass(frozen=True, slots=True, eq=False)
class Inner:
    """The pairs of one dtype: faces of x and x', the gap (float64), and the range of x that leaves an x'."""

    first: _Pair
    second: _Pair
    gap: _Pair
    range: _Pair

    def select(self, index: Tensor) -> Inner:
        """The pairs at an index of the batch."""
        return Inner(*(_at(pair, index) for pair in (self.first, self.second, self.gap, self.range)))

    def draw(self, u: Tensor, v: Tensor) -> _Pair:
        """Pairs from shares u, v (B, n) in [0, 1)."""
        x = torch.lerp(*self.range, u).clamp(*self.range)
        x, lower, upper = self._possible(x)
        return x, torch.lerp(lower, upper, v).clamp(lower, upper)

    def nearest(self, x: Tensor, y: Tensor) -> _Pair:
        """The nearest pairs to (x, y), (B, n) each."""
        near_x, near_y = x.clamp(*self.first), y.clamp(*self.second)
        lower, upper = self._leaves(near_x)
        inside = (lower <= near_y) & (near_y <= upper)  # then it is nearest, as it is in the two intervals
        if bool(inside.all()):
            return near_x, near_y
        # else the nearest pair has the difference that is exceeded: a point of a slanted edge
        high = near_y > upper
        (low_gap, high_gap), (l2, u2) = self.gap, self.second
        gap = torch.where(high, high_gap, low_gap)
        along = (0.5 * (x.to(torch.float64) + (y.to(torch.float64) - gap))).to(x.dtype)
        edge = round_down(_down(l2, -gap), x.dtype), round_up(_up(u2, -gap), x.dtype)
        along, least, most = self._possible(along.clamp(*edge).clamp(*self.range))
        other = torch.where(high, most, least)
        # NaN is passed on: such a row has no nearest point
        return torch.where(inside, near_x, along), torch.where(inside, near_y, other + 0 * x)

    def _leaves(self, x: Tensor) -> _Pair:
        """The smallest and the largest x' (B, n) that x leaves; none where the first is above the second."""
        wide, (low, high) = x.to(torch.float64), self.gap
        lower = torch.maximum(self.second[0], round_up(_up(wide, low), x.dtype))
        return lower, torch.minimum(self.second[1], round_down(_down(wide, high), x.dtype))

    def _possible(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x (B, n), moved where no x' of the dtype is left, and the smallest and largest x'.

        That happens only where 0 is no difference and the gap is narrower than the float grid: a coarser
        grid for x is tried then, on which x + low may have few digits.
        """
        lower, upper = self._leaves(x)
        digits = 1 - round(math.log2(torch.finfo(x.dtype).eps))
        size = torch.maximum(x.abs(), self.gap[0].abs().to(x.dtype)).clamp(min=torch.finfo(x.dtype).tiny)
        for lost in range(digits + 3):  # in the end 0 is tried
            bad = lower > upper
            if not bool(bad.any()):
                return x, lower, upper
            grid = torch.exp2(torch.floor(torch.log2(size)) - digits + 1 + lost)
            moved = (torch.round(x / grid) * grid).clamp(*self.range)
            x = torch.where(bad, moved, x)
            lower, upper = self._leaves(x)
        bad = lower > upper
        if not bool(bad.any()):
            return x, lower, upper
        b, i = first_index(bad)
        raise EmptySetError(
            f"no pair of {x.dtype} was found at sample {b}, coordinate {i} (flattened): x' - x between "
            f"{float(self.gap[0][b, i])!r} and {float(self.gap[1][b, i])!r}",
            cure="widen the gap by the spacing of the floats, or use float64 points",
        )


def _corners(polygons: Polygons, dtype: torch.dtype) -> Corners:
    """The corners, each as an interval that holds the real one, then in `dtype` with their errors."""
    (l1, u1), (l2, u2), (low, high) = polygons.first, polygons.second, polygons.gap
    left = torch.maximum(l1, _down(l2, -high)), torch.maximum(l1, _up(l2, -high))
    right = torch.minimum(u1, _down(u2, -low)), torch.minimum(u1, _up(u2, -low))
    top = _between(enclose_sum(u2, -high), left, right)
    bottom = _between(enclose_sum(l2, -low), left, right)

    def most(x: _Pair) -> _Pair:
        return torch.minimum(high, _down(u2, -x[1])), torch.minimum(high, _up(u2, -x[0]))

    def least(x: _Pair) -> _Pair:
        return torch.maximum(low, _down(l2, -x[1])), torch.maximum(low, _up(l2, -x[0]))

    xs = [_rounded(x, dtype) for x in (left, right, top, bottom)]
    ends = (most(left), least(left), most(right), least(right), most(top), least(bottom))
    ds = [_rounded(d, dtype) for d in ends]
    error = torch.stack([e for _, e in xs]).amax(0), torch.stack([e for _, e in ds]).amax(0)
    x, d = [value for value, _ in xs], [value for value, _ in ds]
    return Corners((x[0], d[0], d[1]), (x[1], d[2], d[3]), (x[2], d[4]), (x[3], d[5]), error)


def _range(first: _Pair, second: _Pair, gap: _Pair) -> _Pair:
    """The smallest and largest x of the faces' dtype for which an x' is left, as real numbers go."""
    dtype = first[0].dtype
    lower = round_up(_up(second[0].to(torch.float64), -gap[1]), dtype)
    upper = round_down(_down(second[1].to(torch.float64), -gap[0]), dtype)
    return torch.maximum(first[0], lower), torch.minimum(first[1], upper)


def _between(x: _Pair, left: _Pair, right: _Pair) -> _Pair:
    low = torch.minimum(torch.maximum(x[0], left[0]), right[0])
    return low, torch.minimum(torch.maximum(x[1], left[1]), right[1])


def _rounded(interval: _Pair, dtype: torch.dtype) -> _Pair:
    """A number of `dtype` in the middle of an interval, and how far from it the ends are at most."""
    near = (0.5 * interval[0] + 0.5 * interval[1]).to(dtype)
    wide = near.to(torch.float64)
    error = torch.maximum(_up(interval[1], -wide), _up(wide, -interval[0])).clamp(min=0)
    return near, round_up(error, dtype)


def _up(a: Tensor, b: Tensor) -> Tensor:
    return enclose_sum(a.to(torch.float64), b)[1]


def _down(a: Tensor, b: Tensor) -> Tensor:
    return enclose_sum(a.to(torch.float64), b)[0]


def _at(pair: _Pair, index: Tensor) -> _Pair:
    return pair[0][index], pair[1][index]

"""Two lines around a smooth function of one number, from a description of how it bends.

A line below a curve with slope m may touch it at an end of the box, or where the curve is convex and its
slope is m. So for the slope at any point t of the convex stretch the best offset is the least of
f(x) - m x over x in {t, l, u}: exact whatever t is, which makes every choice of t sound. Where no tangent
stays below, the chord is best. Lines above are the same with the concave stretch. Chords and tangents are
those of CROWN (Zhang et al. 2018, arXiv 1811.00866, table 2); on boxes with a bend it takes the tangent
through the far end, here the one with the least area between line and curve is taken.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..graph import Node
from ..interval import Interval
from ..rule import Elementwise, Lines
from .contact import Ends, Function, Side, Slope, Tangent, pick

__all__ = ["Curve", "Shape", "Smooth"]


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A function of one number: values, slopes and how it bends.

    slope: f'(x) from x and f(x). below, above: where the two lines may touch. peak, dip: the point of
    inflection where f' is greatest, or least, and f' there; None where f' has no such extreme. rising:
    increasing, decreasing, or None for a function that falls to `lowest` (x, f(x)) and rises from
    there. steep: lines may be so steep that rounding matters. edges: ends of the domain, where slopes may be
    infinite.
    """

    value: Function
    slope: Slope
    below: Side
    above: Side
    peak: tuple[float, float] | None = None
    dip: tuple[float, float] | None = None
    rising: bool | None = True
    lowest: tuple[float, float] = (0.0, 0.0)
    steep: bool = False
    edges: tuple[float, float] = (-math.inf, math.inf)

    def interval(self, box: Interval) -> Interval:
        """The function's range over the box."""
        low, high = self.value(box.lower), self.value(box.upper)
        if self.rising is not None:
            return Interval(low, high) if self.rising else Interval(high, low)
        where, least = self.lowest
        inside = (box.lower < where) & (where < box.upper)
        floor = torch.where(inside, least, torch.minimum(low, high))
        return Interval(floor, torch.maximum(low, high))

    def slopes(self, low: Tensor, high: Tensor, at_low: Tensor, at_high: Tensor) -> Interval:
        """The range of f' between `low` and `high`, where it is `at_low` and `at_high`."""
        least, most = torch.minimum(at_low, at_high), torch.maximum(at_low, at_high)
        if self.peak is not None:
            most = torch.where((low <= self.peak[0]) & (self.peak[0] <= high), self.peak[1], most)
        if self.dip is not None:
            least = torch.where((low <= self.dip[0]) & (self.dip[0] <= high), self.dip[1], least)
        return Interval(least, most)

    def derivative(self, box: Interval) -> Interval:
        """The range of f' over the box."""
        low, high = box.lower, box.upper
        return self.slopes(low, high, self.slope(low, self.value(low)), self.slope(high, self.value(high)))

    def ends(self, box: Interval, slopes: Interval | None = None) -> Ends:
        """All that both lines need to know of the box's ends; `slopes`: the range of f', if known."""
        low, high = box.lower, box.upper
        f_low, f_high = self.value(low), self.value(high)
        s_low, s_high = self.slope(low, f_low), self.slope(high, f_high)
        chord = (f_high - f_low) / (high - low).clamp(min=torch.finfo(low.dtype).tiny)
        # In narrow boxes the quotient is noise: by the mean value theorem it lies within the range of f'. At
        # a single bend the chord serves only where it is no steeper than one end, or no less steep.
        if slopes is None and self.peak is not None and self.dip is not None:
            slopes = self.slopes(low, high, s_low, s_high)
        if slopes is not None or self.dip is None:
            chord = torch.maximum(chord, torch.minimum(s_low, s_high) if slopes is None else slopes.lower)
        if slopes is not None or self.peak is None:
            chord = torch.minimum(chord, torch.maximum(s_low, s_high) if slopes is None else slopes.upper)
        return Ends(low, high, f_low, f_high, s_low, s_high, chord)

    def line(self, ends: Ends, *, below: bool, free: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Slope and offset of a line on one side; `free` within [0, 1] moves its point of contact."""
        side, outer = (self.below, torch.minimum) if below else (self.above, torch.maximum)
        slope = ends.chord
        tangent = None
        if not side.chord_only:
            tangent = self.tangent(self.point(ends, below=below, free=free))
            chosen = side.chord(ends, below, tangent)
            slope = tangent.slope if chosen is None else pick(chosen, ends.chord, tangent.slope)
        offset = outer(_offset(ends.f_low, slope, ends.low), _offset(ends.f_high, slope, ends.high))
        if tangent is not None:
            offset = outer(offset, _offset(tangent.value, slope, tangent.point))
        if self.steep:
            size = torch.maximum(ends.low.abs(), ends.high.abs()) * slope.abs() + offset.abs()
            margin = size * (4 * torch.finfo(size.dtype).eps)
            offset = offset - margin if below else offset + margin
        return slope, offset

    def tangent(self, point: Tensor) -> Tangent:
        """The tangent at a point."""
        value = self.value(point)
        return Tangent(point, value, self.slope(point, value))

    def point(self, ends: Ends, *, below: bool, free: Tensor | None = None) -> Tensor:
        """The point of contact that `free` stands for, or that of the tangent with the least area."""
        side = self.below if below else self.above
        first, last = self.span(ends, side)
        return _nearest_middle(ends, first, last) if free is None else first + free * (last - first)

    def start(self, ends: Ends, *, below: bool) -> Tensor:
        """The value of `free` that stands for the least area; one half where none matters."""
        side = self.below if below else self.above
        first, last = self.span(ends, side)
        width = last - first
        share = (_nearest_middle(ends, first, last) - first) / width
        return torch.where((share >= 0) & (share <= 1), share, torch.full_like(width, 0.5))

    @torch.no_grad()
    def span(self, ends: Ends, side: Side) -> tuple[Tensor, Tensor]:
        """The first and the last point where a tangent stays on its side; away from infinite slopes."""
        first, last = side.span(ends.low, ends.high)
        left, right = self.edges
        if left > -math.inf:
            first = torch.maximum(first, left + 1e-3 * (ends.high - left))
            last = torch.maximum(first, last)
        if right < math.inf:
            last = torch.minimum(last, right - 1e-3 * (right - ends.low))
            first = torch.minimum(first, last)
        return first, last


class Smooth(Elementwise):
    """A function whose shape may depend on the node's arguments (an exponent, a temperature).

    Free: the points of contact of the lower and of the upper line.
    """

    parameters = 2

    @abstractmethod
    def shape(self, node: Node) -> Shape:
        """The node's function."""

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        return self.shape(node).interval(inputs[0])

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        return box.lower < box.upper

    def derivative(self, node: Node, box: Interval) -> Interval:
        return self.shape(node).derivative(box)

    def lines(self, node: Node, box: Interval, free: Sequence[Tensor] = ()) -> Lines:
        shape = self.shape(node)
        ends = shape.ends(box)
        lower = shape.line(ends, below=True, free=free[0] if free else None)
        upper = shape.line(ends, below=False, free=free[-1] if free else None)
        return Lines(lower[0], upper[0], lower[1], upper[1])

    def first(self, node: Node, box: Interval) -> tuple[Tensor, ...]:
        shape = self.shape(node)
        ends = shape.ends(box)
        found = (shape.start(ends, below=True), shape.start(ends, below=False))
        if self.parameters == 2:
            return found
        return found[1:] if shape.below.chord_only else found[:1]


class Curve(Smooth):
    """A function of one shape."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self.parameters = 2 - shape.below.chord_only - shape.above.chord_only

    def shape(self, node: Node) -> Shape:
        return self._shape


def _nearest_middle(ends: Ends, first: Tensor, last: Tensor) -> Tensor:
    """The tangent at the middle leaves the least area; where that is not allowed, the nearest one does."""
    middle = torch.lerp(ends.low, ends.high, 0.5)
    return torch.minimum(torch.maximum(middle, first), last)


def _offset(value: Tensor, slope: Tensor, x: Tensor) -> Tensor:
    """value - slope * x."""
    return torch.addcmul(value, slope, x, value=-1)

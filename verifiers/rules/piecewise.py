"""Piecewise linear functions of one variable, continuous or not: the exact convex hull on every box.

Functions with kinks: |x|, clamps, soft shrinkage, PReLU. Functions with jumps: thresholds, hard shrinkage,
the sign. A line of the hull is free wherever more than one line supports it; without free parameters the
rule takes the line with the smallest area, as Zhang et al. 2018 (CROWN, arXiv 1811.00866) do for ReLU.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from ..derivatives import no_derivative
from ..graph import Node
from ..interval import Interval
from ..rule import Elementwise, Lines, register
from .arithmetic import sample_constant
from .hull import Corner, Fan, fan_below

__all__ = [
    "Absolute",
    "HardShrink",
    "Heaviside",
    "Kinked",
    "PRelu",
    "PiecewiseLinear",
    "SoftShrink",
    "Step",
    "Threshold",
    "across_jumps",
    "attained",
    "limit",
]

aten = torch.ops.aten


class PiecewiseLinear(Elementwise):
    """A function that is linear between finitely many corners of every box.

    Free: the slope of the lower line and that of the upper line, each between the hull's first and last
    edge; with one parameter both lines use the same.
    """

    parameters = 2
    #: The function jumps somewhere.
    jumps: bool = False
    #: The slope between two jumps, where it is the same everywhere.
    rise: float | None = None

    def function(self, node: Node, x: Tensor) -> Tensor:
        """The function's values; x may carry an axis for rows."""
        return node.run(x)

    @abstractmethod
    def below(self, node: Node, box: Interval, ends: tuple[Tensor, Tensor]) -> list[Corner]:
        """The corners inside the box that the lower line may have to avoid, from left to right.

        ends: the function at both ends of the box.
        """

    def above(self, node: Node, box: Interval, ends: tuple[Tensor, Tensor]) -> list[Corner]:
        """As `below`, for the upper line; by default the same corners."""
        return self.below(node, box, ends)

    def ends(self, node: Node, box: Interval) -> tuple[Tensor, Tensor]:
        """The function at both ends of the box; NaN stays NaN."""
        low, high = (self.function(node, x) for x in (box.lower, box.upper))
        known = ~(box.lower.isnan() | box.upper.isnan())
        nan = torch.full_like(low, torch.nan)
        return torch.where(known, low, nan), torch.where(known, high, nan)

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        box = inputs[0]
        ends = self.ends(node, box)
        low, high = ([*ends, *(c.value for c in f(node, box, ends))] for f in (self.below, self.above))
        return Interval(reduce(torch.minimum, low), reduce(torch.maximum, high))

    def lines(self, node: Node, box: Interval, free: Sequence[Tensor] = ()) -> Lines:
        lower, upper = self._fans(node, box)
        slope, offset = lower.line(free[0] if free else None)
        mirrored, shift = upper.line(free[-1] if free else None)
        return Lines(slope, -mirrored, offset, -shift)

    def first(self, node: Node, box: Interval) -> tuple[Tensor, ...]:
        lower, upper = self._fans(node, box)
        if self.parameters == 2:
            return lower.share(), upper.share()
        return (torch.where(lower.most > lower.least, lower.share(), upper.share()),)

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        ends = self.ends(node, box)
        found = torch.zeros_like(box.lower, dtype=torch.bool)
        for corner in (*self.below(node, box, ends), *self.above(node, box, ends)):
            inside = (corner.position > box.lower) & (corner.position < box.upper)
            found |= inside | (corner.value != ends[0]) & (corner.position <= box.lower)
            found |= (corner.value != ends[1]) & (corner.position >= box.upper)
        return found & (box.lower < box.upper)

    def derivative(self, node: Node, box: Interval) -> Interval:
        """The slope between two jumps; all numbers where the box may hold a jump."""
        if self.rise is None:
            raise no_derivative(node)
        return across_jumps(torch.full_like(box.lower, self.rise), self.undecided(node, 0, box))

    def _fans(self, node: Node, box: Interval) -> tuple[Fan, Fan]:
        """The lines below the function, and the lines below its negative."""
        ends = self.ends(node, box)
        first, last = Corner(box.lower, ends[0]), Corner(box.upper, ends[1])
        lower = fan_below(box, (first, *self.below(node, box, ends), last), jumps=self.jumps)
        corners = (first, *self.above(node, box, ends), last)
        negated = tuple(Corner(c.position, -c.value) for c in corners)
        return lower, fan_below(box, negated, jumps=self.jumps)


class Kinked(PiecewiseLinear):
    """A continuous function with the same kinks on every box."""

    @abstractmethod
    def kinks(self, node: Node, like: Tensor) -> tuple[Sequence[Any], Sequence[Any]]:
        """Positions p_1 <= ... <= p_n and the n + 1 slopes between: numbers, or tensors (*shape)."""

    def below(self, node: Node, box: Interval, ends: tuple[Tensor, Tensor]) -> list[Corner]:
        return self._corners(node, box, bend=1)

    def above(self, node: Node, box: Interval, ends: tuple[Tensor, Tensor]) -> list[Corner]:
        return self._corners(node, box, bend=-1)

    def derivative(self, node: Node, box: Interval) -> Interval:
        """The hull of the slopes of all pieces that meet the box."""
        positions, slopes = self.kinks(node, box.lower)
        lower, upper = torch.full_like(box.lower, torch.inf), torch.full_like(box.lower, -torch.inf)
        for i, slope in enumerate(slopes):
            meets = torch.ones_like(box.lower, dtype=torch.bool)
            if i > 0:
                meets = meets & ~(box.upper < positions[i - 1])
            if i < len(positions):
                meets = meets & ~(box.lower > positions[i])
            lower = torch.where(meets, lower.clamp(max=slope), lower)
            upper = torch.where(meets, upper.clamp(min=slope), upper)
        return Interval(lower, upper)

    def _corners(self, node: Node, box: Interval, *, bend: int) -> list[Corner]:
        """The kinks that bend upwards (1) or downwards (-1); those of tensor slopes may do either."""
        positions, slopes = self.kinks(node, box.lower)
        corners = []
        for i, position in enumerate(positions):
            before, after = slopes[i], slopes[i + 1]
            known = not isinstance(before, Tensor) and not isinstance(after, Tensor)
            if known and bend * (after - before) <= 0:
                continue
            inside = (box.lower <= position) & (box.upper >= position)
            place = torch.where(inside, position, box.lower)
            corners.append(Corner(place, self.function(node, place)))
        return corners


class Absolute(Kinked):
    """|x|."""

    parameters = 1

    def kinks(self, node: Node, like: Tensor) -> tuple[Sequence[Any], Sequence[Any]]:
        return (0.0,), (-1.0, 1.0)


class SoftShrink(Kinked):
    """x - c above c, x + c below -c, zero between; c = 0.5 by default."""

    def kinks(self, node: Node, like: Tensor) -> tuple[Sequence[Any], Sequence[Any]]:
        size = float(node.argument(1, "lambd", 0.5))
        return (-size, size), (1.0, 0.0, 1.0)


class PRelu(Kinked):
    """x above zero, w x below, one weight w for all or one per channel (He et al. 2015, arXiv 1502.01852).

    Free, as for leaky ReLU: the slope of the line through the kink, which is the lower line where w <= 1.
    """

    parameters = 1

    def weight(self, node: Node, like: Tensor) -> Tensor:
        """The weights, to broadcast over one sample."""
        weight: Tensor = node.args[1]
        space = max(0, len(node.shape) - 1)
        return weight.to(like).reshape(-1, *(1 for _ in range(space)))

    def function(self, node: Node, x: Tensor) -> Tensor:
        # not the operator itself, which would take an axis of rows for the channels
        return torch.where(x >= 0, x, self.weight(node, x) * x)

    def kinks(self, node: Node, like: Tensor) -> tuple[Sequence[Any], Sequence[Any]]:
        return (0.0,), (self.weight(node, like), 1.0)


class HardShrink(PiecewiseLinear):
    """x where |x| > c, else zero; c = 0.5 by default. The lines stay below the limits at both jumps."""

    jumps = True

    def derivative(self, node: Node, box: Interval) -> Interval:
        size = float(node.argument(1, "lambd", 0.5))
        steep = ((box.lower > size) | (box.upper < -size)).to(box.lower.dtype)
        return across_jumps(steep, (steep == 0) & ((box.lower < -size) | (box.upper > size)))

    def below(self, node: Node, box: Interval, ends: tuple[Tensor, Tensor]) -> list[Corner]:
        size = float(node.argument(1, "lambd", 0.5))
        place, zero = torch.full_like(box.lower, size), torch.zeros_like(box.lower)
        return [
            limit(box, ends, -place, -place, left=True),
            attained(box, ends, -place, zero),
            attained(box, ends, place, zero),
            limit(box, ends, place, place, left=False),
        ]


class Threshold(PiecewiseLinear):
    """x above t, else the constant v."""

    jumps = True

    def derivative(self, node: Node, box: Interval) -> Interval:
        place = float(node.argument(1, "threshold"))
        return across_jumps((box.lower > place).to(box.lower), (box.lower <= place) & (box.upper > place))

    def below(self, node: Node, box: Interval, ends: tuple[Tensor, Tensor]) -> list[Corner]:
        place = torch.full_like(box.lower, float(node.argument(1, "threshold")))
        value = torch.full_like(box.lower, float(node.argument(2, "value")))
        return [attained(box, ends, place, value), limit(box, ends, place, place, left=False)]


class Step(PiecewiseLinear):
    """Constant on both sides of zero: the sign, comparisons with zero; with a value of its own at zero."""

    jumps = True
    rise = 0.0

    def __init__(self, left: float, middle: float, right: float) -> None:
        self.left, self.middle, self.right = left, middle, right

    def at_zero(self, node: Node, like: Tensor) -> Tensor | float:
        """The value at zero, to broadcast over one sample."""
        return self.middle

    def function(self, node: Node, x: Tensor) -> Tensor:
        side = torch.where(x > 0, torch.full_like(x, self.right), torch.full_like(x, self.left))
        return torch.where(x == 0, self.at_zero(node, x), side)

    def below(self, node: Node, box: Interval, ends: tuple[Tensor, Tensor]) -> list[Corner]:
        zero = torch.zeros_like(box.lower)
        return [
            limit(box, ends, zero, torch.full_like(zero, self.left), left=True),
            attained(box, ends, zero, zero + self.at_zero(node, zero)),
            limit(box, ends, zero, torch.full_like(zero, self.right), left=False),
        ]


class Heaviside(Step):
    """0 below zero, 1 above, a given value at zero."""

    def __init__(self) -> None:
        super().__init__(0.0, 0.0, 1.0)

    def at_zero(self, node: Node, like: Tensor) -> Tensor | float:
        return sample_constant(node, node.args[1], like)


def across_jumps(slope: Tensor, jumps: Tensor | None) -> Interval:
    """Derivatives that are `slope` where nothing jumps, and any number where something does."""
    if jumps is None:
        return Interval(slope, slope)
    return Interval(slope.masked_fill(jumps, -torch.inf), slope.masked_fill(jumps, torch.inf))


def attained(box: Interval, ends: tuple[Tensor, Tensor], position: Tensor, value: Tensor) -> Corner:
    """The point of the graph at `position`, where the box holds it; else the box's lower end."""
    inside = (position >= box.lower) & (position <= box.upper)
    return Corner(torch.where(inside, position, box.lower), torch.where(inside, value, ends[0]))


def limit(
    box: Interval, ends: tuple[Tensor, Tensor], position: Tensor, value: Tensor, *, left: bool
) -> Corner:
    """The limit from the left (else right) at `position`, where it belongs to the box; else its lower end."""
    if left:
        inside = (position > box.lower) & (position <= box.upper)
    else:
        inside = (position >= box.lower) & (position < box.upper)
    return Corner(torch.where(inside, position, box.lower), torch.where(inside, value, ends[0]))


register(aten.abs.default)(Absolute())
register(aten.softshrink.default)(SoftShrink())
register(aten.hardshrink.default)(HardShrink())
register(aten.threshold.default)(Threshold())
register(aten.prelu.default)(PRelu())
register(aten.sign.default, aten.sgn.default)(Step(-1.0, 0.0, 1.0))
register(aten.heaviside.default)(Heaviside())

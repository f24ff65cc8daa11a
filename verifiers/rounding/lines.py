"""How far a relaxation's lines, computed in float64, may miss the function that they should enclose.

Nothing of the rules' own argument is used: lines are checked like a certificate. Against a piecewise linear
function the worst place is an end of the box or a kink. Where h = f - line is convex its maximum is at an
end; where it is concave, h(x) <= h(t) + h'(t) (x - t) for every t: the point of contact needs not be exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..graph import Node
from ..interval import Interval
from ..rule import Lines, find_rule
from ..rules.curves import Shape, Smooth
from ..rules.piecewise import Kinked
from ..rules.relu import LeakyRelu
from .formats import DOUBLE
from .rule import upward

__all__ = ["BENDS", "Bends", "has_checked_lines", "missed"]

aten = torch.ops.aten

_HALVINGS = 40
_ROUNDINGS = 64  # of the functions, their slopes, and what is computed of them here


@dataclass(frozen=True, slots=True)
class Bends:
    """Points of inflection from left to right; whether the function is convex to the left of the first."""

    convex_first: bool
    points: tuple[float, ...] = ()

    def stretches(self) -> list[tuple[float, float, bool]]:
        """First and last point of every stretch, and whether the function is convex on it."""
        ends = (-torch.inf, *self.points, torch.inf)
        return [(ends[i], ends[i + 1], self.convex_first == (i % 2 == 0)) for i in range(len(ends) - 1)]


_AT_ZERO = Bends(True, (0.0,))
_CONVEX = Bends(True)

BENDS: dict[Callable[..., Any], Bends] = {
    aten.sigmoid.default: _AT_ZERO,
    aten.special_expit.default: _AT_ZERO,
    aten.tanh.default: _AT_ZERO,
    aten.erf.default: _AT_ZERO,
    aten.atan.default: _AT_ZERO,
    aten.asinh.default: _AT_ZERO,
    aten.exp.default: _CONVEX,
    aten.exp2.default: _CONVEX,
    aten.expm1.default: _CONVEX,
    aten.silu.default: Bends(False, (-2.3993572805154676678, 2.3993572805154676678)),
}
"""Of smooth functions: the others end a pull, with their intervals."""


def has_checked_lines(node: Node) -> bool:
    """Whether `missed` knows the node's function."""
    rule = find_rule(node)
    return isinstance(rule, LeakyRelu | Kinked) or (isinstance(rule, Smooth) and node.op in BENDS)


def missed(node: Node, box: Interval, lines: Lines) -> Tensor:
    """At least how far the node's function leaves the strip between the lines, >= 0, of the lines' shape.

    box: (B, *shape), or (B, 1, *shape) for lines (B, R, *shape). NaN where that is unknown.
    """
    rule = find_rule(node)
    sides = (
        (1.0, lines.upper_slope, lines.upper_offset),
        (-1.0, lines.lower_slope, lines.lower_offset),
    )
    worst: Tensor | None = None
    for sign, slope, offset in sides:
        zero = torch.zeros_like(slope) if offset is None else offset
        if isinstance(rule, Smooth):
            found = _smooth(rule.shape(node), BENDS[node.op], box, sign, slope, zero)  # type: ignore[index]
        else:
            found = _kinked(rule, node, box, sign, slope, zero)
        worst = found if worst is None else torch.maximum(worst, found)
    assert worst is not None  # there are two sides
    return upward(worst.clamp(min=0))


def _kinked(rule: Any, node: Node, box: Interval, sign: float, slope: Tensor, offset: Tensor) -> Tensor:
    if isinstance(rule, LeakyRelu):
        positions: list[Any] = [0.0]
        steep = rule.slope(node)

        def function(x: Tensor) -> Tensor:
            return torch.where(x >= 0, x, steep * x)
    else:
        positions = list(rule.kinks(node, box.lower)[0])

        def function(x: Tensor) -> Tensor:
            value: Tensor = rule.function(node, x)
            return value

    places = [box.lower, box.upper]
    places += [torch.minimum(torch.maximum(box.lower, 0 * box.lower + p), box.upper) for p in positions]
    worst, size = None, torch.zeros_like(slope)
    for x in places:
        value = function(x)
        found = sign * (value - slope * x - offset)
        worst = found if worst is None else torch.maximum(worst, found)
        size = torch.maximum(size, value.abs() + slope.abs() * x.abs() + offset.abs())
    assert worst is not None  # a box has two ends
    return worst + _ROUNDINGS * DOUBLE.unit * size


def _smooth(shape: Shape, bends: Bends, box: Interval, sign: float, slope: Tensor, offset: Tensor) -> Tensor:
    def above(x: Tensor) -> Tensor:
        return sign * (shape.value(x) - slope * x - offset)

    def rise(x: Tensor) -> Tensor:
        return sign * (shape.slope(x, shape.value(x)) - slope)

    low, high = torch.broadcast_tensors(box.lower, box.upper)
    worst = torch.maximum(above(low), above(high))
    for first, last, convex in bends.stretches():
        meets = (high >= first) & (low <= last)
        a, b = low.clamp(min=first), high.clamp(max=last)
        a, b = torch.where(meets, a, low), torch.where(meets, b, low)
        if convex == (sign > 0):  # h is convex
            found = torch.maximum(above(a), above(b))
        else:
            t, width = _contact(rise, a, b, slope), b - a
            steep = rise(t)
            found = above(t) + torch.maximum(steep * (b - t), steep * (a - t))
            found = found + DOUBLE.unit * width
        worst = torch.maximum(worst, torch.where(meets, found, worst))
    f_low, f_high = shape.value(low), shape.value(high)
    steepest = slope.abs() + shape.slope(low, f_low).abs() + shape.slope(high, f_high).abs() + 2
    reach = torch.maximum(low.abs(), high.abs())
    size = f_low.abs() + f_high.abs() + steepest * reach + offset.abs() + 1
    return worst + _ROUNDINGS * DOUBLE.unit * size


def _contact(rise: Callable[[Tensor], Tensor], a: Tensor, b: Tensor, slope: Tensor) -> Tensor:
    """Where a decreasing function vanishes in [a, b], nearly; at the end where it comes closest otherwise."""
    left, right = a.expand_as(slope), b.expand_as(slope)
    for _ in range(_HALVINGS):
        middle = torch.lerp(left, right, 0.5)
        up = rise(middle) > 0
        left, right = torch.where(up, middle, left), torch.where(up, right, middle)
    return torch.lerp(left, right, 0.5)

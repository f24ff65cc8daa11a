"""Sigmoid and tanh: convex below zero, concave above, symmetric about their value at zero.

The two lines follow CROWN (Zhang et al. 2018, arXiv 1811.00866, table 2): the chord on the side where
the curve bends away from it, a tangent on the other; on intervals around zero the tangent is the one
through the far end, found by bisection and kept on the safe side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..graph import Node
from ..interval import Interval
from ..rule import Elementwise, Lines, register

aten = torch.ops.aten

_STEPS = 30  # halvings of the tangent point's interval: below float32 resolution for bounds up to 100


class SShaped(Elementwise):
    """An increasing function that is convex on x <= 0, concave on x >= 0, with f(-x) = 2 f(0) - f(x)."""

    def __init__(
        self, function: Callable[[Tensor], Tensor], steepness: Callable[[Tensor], Tensor], middle: float
    ) -> None:
        self.function = function  # f
        self.steepness = steepness  # f'(x) given f(x)
        self.middle = middle  # f(0)

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        return Interval(self.function(inputs[0].lower), self.function(inputs[0].upper))

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        return box.lower < box.upper

    def lines(self, node: Node, box: Interval, free: Sequence[Tensor] = ()) -> Lines:
        slope, offset = self.below(box.lower, box.upper)
        # above f on [l, u] is the mirror image of below f on [-u, -l]
        mirrored, shift = self.below(-box.upper, -box.lower)
        return Lines(slope, mirrored, offset, 2 * self.middle - shift)

    def derivative(self, node: Node, box: Interval) -> Interval:
        ends = self.steepness(self.function(box.lower)), self.steepness(self.function(box.upper))
        # f' rises up to zero and falls behind it
        peak = self.steepness(self.function(torch.zeros_like(box.lower)))
        inside = (box.lower <= 0) & (box.upper >= 0)
        slack = 4 * torch.finfo(box.lower.dtype).eps  # 1 - f(x)^2 cancels where the curve is flat
        lower = torch.minimum(*ends) - slack
        upper = torch.where(inside, peak, torch.maximum(*ends) + slack)
        return Interval(lower.clamp(min=0), torch.minimum(upper, peak))

    def below(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Slope and offset of a line below f on [low, high]."""
        f_low, f_high = self.function(low), self.function(high)
        width = high - low
        narrow = width < 1e-6 * (1 + low.abs())  # the chord's quotient is noise there
        chord = (f_high - f_low) / torch.where(narrow, torch.ones_like(width), width)
        flat = torch.minimum(self.steepness(f_low), self.steepness(f_high))
        chord = torch.where(narrow, flat, chord)
        # The chord lies below f on the concave side. Anchored at either end it must stay below both.
        chord_offset = torch.minimum(f_low - chord * low, f_high - chord * high)
        tangent = self._tangent_point(low, high, f_high)
        value = self.function(tangent)
        steep = self.steepness(value)
        use_chord = (low >= 0) | (tangent < low)
        slope = torch.where(use_chord, chord, steep)
        return slope, torch.where(use_chord, chord_offset, value - steep * tangent)

    def _tangent_point(self, low: Tensor, high: Tensor, f_high: Tensor) -> Tensor:
        """A point of tangency whose line is below f up to `high`: the middle where the interval is convex.

        Where `high` > 0 this is the largest safe point; it lies left of `low` where only the chord is safe.
        """
        with torch.no_grad():
            left = torch.minimum(low, -high) - 1  # safe, or left of `low`
            right = torch.zeros_like(low)
            for _ in range(_STEPS):
                middle = (left + right) / 2
                value = self.function(middle)
                safe = value + self.steepness(value) * (high - middle) <= f_high
                left = torch.where(safe, middle, left)
                right = torch.where(safe, right, middle)
        return torch.where(high <= 0, (low + high) / 2, left)


def _sigmoid_derivative(value: Tensor) -> Tensor:
    return value * (1 - value)


def _tanh_derivative(value: Tensor) -> Tensor:
    return 1 - value * value


register(aten.sigmoid.default)(SShaped(torch.sigmoid, _sigmoid_derivative, 0.5))
register(aten.tanh.default)(SShaped(torch.tanh, _tanh_derivative, 0.0))

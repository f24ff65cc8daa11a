"""One over the root mean square: the factor of layer, group and RMS normalisation, 1 / sqrt(v + eps).

v is a mean of squares: where bounds of it reach below zero they are cut off there, so that eps keeps the
factor finite.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..graph import Node
from ..interval import Interval
from ..rule import Elementwise, Lines, register

__all__ = ["inverse_deviation"]


def inverse_deviation(mean_square: Tensor, eps: float) -> Tensor:
    """1 / sqrt(mean_square + eps), and its value at zero below zero."""
    return torch.rsqrt(mean_square.clamp(min=0) + eps)


class InverseDeviation(Elementwise):
    """Convex and decreasing from zero on: a chord above, below a tangent, whose point is free."""

    parameters = 1

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        eps = node.args[1]
        low, high = inputs[0].lower, inputs[0].upper
        return Interval(inverse_deviation(high, eps), inverse_deviation(low, eps))

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        return box.lower < box.upper

    def derivative(self, node: Node, box: Interval) -> Interval:
        eps = node.args[1]
        low, high = _slope(box.lower.clamp(min=0), eps), _slope(box.upper.clamp(min=0), eps)
        zero = torch.zeros_like(low)  # the slope below zero
        return Interval(torch.where(box.upper < 0, zero, low), torch.where(box.lower <= 0, zero, high))

    def lines(self, node: Node, box: Interval, free: Sequence[Tensor] = ()) -> Lines:
        eps = node.args[1]
        low, high = box.lower.clamp(min=0), box.upper.clamp(min=0)
        touch = torch.lerp(low, high, free[0] if free else 0.5)
        tangent = _slope(touch, eps)
        at_low, at_high, value = (inverse_deviation(v, eps) for v in (low, high, touch))
        width = high - low
        chord = (at_high - at_low) / torch.where(width > 0, width, 1)
        chord = torch.minimum(torch.maximum(chord, _slope(low, eps)), _slope(high, eps))
        above = torch.maximum(at_low - chord * low, at_high - chord * high)
        flat = box.lower < 0  # constant there: no inclined line is close to all of it
        tangent, chord = torch.where(flat, 0, tangent), torch.where(flat, 0, chord)
        above, below = torch.where(flat, at_low, above), torch.where(flat, at_high, value - tangent * touch)
        ulps = torch.where(flat, 0, 4 * torch.finfo(low.dtype).eps)
        return Lines(
            tangent,
            chord,
            below - ulps * (value + (tangent * touch).abs()),
            above + ulps * (at_low + (chord * high).abs()),
        )


def _slope(v: Tensor, eps: float) -> Tensor:
    return -0.5 * torch.rsqrt(v + eps) ** 3


register(inverse_deviation)(InverseDeviation())

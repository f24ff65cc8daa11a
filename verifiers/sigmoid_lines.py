"""Lines below and above the logistic function on an interval, with a free point of tangency."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sigmoid_above", "sigmoid_below", "tangency_share", "tangent_limit"]

_STEPS = 40  # halvings of the tangent point's interval


@torch.no_grad()
def tangent_limit(low: Tensor, high: Tensor) -> Tensor:
    """The largest point whose tangent lies below the function up to `high`; left of `low` there is none.

    Where `high` <= 0 the function is convex: every point up to `high` will do.
    """
    end = torch.sigmoid(high)
    left = torch.minimum(low, -high) - 1  # safe, or left of `low`
    right = torch.zeros_like(low)
    for _ in range(_STEPS):
        middle = (left + right) / 2
        value = torch.sigmoid(middle)
        safe = value + value * (1 - value) * (high - middle) <= end
        left = torch.where(safe, middle, left)
        right = torch.where(safe, right, middle)
    return torch.where(high <= 0, high, left)


def sigmoid_below(low: Tensor, high: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Slope (>= 0) and offset of a line below the function on [low, high].

    The tangent at `share` in [0, 1] of the way from `low` to the last safe point; where no point is safe
    the chord, which is the best line then. Everything broadcasts.
    """
    limit = tangent_limit(low, high)
    point = torch.lerp(low, torch.maximum(limit, low), share)
    value = torch.sigmoid(point)
    slope = value * (1 - value)
    ends = torch.sigmoid(low), torch.sigmoid(high)
    width = high - low
    narrow = width < 1e-6 * (1 + low.abs())  # the chord's quotient is noise there
    chord = (ends[1] - ends[0]) / torch.where(narrow, torch.ones_like(width), width)
    flat = torch.minimum(ends[0] * (1 - ends[0]), ends[1] * (1 - ends[1]))
    chord = torch.where(narrow, flat, chord)
    # anchored at either end it must stay below both
    offset = torch.minimum(ends[0] - chord * low, ends[1] - chord * high)
    use_chord = limit < low
    return torch.where(use_chord, chord, slope), torch.where(use_chord, offset, value - slope * point)


def sigmoid_above(low: Tensor, high: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """As `sigmoid_below` for a line above, share 0 at `high`: the mirror image about (0, 1/2)."""
    slope, offset = sigmoid_below(-high, -low, share)
    return slope, 1 - offset


@torch.no_grad()
def tangency_share(low: Tensor, high: Tensor, point: Tensor) -> Tensor:
    """The share at which the line below [low, high] is highest at `point`."""
    room = torch.maximum(tangent_limit(low, high), low) - low
    share = ((point - low) / room).clamp(0, 1)
    return torch.where(room > 0, share, torch.zeros_like(share))

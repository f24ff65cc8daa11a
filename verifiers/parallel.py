"""Two parallel lines around a function, from lines of any slopes: what forward bounds need.

Forward propagation writes y = slope * x + r with a remainder r in an interval (Singh et al. 2018, "Fast and
effective robustness certification", NeurIPS: the zonotope of smallest area). The remainder's ends follow from
the lines that a rule gives for backward bounds: a line above or below the function, minus slope * x, is
linear, so its extreme values lie at the ends of the box; where two lines bound the function from one side,
their envelope has its extreme value at an end or where they cross.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .interval import Interval

__all__ = ["Line", "Parallel", "parallel_lines"]

Line = tuple[Tensor, Tensor | None]
"""Slope and offset (None: zero)."""


@dataclass(frozen=True, slots=True, eq=False)
class Parallel:
    """low <= f(x) - slope * x <= high for every x of a box, each (B, *shape)."""

    slope: Tensor
    low: Tensor
    high: Tensor


def parallel_lines(lower: Sequence[Line], upper: Sequence[Line], box: Interval) -> Parallel:
    """The narrowest strip around the function with the slope of the first lower or the first upper line.

    lower, upper: lines below and above the function on the box, at least one of each; the last two are also
    used jointly, as the envelope that they form.
    """
    best: Parallel | None = None
    for slope in (lower[0][0], upper[0][0]):
        new = Parallel(slope, _least(lower, slope, box), -_least(_negated(upper), -slope, box))
        if best is None:
            best = new
            continue
        narrower = new.high - new.low < best.high - best.low
        best = Parallel(
            torch.where(narrower, new.slope, best.slope),
            torch.where(narrower, new.low, best.low),
            torch.where(narrower, new.high, best.high),
        )
    assert best is not None  # there is one slope at least
    return best


def _negated(lines: Sequence[Line]) -> list[Line]:
    return [(-slope, None if offset is None else -offset) for slope, offset in lines]


def _least(lines: Sequence[Line], slope: Tensor, box: Interval) -> Tensor:
    """A lower bound of f(x) - slope * x over the box: the best of each line and of the last two jointly."""
    least: Tensor | None = None
    for line in lines:
        value = torch.minimum(_at(line, slope, box.lower), _at(line, slope, box.upper))
        least = value if least is None else torch.maximum(least, value)
    assert least is not None  # there is one line at least
    if len(lines) > 1:
        least = torch.maximum(least, _of_envelope(lines[-2], lines[-1], slope, box))
    return least


def _at(line: Line, slope: Tensor, x: Tensor) -> Tensor:
    value = (line[0] - slope) * x
    return value if line[1] is None else value + line[1]


def _of_envelope(one: Line, other: Line, slope: Tensor, box: Interval) -> Tensor:
    """Least max(one, other) - slope * x: at an end of the box, or where the lines cross."""
    zero = torch.zeros_like(slope)
    rise = (other[1] if other[1] is not None else zero) - (one[1] if one[1] is not None else zero)
    fall = one[0] - other[0]
    crossing = rise / torch.where(fall == 0, torch.ones_like(fall), fall)
    crossing = torch.minimum(torch.maximum(crossing, box.lower), box.upper)  # outside, the ends decide
    values = [torch.maximum(_at(one, slope, x), _at(other, slope, x)) for x in (box.lower, box.upper)]
    # the computed crossing is off by rounding, and so is the value there
    size = (one[0].abs() + other[0].abs() + slope.abs()) * crossing.abs()
    middle = torch.maximum(_at(one, slope, crossing), _at(other, slope, crossing))
    middle = middle - 8 * torch.finfo(size.dtype).eps * size
    return torch.minimum(torch.minimum(*values), middle)

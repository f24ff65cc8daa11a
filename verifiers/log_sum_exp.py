"""Leave-one-out forms of log-sum-exp along the last axis, and planes built of them.

For output i of a softmax all other coordinates matter through sum_{j != i} exp(x_j) alone. Planes for all i
therefore share their weights: coordinate j has slope -h_i w_j in plane i, and i's own slope is d_i. This
makes every operation on n planes of n coordinates cost O(n).

One coordinate, the largest ("pivot"), may exceed the others so far that the sum without it is lost in the
rounding of the sum with it; the pivot's plane has its own weights, computed without it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .interval import Interval

__all__ = [
    "Chords",
    "RestPlanes",
    "Tangents",
    "exp_chords",
    "log_odds",
    "mean_decay",
    "pivot_of",
    "rest_log_sum_exp",
]


@torch.no_grad()
def pivot_of(x: Tensor) -> Tensor:
    """Mask of one largest coordinate along the last axis."""
    place = x.argmax(-1, keepdim=True)
    return torch.zeros_like(x, dtype=torch.bool).scatter(-1, place, torch.ones_like(place, dtype=torch.bool))


def rest_log_sum_exp(x: Tensor) -> Tensor:
    """log sum_{j != i} exp(x_j) for every i; -inf where there is one coordinate only. NaN spreads."""
    pivot = pivot_of(x)
    top = x.amax(-1, keepdim=True)
    e = torch.exp(x - top)
    rest = (e.sum(-1, keepdim=True) - e).masked_fill(pivot, 1.0)
    without = torch.logsumexp(x.masked_fill(pivot, -torch.inf), -1, keepdim=True)
    return torch.where(pivot, without, top + torch.log(rest))


def log_odds(box: Interval) -> Interval:
    """The exact range of x_i - log sum_{j != i} exp(x_j) over a box (..., n)."""
    return Interval(box.lower - rest_log_sum_exp(box.upper), box.upper - rest_log_sum_exp(box.lower))


@dataclass(frozen=True, slots=True, eq=False)
class RestPlanes:
    """Planes i: own_i x_i - factor_i sum_{j != i} w_j x_j + constant_i along the last axis.

    w is `weights`, except in the pivot's plane, where it is `pivot_weights` (zero at the pivot).
    All tensors are (..., n); pivot is a mask of one coordinate.
    """

    own: Tensor
    factor: Tensor
    constant: Tensor
    weights: Tensor
    pivot_weights: Tensor
    pivot: Tensor

    def at(self, x: Tensor) -> Tensor:
        """The planes' values at x (..., n)."""
        return self.own * x - self.factor * self.rest(x) + self.constant

    def shifted(self, by: Tensor) -> RestPlanes:
        """The planes moved up by `by`."""
        return replace(self, constant=self.constant + by)

    def rest(self, x: Tensor) -> Tensor:
        """sum_{j != i} w_j x_j for every i."""
        return rest_sum(self.weights * x, self.pivot_weights * x, self.pivot)

    def pull(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """Coefficients of x and constant of `sum_i a_i plane_i`: a (..., n), constant (...)."""
        scaled = a * self.factor
        others = scaled.masked_fill(self.pivot, 0.0)
        by_pivot = (scaled - others).sum(-1, keepdim=True)
        rest = self.weights * (others.sum(-1, keepdim=True) - others) + self.pivot_weights * by_pivot
        return a * self.own - rest, (a * self.constant).sum(-1)


def rest_sum(terms: Tensor, pivot_terms: Tensor, pivot: Tensor) -> Tensor:
    """sum_{j != i} terms_j, and sum_j pivot_terms_j in the pivot's place."""
    total = terms.sum(-1, keepdim=True)
    return torch.where(pivot, pivot_terms.sum(-1, keepdim=True), total - terms)


@dataclass(frozen=True, slots=True, eq=False)
class Tangents:
    """Tangent planes of log sum_{j != i} exp(x_j) at `point`: value_i + sum_{j != i} w_j x_j / total_i."""

    weights: Tensor
    pivot_weights: Tensor
    pivot: Tensor
    inverse: Tensor
    constant: Tensor

    @staticmethod
    def at(point: Tensor) -> Tangents:
        """Convexity makes them lower bounds everywhere; their weights are softmax values at `point`."""
        pivot = pivot_of(point)
        weights = torch.exp(point - point.amax(-1, keepdim=True))
        pivot_weights = torch.softmax(point.masked_fill(pivot, -torch.inf), -1)
        total = (weights.sum(-1, keepdim=True) - weights).masked_fill(pivot, 1.0)
        mean = rest_sum(weights * point, pivot_weights * point, pivot) / total
        return Tangents(weights, pivot_weights, pivot, 1 / total, rest_log_sum_exp(point) - mean)


@dataclass(frozen=True, slots=True, eq=False)
class Chords:
    """Chords above exp on every coordinate's interval, in units that keep every plane's sum near one.

    chord_j(x) = constant_j + slope_j x in units exp(top); for the pivot's plane in units exp(pivot_top),
    zero at the pivot. `values` are exp at both ends in units exp(top). `low` and `high` are the smallest and
    the largest sum without i, in i's units; `unit` is the logarithm of i's units.
    """

    slope: Tensor
    constant: Tensor
    values: Interval
    top: Tensor
    pivot_slope: Tensor
    pivot_constant: Tensor
    pivot: Tensor
    unit: Tensor
    low: Tensor
    high: Tensor

    def rest_constant(self) -> Tensor:
        """Constants summed over j != i."""
        return rest_sum(self.constant, self.pivot_constant, self.pivot)

    def total(self) -> Interval:
        """The smallest and the largest sum of all exponentials, in units exp(top): (..., 1)."""
        return Interval(self.values.lower.sum(-1, keepdim=True), self.values.upper.sum(-1, keepdim=True))


def exp_chords(box: Interval) -> Chords:
    """The chords of exp on a box (..., n), rounded up."""
    pivot = pivot_of(box.upper)
    top = box.upper.amax(-1, keepdim=True)
    pivot_top = box.upper.masked_fill(pivot, -torch.inf).amax(-1, keepdim=True)
    slope, constant, values = _chords(box, top)
    # the pivot itself, which is left out, must not overflow in the smaller units
    without = Interval(*(torch.where(pivot, pivot_top, t) for t in (box.lower, box.upper)))
    pivot_slope, pivot_constant, pivot_values = _chords(without, pivot_top)
    pivot_slope, pivot_constant, pivot_low, pivot_high = (
        t.masked_fill(pivot, 0.0)
        for t in (pivot_slope, pivot_constant, pivot_values.lower, pivot_values.upper)
    )
    low, high = rest_sum(values.lower, pivot_low, pivot), rest_sum(values.upper, pivot_high, pivot)
    unit = torch.where(pivot, pivot_top, top)
    return Chords(
        slope, constant, values, top, pivot_slope, pivot_constant, pivot, unit, low.clamp(min=0), high
    )


def mean_decay(width: Tensor) -> Tensor:
    """(1 - exp(-width)) / width, one at zero: the chord's slope over the function's value at the top."""
    safe = torch.where(width > 0, width, torch.ones_like(width))
    return torch.where(width > 0, -torch.expm1(-safe) / safe, torch.ones_like(width))


def _chords(box: Interval, top: Tensor) -> tuple[Tensor, Tensor, Interval]:
    """Slope, constant and values at both ends of exp(x - top)."""
    value = torch.exp(box.upper - top)
    slope = value * mean_decay(box.upper - box.lower)
    far = torch.maximum(box.lower.abs(), box.upper.abs())
    slack = 4 * torch.finfo(value.dtype).eps * (value + slope * far)
    return slope, value - slope * box.upper + slack, Interval(torch.exp(box.lower - top), value)

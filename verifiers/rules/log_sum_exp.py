"""Log-sum-exp and log-softmax.

Log-sum-exp is convex: any tangent plane is a lower bound. Above, the better at the box's centre of two
planes: chords of all exponentials and a tangent of the logarithm, or the largest coordinate x_r plus a
chord of softplus at log sum_{j != r} exp(x_j) - x_r, whose range is exact.

log-softmax is x - log-sum-exp. A row of coefficients needs one bound of log-sum-exp, whose coefficient is
minus the row's sum: differences of two outputs, as in margins, are exact.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..graph import Node
from ..interval import Interval
from ..log_sum_exp import Chords, exp_chords, log_odds
from ..rule import Boxes, Pulled, register
from .gathered import Plane, ReductionRule

__all__ = ["LogSoftmax", "LogSumExp", "plane_above", "plane_below"]

aten = torch.ops.aten

_LEAST_SHARE = 1e-3  # of the largest sum of exponentials: the logarithm's tangents stay finite


class LogSumExp(ReductionRule):
    """Along one or more axes. Free, (B, *other axes, n + 1): the n coordinates of the lower plane's point of
    tangency within the box, and where the upper plane is highest between the extreme sums.
    """

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        return Interval(node.run(inputs[0].lower), node.run(inputs[0].upper))

    def planes(self, node: Node, box: Interval, share: Tensor | None) -> tuple[Plane, Plane]:
        half = torch.full_like(box.lower, 0.5)
        points, sum_ = (half, half[..., :1]) if share is None else (share[..., :-1], share[..., -1:])
        return plane_below(box, points), plane_above(box, sum_)

    def gradient(self, node: Node, box: Interval) -> Interval:
        odds = log_odds(box)
        return Interval(torch.sigmoid(odds.lower), torch.sigmoid(odds.upper))

    def mean(self, node: Node, boxes: Boxes, direction: Interval) -> Interval:
        """Bounds (..., 1) of the mean of `direction` (..., n) under the softmax's weights."""
        parts = direction.times(self.gradient(node, self.box(node, boxes)))
        found = Interval(parts.lower.sum(-1, keepdim=True), parts.upper.sum(-1, keepdim=True))
        ends = direction.lower.amin(-1, keepdim=True), direction.upper.amax(-1, keepdim=True)
        return found.intersect(Interval(*ends))

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        found = self.mean(node, boxes, self.direction(node, tangents[0]))
        shape = (*found.lower.shape[:2], *node.shape)
        return Interval(found.lower.reshape(shape), found.upper.reshape(shape))


class LogSoftmax(LogSumExp):
    """x - log-sum-exp along one axis; free as in `LogSumExp`."""

    def rows(self, node: Node, a: Tensor) -> Tensor:
        return -a.sum(self.axes(node)[0])

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        odds = log_odds(Interval(*(self.gathered(node, t) for t in (inputs[0].lower, inputs[0].upper))))
        ends = (functional.logsigmoid(t) for t in (odds.lower, odds.upper))
        return Interval(*(self.scattered(node, t) for t in ends))

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        pulled, offset = self.pull(node, self.rows(node, a), boxes, free)
        return Pulled((a + pulled,), offset)

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        direction = self.direction(node, tangents[0])
        found = direction.plus(self.mean(node, boxes, direction).scaled(-1.0))
        return Interval(self.scattered(node, found.lower), self.scattered(node, found.upper))

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        flipped = Interval(rows.upper, rows.lower)  # `rows` of this class turns signs
        (through,) = super().cotangent(node, boxes, flipped)
        return (rows.plus(through),)


def plane_below(box: Interval, share: Tensor) -> Plane:
    """The tangent plane of log-sum-exp along the last axis at `share` of the way through the box."""
    point = torch.lerp(box.lower, box.upper, share)
    weights = torch.softmax(point, -1)
    far = torch.maximum(box.lower.abs(), box.upper.abs())
    value = torch.logsumexp(point, -1, keepdim=True)
    slack = 4 * torch.finfo(far.dtype).eps * (1 + (weights * far).sum(-1, keepdim=True))
    return weights, value - (weights * point).sum(-1, keepdim=True) - slack


def plane_above(box: Interval, share: Tensor) -> Plane:
    """A plane above log-sum-exp along the last axis; `share` (..., 1) as in `LogSumExp`."""
    if box.lower.shape[-1] == 1:
        return torch.ones_like(box.lower), torch.zeros_like(box.lower)
    chords = exp_chords(box)
    planes = (_above_all(chords, share), _above_rest(box, chords, share))
    with torch.no_grad():
        middle = torch.lerp(box.lower, box.upper, 0.5)
        first, second = ((slope * middle).sum(-1, keepdim=True) + constant for slope, constant in planes)
        better = second < first
    slope, constant = (torch.where(better, two, one) for one, two in zip(*planes, strict=True))
    far = torch.maximum(box.lower.abs(), box.upper.abs())
    slack = 4 * torch.finfo(far.dtype).eps * (1 + (slope * far).sum(-1, keepdim=True))
    return slope, constant + slack


def _above_all(chords: Chords, share: Tensor) -> Plane:
    """log G <= log G0 + G / G0 - 1, where G is the sum of chords."""
    total = chords.total()
    sum_ = torch.maximum(torch.lerp(total.lower, total.upper, share), _LEAST_SHARE * total.upper)
    constant = torch.log(sum_) + chords.top - 1 + chords.constant.sum(-1, keepdim=True) / sum_
    return chords.slope / sum_, constant


def _above_rest(box: Interval, chords: Chords, share: Tensor) -> Plane:
    """x_r + softplus(z) below a chord of softplus, z = log sum_{j != r} exp(x_j) - x_r below chords."""
    pivot = chords.pivot
    odds = log_odds(box)
    low, high = (_only(-t, pivot) for t in (odds.upper, odds.lower))
    start, end = (-functional.logsigmoid(-t) for t in (low, high))  # softplus, which torch rounds to x
    width = high - low
    narrow = width < 1e-6 * (1 + low.abs())  # the quotient is noise there
    chord = (end - start) / torch.where(narrow, torch.ones_like(width), width)
    chord = torch.where(narrow, torch.sigmoid(high), chord.clamp(0, 1))
    constant = torch.maximum(start - chord * low, end - chord * high)  # above both ends
    if box.lower.shape[-1] == 2:  # z is the difference of two coordinates
        return torch.where(pivot, 1 - chord, chord), constant
    least, most = _only(chords.low, pivot), _only(chords.high, pivot)
    sum_ = torch.maximum(torch.lerp(least, most, share), _LEAST_SHARE * most)
    rest = torch.log(sum_) - 1 + _only(chords.unit, pivot)
    rest = rest + chords.pivot_constant.sum(-1, keepdim=True) / sum_
    return torch.where(pivot, 1 - chord, chord * chords.pivot_slope / sum_), constant + chord * rest


def _only(t: Tensor, pivot: Tensor) -> Tensor:
    """The pivot's entry, (..., 1)."""
    return torch.where(pivot, t, torch.zeros_like(t)).sum(-1, keepdim=True)


register(aten.logsumexp.default)(LogSumExp())
register(aten.log_softmax.int, aten._log_softmax.default)(LogSoftmax())

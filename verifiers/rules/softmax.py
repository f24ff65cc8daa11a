"""Softmax through its log-odds: p_i = sigmoid(v_i), v_i = x_i - log sum_{j != i} exp(x_j).

v_i is concave in x and its range over a box is exact. Above: a line above the sigmoid on that range, then
a tangent plane of v_i. As a function of x this is the least concave bound that depends on v_i alone, hence
never above the bounds by exponential and reciprocal (ER) or by log-sum-exp (LSE) of Wei et al. 2023 (arXiv
2303.01713), which depend on v_i alone, too. Below: a line below the sigmoid, then chords of exp in v_i and a
tangent of the logarithm; where a tangent of that paper's LSE bound, or of one as good as its ER bound
at the box's centre, is higher at the centre, that one.

The planes of all outputs are used together with sum_i p_i = 1: a row a may be replaced by a - c, plus c.
The best c makes the two kinds of planes meet, as in a continuous knapsack (Dantzig 1957).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..graph import Node
from ..interval import Interval
from ..log_sum_exp import Chords, RestPlanes, Tangents, exp_chords, log_odds, mean_decay, rest_log_sum_exp
from ..rule import Boxes, Pulled, Rule, register
from ..sigmoid_lines import sigmoid_above, sigmoid_below, tangency_share
from .shape import sample_axis

__all__ = ["Softmax", "best_level", "first_shares", "softmax_planes"]

aten = torch.ops.aten

_LEAST_SHARE = 1e-3  # of the largest sum of exponentials: the logarithm's tangents stay finite
_LOWEST_ODDS = -30.0  # below, the ER bound is far below the others and would overflow


class Softmax(Rule):
    """Free, (B, 4, *shape): for the plane below the tangents' points on the sigmoid and on the logarithm,
    for the plane above that on the sigmoid and that of log-sum-exp within the box.
    """

    def axis(self, node: Node) -> int:
        """The softmax's axis among a sample's axes, from the back: -1 for the last."""
        rank = len(node.shape) + 1
        return sample_axis(node, int(node.argument(1, "dim")), rank) - rank

    def check(self, node: Node) -> None:
        self.axis(node)

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        box = _moved(inputs[0], self.axis(node))
        odds = log_odds(box)
        low, high = torch.sigmoid(odds.lower), torch.sigmoid(odds.upper)
        return Interval(low.movedim(-1, self.axis(node)), high.movedim(-1, self.axis(node)))

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        return box.lower < box.upper

    def start(self, node: Node, boxes: Boxes) -> Tensor | None:
        axis = self.axis(node)
        if node.shape[axis] == 1:
            return None
        shares = first_shares(_moved(boxes[node.inputs[0]], axis))
        return torch.stack([s.movedim(-1, axis) for s in shares], 1)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        axis = self.axis(node)
        box = _moved(boxes[node.inputs[0]].unsqueeze(1), axis)
        rows = a.movedim(axis, -1)
        if rows.shape[-1] == 1:  # the constant one
            return Pulled((torch.zeros_like(a),), a.reshape(*a.shape[:2], -1).sum(2))
        shares = first_shares(box) if free is None else free.movedim(axis, -1).unbind(2)
        lower, upper = softmax_planes(box, shares)
        with torch.no_grad():
            middle = torch.lerp(box.lower, box.upper, 0.5)
            level = best_level(rows, lower.at(middle), upper.at(middle))
        rows = rows - level
        negative = rows.clamp(max=0)
        low, below = lower.pull(rows - negative)
        high, above = upper.pull(negative)
        constant = below + above + level.squeeze(-1)
        offset = constant.reshape(*constant.shape[:2], -1).sum(2)
        return Pulled(((low + high).movedim(-1, axis),), offset)

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        return self.cotangent(node, boxes, tangents[0])[0]  # the Jacobian is symmetric

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        axis = self.axis(node)
        p = self.interval(node, boxes[node.inputs[0]]).unsqueeze(1)
        parts = p.times(rows)
        mean = Interval(parts.lower.sum(axis, keepdim=True), parts.upper.sum(axis, keepdim=True))
        # a mean of the rows lies between the extreme ones
        mean = mean.intersect(
            Interval(rows.lower.amin(axis, keepdim=True), rows.upper.amax(axis, keepdim=True))
        )
        return (p.times(rows.plus(mean.scaled(-1.0))),)


@torch.no_grad()
def first_shares(box: Interval) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The free parameters that make the planes tightest at the box's centre."""
    odds, chords = log_odds(box), exp_chords(box)
    middle = torch.lerp(box.lower, box.upper, 0.5)
    half = torch.full_like(middle, 0.5)
    choice, positions = _choice(box, odds, chords)
    below = _chosen(choice, positions)
    above = tangency_share(-odds.upper, -odds.lower, rest_log_sum_exp(middle) - middle)
    return below, half, above, half


def softmax_planes(box: Interval, shares: tuple[Tensor, ...]) -> tuple[RestPlanes, RestPlanes]:
    """Planes below and above every output along the last axis, for any shares within [0, 1]."""
    odds, chords = log_odds(box), exp_chords(box)
    choice, _ = _choice(box, odds, chords)
    candidates = [
        form(box, odds, chords, shares[0], shares[1]) for form in (_by_odds, _by_lse, _by_reciprocal)
    ]
    own, factor, constant = (_chosen(choice, parts) for parts in zip(*candidates, strict=True))
    far = torch.maximum(box.lower.abs(), box.upper.abs())
    eps = 4 * torch.finfo(far.dtype).eps
    constant = constant - factor * chords.rest_constant()
    lower = RestPlanes(own, factor, constant, chords.slope, chords.pivot_slope, chords.pivot)
    lower = lower.shifted(-eps * (1 + own * far + factor * lower.rest(far)))

    slope, offset = sigmoid_above(odds.lower, odds.upper, shares[2])
    tangents = Tangents.at(torch.lerp(box.lower, box.upper, shares[3]))
    constant = offset - slope * tangents.constant
    factor = slope * tangents.inverse
    upper = RestPlanes(slope, factor, constant, tangents.weights, tangents.pivot_weights, tangents.pivot)
    return lower, upper.shifted(eps * (1 + slope * far + factor * upper.rest(far)))


def best_level(a: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """The c that maximises c + sum_i min over p_i in [low_i, high_i] of (a_i - c) p_i: (..., 1).

    It is an entry of a (..., n): in the order of falling a, the first up to which `low` and beyond which
    `high` sum to at most one.
    """
    ordered, order = torch.sort(a, dim=-1, descending=True)
    gap = (high - low).expand(*torch.broadcast_shapes(a.shape, high.shape))
    order = order.expand(gap.shape)
    room = gap.gather(-1, order).cumsum(-1)
    enough = room >= high.sum(-1, keepdim=True) - 1
    last = torch.zeros_like(enough)
    last[..., -1] = True  # rounding may leave none
    place = (enough | last).to(torch.uint8).argmax(-1, keepdim=True)
    return ordered.expand(gap.shape).gather(-1, place)


_Parts = tuple[Tensor, Tensor, Tensor]
"""Of a plane below p_i: i's own slope, the factor of the other coordinates' chords, the constant."""


def _by_odds(box: Interval, odds: Interval, chords: Chords, position: Tensor, share: Tensor) -> _Parts:
    """sigmoid(v_i) above its line, and -log g above its tangent, where g is the sum of chords."""
    sum_ = torch.maximum(torch.lerp(chords.low, chords.high, share), _LEAST_SHARE * chords.high)
    slope, offset = sigmoid_below(odds.lower, odds.upper, position)
    return slope, slope / sum_, offset + slope * (1 - torch.log(sum_) - chords.unit)


def _by_lse(box: Interval, odds: Interval, chords: Chords, position: Tensor, share: Tensor) -> _Parts:
    """The tangent of exp(x_i) / (sum of all chords), which is convex: Wei et al.'s lower LSE bound."""
    total = chords.total()
    sum_ = torch.maximum(torch.lerp(total.lower, total.upper, share), _LEAST_SHARE * total.upper)
    exponent = torch.lerp(functional.logsigmoid(odds.lower), functional.logsigmoid(odds.upper), position)
    value = torch.exp(exponent)
    top = chords.top
    factor = value / sum_ * torch.exp(chords.unit - top)
    constant = value * (2 - exponent - torch.log(sum_) - top - chords.constant / sum_)
    return value * (1 - chords.slope / sum_), factor, constant


def _by_reciprocal(box: Interval, odds: Interval, chords: Chords, position: Tensor, share: Tensor) -> _Parts:
    """The tangent of 1 / (1 + M), with McCormick's plane M above chord(exp(-x_i)) times the sum of chords.

    At the box's centre M is the sum of the chords of exp(x_j - x_i) over the differences' ranges, as in
    Wei et al.'s lower ER bound, but M's slopes have the common form of all our planes.
    """
    largest, least = ((chords.unit - t).clamp(max=-_LOWEST_ODDS).exp() for t in (box.lower, box.upper))
    decay = -largest * mean_decay(box.upper - box.lower)
    start, end = ((-t).clamp(max=-_LOWEST_ODDS).exp() for t in (odds.upper, odds.lower))
    sum_ = torch.lerp(start, end, share)
    by_sum, by_own = torch.lerp(largest, least, position), torch.lerp(chords.low, chords.high, position)
    corner = torch.lerp(chords.low * largest, chords.high * least, position)
    value = 1 / (1 + sum_)
    steep = value.square()
    constant = value + steep * (sum_ - by_own * (largest - decay * box.lower) + corner)
    return -steep * by_own * decay, steep * by_sum, constant


@torch.no_grad()
def _choice(box: Interval, odds: Interval, chords: Chords) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Which of the three planes below is highest at the centre, and the first parameter each has there."""
    middle = torch.lerp(box.lower, box.upper, 0.5)
    point = middle - chords.unit - torch.log((chords.low + chords.high) / 2)
    position = tangency_share(odds.lower, odds.upper, point)
    slope, offset = sigmoid_below(odds.lower, odds.upper, position)
    total = chords.total()
    exponent = middle - chords.top - torch.log((total.lower + total.upper) / 2)
    start, end = functional.logsigmoid(odds.lower), functional.logsigmoid(odds.upper)
    along = torch.where(end > start, (exponent - start) / (end - start), torch.zeros_like(start)).clamp(0, 1)
    odds_against = ((-odds.lower).exp() + (-odds.upper).exp()) / 2
    reciprocal = torch.where(odds.lower > _LOWEST_ODDS, 1 / (1 + odds_against), torch.zeros_like(middle))
    values = torch.stack((offset + slope * point, exponent.exp(), reciprocal))
    return values.argmax(0), (position, along, torch.full_like(middle, 0.5))


def _chosen(choice: Tensor, parts: Sequence[Tensor]) -> Tensor:
    found = torch.where(choice == 1, parts[1], parts[0])
    return torch.where(choice == 2, parts[2], found)


def _moved(box: Interval, axis: int) -> Interval:
    return Interval(box.lower.movedim(axis, -1), box.upper.movedim(axis, -1))


register(aten.softmax.int, aten._softmax.default)(Softmax())

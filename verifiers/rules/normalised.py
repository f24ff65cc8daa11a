"""The last product of layer, group and RMS normalisation: y = d r with r = 1 / sqrt(mean(d^2) + eps).

As a product of two intervals it would be loose: near zero variance r is huge, but d is small there. The rule
knows where r comes from. Coordinate i is y_i = d_i / sqrt((d_i^2 + S_i) / n + eps), where S_i is the sum of
the other squares: increasing in d_i, shrinking towards zero as S_i grows. So its range over a box is that at
the ends of d_i with the smallest or largest S_i, exactly; if sum(d) = 0 moreover S_i >= d_i^2 / (n - 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..graph import Node
from ..interval import Interval
from ..rule import Boxes, Pulled, Rule, contract_rows, register
from .arithmetic import unbroadcast

__all__ = ["normalised"]

_STEPS = 24  # halvings of the tangent point's interval


def normalised(d: Tensor, rate: Tensor, axes: Sequence[int], eps: float, zero_sum: bool) -> Tensor:
    """d * rate, where rate is 1 / sqrt(mean of d^2 along axes + eps), and sum(d) = 0 if `zero_sum`."""
    return d * rate


@dataclass(frozen=True, slots=True, eq=False)
class _Squares:
    """Range of the sum of the other coordinates' squares; n coordinates, eps as in `normalised`."""

    least: Tensor
    most: Tensor
    n: int
    eps: float
    zero_sum: bool

    @staticmethod
    def of(node: Node, box: Interval) -> _Squares:
        axes, eps, zero_sum = node.args[2:5]
        n = math.prod(node.shape[a - 1] for a in axes)
        low, high = box.lower.square(), box.upper.square()
        most = torch.maximum(low, high)
        least = torch.where((box.lower <= 0) & (box.upper >= 0), 0, torch.minimum(low, high))
        slack = (4 + math.log2(n)) * torch.finfo(
            most.dtype
        ).eps  # of the sums, whose own term is taken out again
        small, large = (v.sum(tuple(axes), keepdim=True) for v in (least, most))
        return _Squares(
            (small * (1 - slack) - least).clamp(min=0), large * (1 + slack) - most, n, eps, zero_sum
        )

    def curve(self, d: Tensor, others: Tensor) -> Tensor:
        """y_i at d_i where the other squares sum to `others`; NaN where that overflows."""
        squares = d.square() + others
        return d * torch.rsqrt(squares / self.n + self.eps) + 0 * squares

    def slope(self, d: Tensor, others: Tensor) -> Tensor:
        """Derivative of `curve` in d_i."""
        rest = others / self.n + self.eps
        return rest * torch.rsqrt(d.square() / self.n + rest) ** 3

    def outermost(self, d: Tensor) -> Tensor:
        """At least the largest y_i at d_i: convex in d_i below zero, concave above."""
        return torch.where(d > 0, self.curve(d, self.least), self.curve(d, self.most))

    def largest(self, d: Tensor) -> Tensor:
        """The largest y_i at d_i."""
        least = self.least
        if self.zero_sum and self.n > 1:
            least = torch.maximum(least, d.square() / (self.n - 1))
        return torch.where(d > 0, self.curve(d, least), self.curve(d, self.most))


class Normalised(Rule):
    """Lower planes: the two of McCormick (1976) in (d, r), and a line in d alone under the range's curve.

    Free parameters, first for the lower then for the upper plane: the share of McCormick's first plane, and
    the share of McCormick's planes against the line.
    """

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        d, r = inputs
        squares = _Squares.of(node, d)
        lower = torch.minimum(d.lower * r.lower, d.lower * r.upper)
        upper = torch.maximum(d.upper * r.lower, d.upper * r.upper)
        own = Interval(-squares.largest(-d.lower), squares.largest(d.upper))
        return own.intersect(Interval(lower, upper))

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        return box.lower < box.upper if position == 0 else None

    def start(self, node: Node, boxes: Boxes) -> Tensor:
        d, r = (boxes[p] for p in node.inputs)
        squares = _Squares.of(node, d)
        first = (d.lower.abs() < d.upper.abs()).to(d.lower)
        shares = []
        for box, chosen in ((d, first), (Interval(-d.upper, -d.lower), 1 - first)):
            slope, offset = _line(squares, box)
            mid, rate = (i.mid_radius()[0] for i in (box, r))
            plane = r.lower * mid + box.lower * rate - box.lower * r.lower  # both planes agree here
            shares += [chosen, (plane > slope * mid + offset).to(mid)]
        return torch.stack(shares, 1).detach()

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        d, r = (boxes[p] for p in node.inputs)
        squares = _Squares.of(node, d)
        shares = (self.start(node, boxes).unsqueeze(1) if free is None else free).unbind(2)
        lower = _plane(squares, d, r, shares[0], shares[1])
        mirrored = _plane(squares, Interval(-d.upper, -d.lower), r, shares[2], shares[3])
        positive, negative = a.clamp(min=0), a.clamp(max=0)
        # y(-d) = -y(d): the mirrored lower plane m(-d, r) gives y <= -m(-d, r)
        for_d = positive * lower[0] + negative * mirrored[0]
        for_r = positive * lower[1] - negative * mirrored[1]
        offset = contract_rows(positive, lower[2]) - contract_rows(negative, mirrored[2])
        return Pulled((for_d, unbroadcast(for_r, node.inputs[1].shape)), offset)

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        return self._turned(node, boxes, tangents[0])

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        """All of the derivative goes to d, of which r is a function."""
        nothing = rows.lower.new_zeros(*rows.lower.shape[:2], *node.inputs[1].shape)
        return self._turned(node, boxes, rows), Interval(nothing, nothing)

    def _turned(self, node: Node, boxes: Boxes, v: Interval) -> Interval:
        """r (v - y mean(y v)): the Jacobian of d -> d r(d), a symmetric matrix, times v."""
        d, r = (boxes[p] for p in node.inputs)
        y, axes = self.interval(node, d, r).unsqueeze(1), [a + 1 for a in node.args[2]]
        part = v.times(y)
        mean = Interval(*(t.mean(axes, keepdim=True) for t in (part.lower, part.upper)))
        share = mean.times(y)
        return Interval(v.lower - share.upper, v.upper - share.lower).times(r.unsqueeze(1))


def _plane(
    squares: _Squares, d: Interval, r: Interval, first: Tensor, share: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """y >= p d + q r + offset, mixed by the shares: (p, q, offset), with an axis for rows."""
    slope, start = (t.unsqueeze(1) for t in _line(squares, d))
    d, r = d.unsqueeze(1), r.unsqueeze(1)
    for_d = first * r.lower + (1 - first) * r.upper
    for_r = first * d.lower + (1 - first) * d.upper
    low, high = d.lower * r.lower, d.upper * r.upper
    eps = 2 * torch.finfo(low.dtype).eps
    offset = -first * low - (1 - first) * high - eps * (low.abs() + high.abs())
    rest = 1 - share
    return share * for_d + rest * slope, share * for_r, share * offset + rest * start


def _line(squares: _Squares, d: Interval) -> tuple[Tensor, Tensor]:
    """Slope and offset of a line under the least y_i as a function of d_i: convex below zero, concave above.

    Below zero a tangent at the centre, above the chord; around zero the tangent that meets the curve at the
    upper end, found by bisection and kept on the safe side, or the chord where its point is outside the box.
    """
    low, high = d.lower, d.upper

    def value(t: Tensor) -> Tensor:
        return -squares.outermost(-t)

    top, bottom = value(high), value(low)
    with torch.no_grad():
        left, right = low, torch.minimum(high, torch.zeros_like(high))
        for _ in range(_STEPS):
            t = torch.lerp(left, right, 0.5)
            fits = value(t) + squares.slope(t, squares.least) * (high - t) <= top
            left, right = torch.where(fits, t, left), torch.where(fits, right, t)
        touch = torch.where(high <= 0, torch.lerp(low, high, 0.5), left)
    tangent = squares.slope(touch, squares.least)
    fits = (value(touch) + tangent * (high - touch) <= top) & (low < 0)
    width = high - low
    wide = width > 0
    chord = torch.where(wide, (top - bottom) / torch.where(wide, width, 1), 0)
    slope = torch.where(fits | (high <= 0), tangent, chord)
    through = torch.where(fits | (high <= 0), touch, low)
    offset = value(through) - slope * through
    if_chord = top - slope * high  # the chord meets both ends: rounding decides which is lower
    offset = torch.where(fits | (high <= 0), offset, torch.minimum(offset, if_chord))
    error = value(through).abs() + (slope * through).abs() + top.abs() + (slope * high).abs()
    return slope, offset - 4 * torch.finfo(error.dtype).eps * error


register(normalised)(Normalised())

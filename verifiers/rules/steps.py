"""Functions with a jump at every integer: floor, ceil, round, trunc, frac; and comparisons.

Intervals are exact. The hull of such a staircase on a box has at most six corners: both ends, and the first
and the last jump of each kind. NaN stays NaN.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..graph import Node, Slot
from ..interval import Interval
from ..rule import Boxes, Pulled, Rule, contract, register
from .arithmetic import aligned, sample_constant, unbroadcast
from .hull import Corner
from .piecewise import PiecewiseLinear, Step, attained, limit

__all__ = ["Ceil", "Compare", "Floor", "Frac", "Round", "Trunc"]

aten = torch.ops.aten

_Ends = tuple[Tensor, Tensor]


class _Staircase(PiecewiseLinear):
    jumps = True
    rise = 0.0

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        return self.function(node, box.lower) != self.function(node, box.upper)


class Floor(_Staircase):
    """The largest integer below."""

    def below(self, node: Node, box: Interval, ends: _Ends) -> list[Corner]:
        places = torch.floor(box.lower) + 1, torch.floor(box.upper)
        return [limit(box, ends, n, n - 1, left=True) for n in places]

    def above(self, node: Node, box: Interval, ends: _Ends) -> list[Corner]:
        return [attained(box, ends, n, n) for n in (torch.ceil(box.lower), torch.floor(box.upper))]


class Ceil(_Staircase):
    """The smallest integer above."""

    def below(self, node: Node, box: Interval, ends: _Ends) -> list[Corner]:
        return [attained(box, ends, n, n) for n in (torch.ceil(box.lower), torch.floor(box.upper))]

    def above(self, node: Node, box: Interval, ends: _Ends) -> list[Corner]:
        places = torch.ceil(box.lower), torch.ceil(box.upper) - 1
        return [limit(box, ends, n, n + 1, left=False) for n in places]


class Round(_Staircase):
    """The nearest integer, halves to even. The lines hold for any value between the limits at a half."""

    def below(self, node: Node, box: Interval, ends: _Ends) -> list[Corner]:
        places = torch.floor(box.lower + 0.5) + 0.5, torch.floor(box.upper + 0.5) - 0.5
        return [limit(box, ends, h, h - 0.5, left=True) for h in places]

    def above(self, node: Node, box: Interval, ends: _Ends) -> list[Corner]:
        places = torch.ceil(box.lower - 0.5) + 0.5, torch.ceil(box.upper - 0.5) - 0.5
        return [limit(box, ends, h, h + 0.5, left=False) for h in places]


class _Odd(_Staircase):
    """f(-x) = -f(x): the corners above are those below the mirrored box."""

    def above(self, node: Node, box: Interval, ends: _Ends) -> list[Corner]:
        mirrored = Interval(-box.upper, -box.lower)
        corners = self.below(node, mirrored, (-ends[1], -ends[0]))
        return [Corner(-c.position, -c.value) for c in reversed(corners)]


class Trunc(_Odd):
    """The integer part, towards zero."""

    def below(self, node: Node, box: Interval, ends: _Ends) -> list[Corner]:
        low, high = box.lower, box.upper
        left = torch.ceil(low), torch.floor(high).clamp(max=0)  # there the values rise to n at n
        right = (torch.floor(low) + 1).clamp(min=1), torch.floor(high)  # here to n - 1 just before n
        corners = [attained(box, ends, n, torch.where(n <= 0, n, torch.trunc(n))) for n in left]
        zero = torch.zeros_like(low)
        return [
            *corners,
            attained(box, ends, zero, zero),
            *(limit(box, ends, torch.where(n >= 1, n, high + 1), n - 1, left=True) for n in right),
        ]


class Frac(_Odd):
    """x - trunc(x), of the sign of x."""

    rise = 1.0

    def below(self, node: Node, box: Interval, ends: _Ends) -> list[Corner]:
        low, high = box.lower, box.upper
        left = torch.ceil(low), (torch.ceil(high) - 1).clamp(max=-1)  # -1 just behind negative integers
        right = torch.ceil(low).clamp(min=1), torch.floor(high)  # 0 at positive ones
        outside = high + 1
        one, zero = torch.ones_like(low), torch.zeros_like(low)
        return [
            *(limit(box, ends, torch.where(n <= -1, n, outside), -one, left=False) for n in left),
            *(attained(box, ends, torch.where(n >= 1, n, outside), zero) for n in right),
        ]

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        return torch.trunc(box.lower) != torch.trunc(box.upper)


class Compare(Rule):
    """x > y and its kind, as the number 0 or 1: a step of the difference, one or both operands perturbed."""

    coordinatewise = True

    def __init__(self, less: float, equal: float, more: float) -> None:
        self.step = Step(less, equal, more)

    def _difference(self, node: Node, boxes: tuple[Interval, ...]) -> Interval:
        low: Tensor | None = None
        high: Tensor | None = None
        for operand, sign in zip(node.args[:2], (1, -1), strict=True):
            if isinstance(operand, Slot):
                box = boxes[operand.index]
                ends = (box.lower, box.upper) if sign > 0 else (-box.upper, -box.lower)
            else:
                ends = (sign * sample_constant(node, operand, boxes[0].lower),) * 2
            low, high = ends if low is None or high is None else (low + ends[0], high + ends[1])
        assert low is not None and high is not None  # there are two operands
        return Interval(low, high)

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        return self.step.interval(node, self._difference(node, inputs))

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        if len(node.inputs) > 1 or box.lower.shape[1:] != node.shape:
            return box.lower < box.upper
        return self.step.undecided(node, 0, self._difference(node, (box,)))

    def start(self, node: Node, boxes: Boxes) -> Tensor | None:
        box = self._difference(node, tuple(boxes[p] for p in node.inputs))
        return torch.stack(self.step.first(node, box), 1)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        box = self._difference(node, tuple(boxes[p] for p in node.inputs))
        inner = self.step.backward(node, a, {node.inputs[0]: box}, free)
        coefficients: list[Tensor] = [a] * len(node.inputs)
        offset = inner.offset
        for operand, sign in zip(node.args[:2], (1, -1), strict=True):
            pulled = sign * inner.coefficients[0]
            if isinstance(operand, Slot):
                coefficients[operand.index] = unbroadcast(pulled, node.inputs[operand.index].shape)
                continue
            constant = sample_constant(node, operand, a).expand(node.shape).unsqueeze(0)
            shift = contract(pulled, constant)
            offset = shift if offset is None else offset + shift
        return Pulled(tuple(coefficients), offset)

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        total: Interval | None = None
        for operand, sign in zip(node.args[:2], (1.0, -1.0), strict=True):
            if isinstance(operand, Slot):
                part = aligned(tangents[operand.index], len(node.shape)).scaled(sign)
                total = part if total is None else total.plus(part)
        assert total is not None  # some operand depends on the input
        return total.times(self._slopes(node, boxes))

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        found = rows.times(self._slopes(node, boxes))
        pulled = [rows] * len(node.inputs)
        for operand, sign in zip(node.args[:2], (1.0, -1.0), strict=True):
            if isinstance(operand, Slot):
                part, shape = found.scaled(sign), node.inputs[operand.index].shape
                pulled[operand.index] = Interval(*(unbroadcast(a, shape) for a in (part.lower, part.upper)))
        return tuple(pulled)

    def _slopes(self, node: Node, boxes: Boxes) -> Interval:
        """Zero where the order is certain, any number elsewhere."""
        box = self._difference(node, tuple(boxes[p] for p in node.inputs))
        slopes, unknown = self.step.derivative(node, box), 0 * (box.lower + box.upper)
        return slopes.plus(Interval(unknown, unknown)).unsqueeze(1)


register(aten.floor.default)(Floor())
register(aten.ceil.default)(Ceil())
register(aten.round.default)(Round())
register(aten.trunc.default, aten.fix.default)(Trunc())
register(aten.frac.default)(Frac())
register(aten.gt.Scalar, aten.gt.Tensor)(Compare(0.0, 0.0, 1.0))
register(aten.ge.Scalar, aten.ge.Tensor)(Compare(0.0, 1.0, 1.0))
register(aten.lt.Scalar, aten.lt.Tensor)(Compare(1.0, 0.0, 0.0))
register(aten.le.Scalar, aten.le.Tensor)(Compare(1.0, 1.0, 0.0))
register(aten.eq.Scalar, aten.eq.Tensor)(Compare(0.0, 1.0, 0.0))
register(aten.ne.Scalar, aten.ne.Tensor)(Compare(1.0, 0.0, 1.0))

"""Quotients by a constant, of a constant, of two perturbed tensors. Divisors must keep away from zero."""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node, Slot
from ..interval import Interval
from ..mccormick import Planes, balanced_shares, product_planes
from ..rule import Boxes, Pulled, Rule, register
from .arithmetic import Scale, aligned, sample_constant, unbroadcast
from .product import pull_planes

__all__ = ["Quotient", "quotient_planes", "reciprocal", "reciprocal_lines"]

aten = torch.ops.aten

_Line = tuple[Tensor, Tensor]
"""Slope and offset."""


class Quotient(Rule):
    """x / y as x r with r = 1 / y: McCormick's planes of x r, and lines of r, a tangent and a chord.

    Free, (B, 4, *shape): the shares of McCormick's planes below and above, and the points of tangency
    that the plane below and that above use. Where the divisor may vanish the interval is infinite and the
    planes are NaN.
    """

    def __init__(self) -> None:
        self.scale = Scale(divide=True)

    def at(self, node: Node) -> Rule:
        return self if isinstance(node.args[1], Slot) else self.scale

    def check(self, node: Node) -> None:
        if node.kwargs:
            raise UnsupportedOpError(
                f"{node.op} with {', '.join(node.kwargs)}",
                where=f"node {node.name}",
                cure="divide without further arguments",
            )

    def operands(self, node: Node, inputs: tuple[Interval, ...], axes: int) -> tuple[Interval, Interval]:
        """Both operands' boxes; with two outer axes samples are aligned. A constant is a point."""
        found = []
        for operand in node.args[:2]:
            if isinstance(operand, Slot):
                box = inputs[operand.index]
                found.append(aligned(box.unsqueeze(1), len(node.shape)) if axes == 2 else box)
            else:
                value = sample_constant(node, operand, inputs[0].lower)
                value = value.reshape((1,) * (axes + len(node.shape) - value.dim()) + value.shape)
                found.append(Interval(value, value))
        return found[0], found[1]

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        x, y = self.operands(node, inputs, 1)
        ends = [a / b for a in (x.lower, x.upper) for b in (y.lower, y.upper)]
        low = torch.minimum(torch.minimum(ends[0], ends[1]), torch.minimum(ends[2], ends[3]))
        high = torch.maximum(torch.maximum(ends[0], ends[1]), torch.maximum(ends[2], ends[3]))
        signed = (y.lower > 0) | (y.upper < 0)
        infinite = torch.full_like(low, torch.inf)
        return Interval(torch.where(signed, low, -infinite), torch.where(signed, high, infinite))

    def start(self, node: Node, boxes: Boxes) -> Tensor | None:
        x, y = self.operands(node, tuple(boxes[p] for p in node.inputs), 2)
        below, above = balanced_shares(x, reciprocal(y))
        half = torch.full_like(below, 0.5)
        return torch.cat((below, above, half, half), 1)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        x, y = self.operands(node, tuple(boxes[p] for p in node.inputs), 2)
        half = torch.full_like(y.lower, 0.5)
        own = (*balanced_shares(x, reciprocal(y)), half, half)
        planes = quotient_planes(x, y, own if free is None else free.unbind(2))
        if isinstance(node.args[0], Slot):
            return pull_planes(node, a, planes)
        lower, upper = ((p[0], p[1], p[2] + p[0] * x.lower) for p in (planes.lower, planes.upper))
        return pull_planes(node, a, Planes(lower, upper))

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        return box.lower < box.upper

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        slopes = self.derivatives(node, boxes)
        parts = [aligned(t, len(node.shape)).times(s) for t, s in zip(tangents, slopes, strict=True)]
        return parts[0] if len(parts) == 1 else parts[0].plus(parts[1])

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        pulled = [rows.times(slope) for slope in self.derivatives(node, boxes)]
        return tuple(
            Interval(unbroadcast(r.lower, p.shape), unbroadcast(r.upper, p.shape))
            for r, p in zip(pulled, node.inputs, strict=True)
        )

    def derivatives(self, node: Node, boxes: Boxes) -> list[Interval]:
        """Bounds of 1 / y and of -x / y^2, of the perturbed operands only."""
        x, y = self.operands(node, tuple(boxes[p] for p in node.inputs), 2)
        r = reciprocal(y)
        by_divisor = x.times(r).times(r).scaled(-1.0)
        return [r, by_divisor] if isinstance(node.args[0], Slot) else [by_divisor]


def reciprocal(y: Interval) -> Interval:
    """Bounds of 1 / y; NaN where y may vanish."""
    signed = (y.lower > 0) | (y.upper < 0)
    nan = torch.full_like(y.lower, torch.nan)
    return Interval(torch.where(signed, 1 / y.upper, nan), torch.where(signed, 1 / y.lower, nan))


def reciprocal_lines(y: Interval, share: Tensor) -> tuple[_Line, _Line]:
    """Lines below and above 1 / y: the tangent at `share` of the way, the chord. NaN where y may vanish."""
    r = reciprocal(y)
    chord = (-r.lower * r.upper, r.lower + r.upper)
    point = 1 / torch.lerp(y.lower, y.upper, share)
    tangent = (-point.square(), 2 * point)
    positive = y.lower > 0  # there 1 / y is convex, else concave
    below = tuple(torch.where(positive, t, c) for t, c in zip(tangent, chord, strict=True))
    above = tuple(torch.where(positive, c, t) for t, c in zip(tangent, chord, strict=True))
    return (below[0], below[1]), (above[0], above[1])


def quotient_planes(x: Interval, y: Interval, shares: tuple[Tensor, ...]) -> Planes:
    """Planes below and above x / y: `shares` as in `Quotient`."""
    products = product_planes(x, reciprocal(y), shares[0], shares[1])
    found = []
    for (by_x, by_r, constant), share, below in (
        (products.lower, shares[2], True),
        (products.upper, shares[3], False),
    ):
        lower, upper = reciprocal_lines(y, share)
        low, high = (lower, upper) if below else (upper, lower)
        slope, offset = (torch.where(by_r >= 0, one, other) for one, other in zip(low, high, strict=True))
        found.append((by_x, by_r * slope, torch.addcmul(constant, by_r, offset)))
    return Planes(found[0], found[1])


register(aten.div.Tensor, aten.div.Scalar, aten.divide.Tensor, aten.true_divide.Tensor)(Quotient())

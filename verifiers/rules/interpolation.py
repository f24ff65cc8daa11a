"""Interpolation between two tensors by a third, as in gated recurrent units: y = s + w (e - s)."""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node
from ..interval import Interval
from ..rule import Boxes, Pulled, Rule, contract_rows, register
from .arithmetic import aligned, unbroadcast

__all__: list[str] = []

aten = torch.ops.aten


class Interpolation(Rule):
    """Start, end and weight all depend on the input. Exact intervals where the weight is within [0, 1].

    Linear bounds: McCormick's planes (1976) of w (e - s); free are the share of the first lower plane and
    that of the first upper plane.
    """

    def check(self, node: Node) -> None:
        if len(node.inputs) != 3:
            raise UnsupportedOpError(
                "lerp of constants by a weight that depends on the input",
                where=f"node {node.name}",
                cure="write start + weight * (end - start)",
            )

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        """Increasing in both ends where 0 <= w <= 1, and linear in w: the extremes are at corners."""
        start, end, weight = inputs
        lows, highs = (
            [torch.lerp(s, e, w) for w in (weight.lower, weight.upper)]
            for s, e in ((start.lower, end.lower), (start.upper, end.upper))
        )
        inside = (weight.lower >= 0) & (weight.upper <= 1)
        gap = (end.lower - start.upper, end.upper - start.lower)
        corners = torch.stack([g * w for g in gap for w in (weight.lower, weight.upper)])
        lower, upper = start.lower + corners.amin(0), start.upper + corners.amax(0)
        low, high = torch.minimum(*lows), torch.maximum(*highs)
        return Interval(torch.where(inside, low, lower), torch.where(inside, high, upper))

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        return box.lower < box.upper

    def start(self, node: Node, boxes: Boxes) -> Tensor:
        low, high = _gap(node, boxes)
        first = (low.abs() < high.abs()).to(low)
        return torch.stack((first, first), 1).expand(-1, 2, *node.shape).detach()

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        under, over = (self.start(node, boxes).unsqueeze(1) if free is None else free).unbind(2)
        low, high = (g.unsqueeze(1) for g in _gap(node, boxes))
        box = boxes[node.inputs[2]]
        weight = Interval(*(t.expand(-1, *node.shape).unsqueeze(1) for t in (box.lower, box.upper)))
        positive, negative = a.clamp(min=0), a.clamp(max=0)
        eps = 2 * torch.finfo(low.dtype).eps
        ends = [(weight.lower, low), (weight.upper, high), (weight.upper, low), (weight.lower, high)]
        products = [w * g for w, g in ends]
        error = eps * (products[0].abs() + products[1].abs())
        # g w >= w_i g + g_i w - w_i g_i for the first two pairs of ends, <= for the others
        shares = (positive * under, positive * (1 - under), negative * over, negative * (1 - over))
        pairs = list(zip(shares, ends, strict=True))
        for_gap = torch.stack([s * w for s, (w, _) in pairs]).sum(0)
        for_weight = torch.stack([s * g for s, (_, g) in pairs]).sum(0)
        offset = -contract_rows(a.abs(), error)
        for share, product in zip(shares, products, strict=True):
            offset = offset - contract_rows(share, product)
        pulled = (a - for_gap, for_gap, for_weight)
        return Pulled(
            tuple(unbroadcast(p, q.shape) for p, q in zip(pulled, node.inputs, strict=True)), offset
        )

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        start, end, weight = (aligned(t, len(node.shape)) for t in tangents)
        one, other, gap = self._factors(node, boxes)
        return start.times(one).plus(end.times(other)).plus(weight.times(gap))

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        pulled = [rows.times(factor) for factor in self._factors(node, boxes)]
        return tuple(
            Interval(unbroadcast(r.lower, p.shape), unbroadcast(r.upper, p.shape))
            for r, p in zip(pulled, node.inputs, strict=True)
        )

    def _factors(self, node: Node, boxes: Boxes) -> tuple[Interval, Interval, Interval]:
        """The derivatives by start, end and weight: 1 - w, w and the gap, (B, 1, *node.shape)."""
        box = boxes[node.inputs[2]]
        weight = Interval(*(t.expand(-1, *node.shape).unsqueeze(1) for t in (box.lower, box.upper)))
        low, high = (g.unsqueeze(1) for g in _gap(node, boxes))
        return Interval(1 - weight.upper, 1 - weight.lower), weight, Interval(low, high)


def _gap(node: Node, boxes: Boxes) -> tuple[Tensor, Tensor]:
    """Bounds of end - start, of the node's shape."""
    start, end, _ = (boxes[p] for p in node.inputs)
    low, high = end.lower - start.upper, end.upper - start.lower
    return low.expand(-1, *node.shape), high.expand(-1, *node.shape)


register(aten.lerp.Tensor)(Interpolation())

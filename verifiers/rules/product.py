"""Products, coordinate by coordinate: with a constant, of two perturbed tensors, of a tensor with itself."""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node
from ..interval import Interval
from ..mccormick import Planes, balanced_shares, product_planes
from ..rule import Boxes, Pulled, Rule, contract_rows, register
from .arithmetic import Scale, aligned, unbroadcast

__all__ = ["Product", "SelfProduct", "operand_boxes", "pull_planes"]

aten = torch.ops.aten


def pull_planes(node: Node, a: Tensor, planes: Planes) -> Pulled:
    """The backward step of a function of two inputs: positive rows take the plane below, others that above.

    The planes' tensors are (B, R, *shape) and broadcast to the node's shape. A constant first operand's
    slopes must not matter: they are left out.
    """
    negative = a.clamp(max=0)
    slopes = list(zip(planes.lower[:2], planes.upper[:2], strict=True))[-len(node.inputs) :]
    coefficients = tuple(
        unbroadcast(torch.addcmul(a * low, negative, high - low), parent.shape)
        for (low, high), parent in zip(slopes, node.inputs, strict=True)
    )
    low, high = (t.expand(*t.shape[:2], *node.shape) for t in (planes.lower[2], planes.upper[2]))
    return Pulled(coefficients, contract_rows(a - negative, low) + contract_rows(negative, high))


def operand_boxes(node: Node, boxes: Boxes) -> tuple[Interval, Interval]:
    """The two inputs' boxes with a row axis, and axes of length one up to the node's rank."""
    one, other = (aligned(boxes[p].unsqueeze(1), len(node.shape)) for p in node.inputs)
    return one, other


class Product(Rule):
    """x * y by McCormick's planes.

    Free: the shares of the second plane below and above, (B, 2, *shape). With a constant the rule is
    `Scale`, of a tensor with itself `SelfProduct`.
    """

    independent = True

    def __init__(self) -> None:
        self.scale, self.squared = Scale(divide=False), SelfProduct()

    def at(self, node: Node) -> Rule:
        if len(node.inputs) == 1:
            return self.scale
        return self.squared if node.inputs[0] is node.inputs[1] else self

    def check(self, node: Node) -> None:
        if node.kwargs:
            raise UnsupportedOpError(
                f"{node.op} with {', '.join(node.kwargs)}",
                where=f"node {node.name}",
                cure="multiply without further arguments",
            )

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        return inputs[0].times(inputs[1])

    def start(self, node: Node, boxes: Boxes) -> Tensor | None:
        x, y = operand_boxes(node, boxes)
        return torch.cat(balanced_shares(x, y), 1)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        x, y = operand_boxes(node, boxes)
        below, above = balanced_shares(x, y) if free is None else free.unbind(2)
        return pull_planes(node, a, product_planes(x, y, below, above))

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        return box.lower < box.upper

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        x, y = operand_boxes(node, boxes)
        dx, dy = (aligned(t, len(node.shape)) for t in tangents)
        return dx.times(y).plus(dy.times(x))

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        x, y = operand_boxes(node, boxes)
        pulled = (rows.times(y), rows.times(x))
        return tuple(
            Interval(unbroadcast(r.lower, p.shape), unbroadcast(r.upper, p.shape))
            for r, p in zip(pulled, node.inputs, strict=True)
        )


class SelfProduct(Rule):
    """x * x: the tangent at a free point below, (B, 1, *shape), the chord above."""

    coordinatewise = True

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        low, high = inputs[0].lower.square(), inputs[0].upper.square()
        crossing = (inputs[0].lower < 0) & (inputs[0].upper > 0)
        # NaN in either end stays NaN
        least = torch.where(crossing, torch.zeros_like(low), torch.minimum(low, high))
        return Interval(least, torch.maximum(low, high))

    def start(self, node: Node, boxes: Boxes) -> Tensor | None:
        return torch.full_like(boxes[node.inputs[0]].lower, 0.5).unsqueeze(1)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        box = boxes[node.inputs[0]].unsqueeze(1)
        low, high = box.lower, box.upper
        point = torch.lerp(low, high, 0.5) if free is None else torch.lerp(low, high, free.squeeze(2))
        negative = a.clamp(max=0)
        positive = a - negative
        pulled = positive * (2 * point) + negative * (low + high)
        offset = -contract_rows(positive, point.square()) - contract_rows(negative, low * high)
        return Pulled((pulled, torch.zeros_like(pulled)), offset)

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        return box.lower < box.upper

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        total = tangents[0].plus(tangents[1])
        return total.times(boxes[node.inputs[0]].unsqueeze(1))

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        found = rows.times(boxes[node.inputs[0]].unsqueeze(1))
        return found, found


register(aten.mul.Tensor, aten.mul.Scalar, aten.multiply.Tensor)(Product())

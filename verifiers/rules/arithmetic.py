"""Sums and differences of tensors; the affine case of products and quotients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node, Slot
from ..interval import Interval
from ..rule import Affine, Boxes, Pulled, PulledWindows, contract, register
from ..windows import WindowRows

aten = torch.ops.aten


def unbroadcast(a: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The adjoint of broadcasting a sample of `shape`: a (B, K, *larger) summed to (B, K, *shape)."""
    extra = a.dim() - 2 - len(shape)
    if extra:
        a = a.sum(tuple(range(2, 2 + extra)))
    ones = [2 + i for i, s in enumerate(shape) if s == 1 and a.shape[2 + i] != 1]
    return a.sum(ones, keepdim=True) if ones else a


def aligned(tangent: Interval, rank: int) -> Interval:
    """A tangent (B, K, *shape) with axes of length one, so that samples broadcast as ones of `rank` axes."""
    shape = tangent.lower.shape
    ones = (1,) * (rank + 2 - len(shape))
    return Interval(*(t.reshape(*shape[:2], *ones, *shape[2:]) for t in (tangent.lower, tangent.upper)))


def sample_constant(node: Node, value: Any, like: Tensor) -> Tensor:
    """A constant operand as a tensor that broadcasts over one sample, refused where it varies by sample."""
    # at once in the final dtype: by way of float32 a number would lose digits that float64 has
    tensor = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if tensor.dim() == len(node.shape) + 1:
        if tensor.shape[0] != 1:
            raise UnsupportedOpError(
                f"a constant of shape {tuple(tensor.shape)} differs between samples",
                where=f"node {node.name}",
                cure="constants must not carry the batch axis",
            )
        tensor = tensor.squeeze(0)
    return tensor


class Sum(Affine):
    """x + s*y where one or both depend on the input; `sign` is -1 for differences."""

    coordinatewise = True
    independent = True

    def __init__(self, sign: int, *, reflected: bool = False) -> None:
        self.sign = sign
        self.reflected = reflected

    def factors(self, node: Node) -> tuple[tuple[Any, float], tuple[Any, float]]:
        """The two operands with their factors."""
        scale = self.sign * float(node.argument(2, "alpha", 1))
        return (
            ((node.args[0], scale), (node.args[1], 1.0))
            if self.reflected
            else ((node.args[0], 1.0), (node.args[1], scale))
        )

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        lower: Tensor | None = None
        upper: Tensor | None = None
        for operand, factor in self.factors(node):
            if isinstance(operand, Slot):
                box = inputs[operand.index]
                ends = (box.lower, box.upper) if factor >= 0 else (box.upper, box.lower)
            else:
                ends = (sample_constant(node, operand, inputs[0].lower),) * 2
            low, high = ends if factor == 1 else (factor * ends[0], factor * ends[1])
            lower = low if lower is None else lower + low
            upper = high if upper is None else upper + high
        assert lower is not None and upper is not None  # there are two operands
        return Interval(lower, upper)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        coefficients: list[Tensor] = [a] * len(node.inputs)
        offset: Tensor | None = None
        for operand, factor in self.factors(node):
            if isinstance(operand, Slot):
                pulled = unbroadcast(a, node.inputs[operand.index].shape)
                coefficients[operand.index] = pulled if factor == 1 else pulled * factor
            else:
                shift = (factor * sample_constant(node, operand, a)).expand(node.shape)
                offset = contract(a, shift.unsqueeze(0))
        return Pulled(tuple(coefficients), offset)

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        total: Interval | None = None
        for operand, factor in self.factors(node):
            if isinstance(operand, Slot):
                part = aligned(tangents[operand.index], len(node.shape)).scaled(factor)
                total = part if total is None else total.plus(part)
        assert total is not None  # some operand depends on the input
        shape = (*total.lower.shape[:2], *node.shape)
        return Interval(total.lower.expand(shape), total.upper.expand(shape))

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        pulled = [rows] * len(node.inputs)
        for operand, factor in self.factors(node):
            if isinstance(operand, Slot):
                part, shape = rows.scaled(factor), node.inputs[operand.index].shape
                pulled[operand.index] = Interval(*(unbroadcast(a, shape) for a in (part.lower, part.upper)))
        return tuple(pulled)

    def backward_windows(
        self, node: Node, rows: WindowRows, boxes: Boxes, free: Tensor | None = None
    ) -> PulledWindows | None:
        factors = self.factors(node)
        if any(not isinstance(o, Slot) or f != 1 for o, f in factors) or any(
            p.shape != node.shape for p in node.inputs
        ):
            return None
        return PulledWindows((rows,) * len(node.inputs))


class Scale(Affine):
    """x * c or x / c with a constant c: what products and quotients become where one operand is constant."""

    coordinatewise = True

    def __init__(self, *, divide: bool) -> None:
        self.divide = divide

    def check(self, node: Node) -> None:
        if node.kwargs:
            raise UnsupportedOpError(
                f"{node.op} with {', '.join(node.kwargs)}",
                where=f"node {node.name}",
                cure="multiply or divide without further arguments",
            )

    def factor(self, node: Node, like: Tensor) -> Tensor:
        """The constant c that x is multiplied with."""
        first, second = node.args[0], node.args[1]
        value = sample_constant(node, second if isinstance(first, Slot) else first, like)
        return 1 / value if self.divide else value

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        factor = self.factor(node, inputs[0].lower)
        one, other = inputs[0].lower * factor, inputs[0].upper * factor
        return Interval(torch.minimum(one, other), torch.maximum(one, other))

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        return Pulled((unbroadcast(a * self.factor(node, a), node.inputs[0].shape),))

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        factor = self.factor(node, tangents[0].lower)
        return aligned(tangents[0], len(node.shape)).scaled(factor)

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        scaled, shape = rows.scaled(self.factor(node, rows.lower)), node.inputs[0].shape
        return (Interval(unbroadcast(scaled.lower, shape), unbroadcast(scaled.upper, shape)),)


class Negate(Affine):
    """-x."""

    coordinatewise = True

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        return Interval(-inputs[0].upper, -inputs[0].lower)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        return Pulled((-a,))

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        return (rows.scaled(-1.0),)


register(aten.add.Tensor, aten.add.Scalar)(Sum(1))
register(aten.sub.Tensor, aten.sub.Scalar)(Sum(-1))
register(aten.rsub.Scalar, aten.rsub.Tensor)(Sum(-1, reflected=True))
register(aten.neg.default)(Negate())

"""where and masked_fill: choices by a mask that is constant, or that depends on the input; logic of masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node, Slot
from ..interval import Interval
from ..rule import Affine, Boxes, Pulled, Rule, contract_rows, register
from .arithmetic import aligned, sample_constant, unbroadcast
from .extremes import OfTwo, first_level, upper_plane

__all__ = ["Choice", "ConstantChoice", "Not"]

aten = torch.ops.aten


def _operands(node: Node) -> tuple[Any, Any, Any]:
    """Mask, value where it holds, value where it does not: slots, tensors or numbers."""
    if node.op in (aten.masked_fill.Scalar, aten.masked_fill.Tensor):
        source, mask, fill = node.args[:3]
        return mask, fill, source
    mask, yes, no = node.args[:3]
    return mask, yes, no


def _ends(node: Node, operand: Any, inputs: Sequence[Interval]) -> Interval:
    """An operand's bounds (B or 1, *node.shape)."""
    if isinstance(operand, Slot):
        box = inputs[operand.index]
        return Interval(_aligned(node, box.lower), _aligned(node, box.upper))
    constant = sample_constant(node, operand, inputs[0].lower).expand(node.shape).unsqueeze(0)
    return Interval(constant, constant)


def _aligned(node: Node, value: Tensor) -> Tensor:
    """A batched tensor (B, *smaller) broadcast to (B, *node.shape)."""
    missing = (1,) * (len(node.shape) + 1 - value.dim())
    return value.reshape(value.shape[0], *missing, *value.shape[1:]).expand(value.shape[0], *node.shape)


class ConstantChoice(Affine):
    """The choice by a constant mask: affine in both values."""

    coordinatewise = True

    def mask(self, node: Node) -> Tensor:
        """Where the first value is taken, (1, *node.shape)."""
        mask: Tensor = _operands(node)[0]
        mask = mask.squeeze(0) if mask.dim() == len(node.shape) + 1 else mask
        return mask.expand(node.shape).unsqueeze(0)

    def check(self, node: Node) -> None:
        mask = _operands(node)[0]
        if mask.dim() == len(node.shape) + 1 and mask.shape[0] != 1:
            raise UnsupportedOpError(
                f"a mask of shape {tuple(mask.shape)} differs between samples",
                where=f"node {node.name}",
                cure="constants must not carry the batch axis",
            )

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        mask, batch = self.mask(node), inputs[0].lower.shape[0]
        yes, no = (_ends(node, o, inputs) for o in _operands(node)[1:])
        low, high = torch.where(mask, yes.lower, no.lower), torch.where(mask, yes.upper, no.upper)
        return Interval(low.expand(batch, *node.shape), high.expand(batch, *node.shape))

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        mask = self.mask(node).unsqueeze(1)
        zero = torch.zeros_like(a)
        parts = torch.where(mask, a, zero), torch.where(mask, zero, a)
        return _collected(node, a, _operands(node)[1:], parts)


class Choice(Rule):
    """where: affine if the mask is constant; else between the least and the largest of both values.

    Where the bounds decide the mask the choice is exact. Free elsewhere: the level of the plane below the
    minimum and that of the plane above the maximum.
    """

    coordinatewise = True
    _constant = ConstantChoice()

    def at(self, node: Node) -> Rule:
        return self if isinstance(_operands(node)[0], Slot) else self._constant

    def _decided(self, node: Node, inputs: Sequence[Interval]) -> tuple[Tensor, Tensor, Interval]:
        """Where the mask surely holds, where it surely does not, and both values' bounds (B, 2, *shape)."""
        mask = _ends(node, _operands(node)[0], inputs)
        values = [_ends(node, o, inputs) for o in _operands(node)[1:]]
        batch = (inputs[0].lower.shape[0], *node.shape)
        low, high = (torch.stack([v.expand(batch) for v in side], 1) for side in (
            [v.lower for v in values], [v.upper for v in values]))  # fmt: skip
        return mask.lower > 0.5, mask.upper < 0.5, Interval(low, high)

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        yes, no, values = self._decided(node, inputs)
        ends = []
        for end, extreme in ((values.lower, values.lower.amin(1)), (values.upper, values.upper.amax(1))):
            ends.append(torch.where(yes, end[:, 0], torch.where(no, end[:, 1], extreme)))
        mask = _ends(node, _operands(node)[0], inputs)
        unknown = 0 * (mask.lower + mask.upper)  # NaN where nothing is known of the mask
        return Interval(ends[0] + unknown, ends[1] + unknown)

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        return box.lower < box.upper

    def start(self, node: Node, boxes: Boxes) -> Tensor | None:
        values = self._decided(node, [boxes[p] for p in node.inputs])[2]
        mirrored = Interval(-values.upper, -values.lower)
        return torch.cat((first_level(mirrored, 1), first_level(values, 1)), 1)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        yes, no, values = self._decided(node, [boxes[p] for p in node.inputs])
        yes, no, values = yes.unsqueeze(1), no.unsqueeze(1), values.unsqueeze(1)
        levels = (None, None) if free is None else (free[:, :, :1], free[:, :, 1:])
        below = upper_plane(Interval(-values.upper, -values.lower), 2, levels[0])
        above = upper_plane(values, 2, levels[1])
        negative = a.clamp(max=0)
        positive = a - negative
        parts = []
        for i, sure in enumerate((yes, no)):
            part = torch.addcmul(positive * below.slopes[:, :, i], negative, above.slopes[:, :, i])
            part = torch.where(no if i == 0 else yes, torch.zeros_like(part), part)
            parts.append(torch.where(sure, a, part))
        pulled = _collected(node, a, _operands(node)[1:], parts)
        open_ = ~(yes | no)
        zero = torch.zeros_like(above.offset)
        offset = contract_rows(negative, torch.where(open_, above.offset, zero))
        offset = offset - contract_rows(positive, torch.where(open_, below.offset, zero))
        return Pulled(pulled.coefficients, offset if pulled.offset is None else offset + pulled.offset)

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        """m dx + (1 - m) dy + (x - y) dm: the mask's derivative is zero where its bounds decide it."""
        total: Interval | None = None
        for operand, factor in zip(_operands(node), self._factors(node, boxes), strict=True):
            if isinstance(operand, Slot):
                part = aligned(tangents[operand.index], len(node.shape)).times(factor)
                total = part if total is None else total.plus(part)
        assert total is not None  # the mask depends on the input
        return total

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        pulled: list[Interval] = [rows] * len(node.inputs)
        for operand, factor in zip(_operands(node), self._factors(node, boxes), strict=True):
            if isinstance(operand, Slot):
                part, shape = rows.times(factor), node.inputs[operand.index].shape
                pulled[operand.index] = Interval(
                    unbroadcast(part.lower, shape), unbroadcast(part.upper, shape)
                )
        return tuple(pulled)

    def _factors(self, node: Node, boxes: Boxes) -> tuple[Interval, Interval, Interval]:
        """The derivatives by mask, first and second value, (B, 1, *node.shape)."""
        yes, no, values = self._decided(node, [boxes[p] for p in node.inputs])
        zero, one = torch.zeros_like(values.lower[:, 0]), torch.ones_like(values.lower[:, 0])
        gap = Interval(values.lower[:, 0] - values.upper[:, 1], values.upper[:, 0] - values.lower[:, 1])
        open_ = ~(yes | no)
        gap = Interval(torch.where(open_, gap.lower, zero), torch.where(open_, gap.upper, zero))
        first = Interval(torch.where(yes, one, zero), torch.where(no, zero, one))
        second = Interval(torch.where(no, one, zero), torch.where(yes, zero, one))
        return gap.unsqueeze(1), first.unsqueeze(1), second.unsqueeze(1)


class Not(Affine):
    """1 - x on truth values, which are the numbers 0 and 1."""

    coordinatewise = True

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        return Interval(1 - inputs[0].upper, 1 - inputs[0].lower)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        return Pulled((-a,), a.flatten(2).sum(2) if a.dim() > 2 else a)


def _collected(node: Node, a: Tensor, operands: Sequence[Any], parts: Sequence[Tensor]) -> Pulled:
    """Coefficients of both values to the inputs that they are; constants to the offset."""
    coefficients = [a.new_zeros(1, 1, *p.shape).expand(*a.shape[:2], *p.shape) for p in node.inputs]
    offset: Tensor | None = None
    for operand, part in zip(operands, parts, strict=True):
        if isinstance(operand, Slot):
            coefficients[operand.index] = unbroadcast(part, node.inputs[operand.index].shape)
            continue
        constant = sample_constant(node, operand, a).expand(node.shape)
        # an infinite fill value that no coefficient meets counts nothing
        product = torch.where(part == 0, torch.zeros_like(part), part * constant)
        shift = product.flatten(2).sum(2) if product.dim() > 2 else product
        offset = shift if offset is None else offset + shift
    return Pulled(tuple(coefficients), offset)


register(aten.where.self, aten.where.ScalarOther, aten.where.ScalarSelf)(Choice())
register(aten.masked_fill.Scalar, aten.masked_fill.Tensor)(Choice())
register(aten.logical_and.default, aten.bitwise_and.Tensor, aten.__and__.Tensor)(OfTwo(-1))
register(aten.logical_or.default, aten.bitwise_or.Tensor, aten.__or__.Tensor)(OfTwo(1))
register(aten.logical_not.default, aten.bitwise_not.default)(Not())

"""Operators that move, repeat or drop coordinates: exact on both ends, adjoint by moving them back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..derivatives import monotone_cotangent
from ..graph import Node, Slot, concatenate
from ..interval import Interval
from ..rule import Affine, Boxes, Pulled, contract, register
from .arithmetic import unbroadcast

aten = torch.ops.aten


def sample_axis(node: Node, dim: int, rank: int) -> int:
    """Axis `dim` of a batched tensor of `rank` axes as a non-negative number; refuses the batch axis."""
    axis = dim % rank
    if axis == 0:
        raise UnsupportedOpError(
            f"{node.op} works along the batch axis",
            where=f"node {node.name}",
            cure="never mix samples in forward",
        )
    return axis


def _rank(node: Node) -> int:
    return len(node.inputs[0].shape) + 1


class Reshape(Affine):
    """Any change of shape that keeps the order of coordinates."""

    coordinatewise = True
    selects = True

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        return Pulled((a.reshape(*a.shape[:2], *node.inputs[0].shape),))


class Permute(Affine):
    """permute and transpose; never the batch axis."""

    coordinatewise = True
    selects = True

    def order(self, node: Node) -> list[int]:
        """The order of the input's axes (batch included) in the output."""
        rank = _rank(node)
        if isinstance(node.args[1], int):
            order = list(range(rank))
            i, j = (sample_axis(node, d, rank) for d in node.args[1:3])
            order[i], order[j] = j, i
            return order
        return [d % rank for d in node.args[1]]

    def check(self, node: Node) -> None:
        if self.order(node)[0] != 0:
            sample_axis(node, 0, _rank(node))

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        inverse = [0] * _rank(node)
        for position, axis in enumerate(self.order(node)):
            inverse[axis] = position
        return Pulled((a.permute(0, *(1 + i for i in inverse)),))


class Expand(Affine):
    """expand: repeats coordinates; the adjoint adds the copies up."""

    coordinatewise = True
    selects = True

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        return Pulled((unbroadcast(a, node.inputs[0].shape),))


class Gather(Affine):
    """Every output coordinate is one input coordinate, by a fixed table: slice, select, flip, roll, ...

    The table comes from the operator itself, run on the numbers 0, 1, 2, ...
    """

    coordinatewise = True
    selects = True

    def check(self, node: Node) -> None:
        dims = node.argument(*self.axis_argument) if self.axis_argument else []
        for dim in [dims] if isinstance(dims, int) else dims:
            sample_axis(node, dim, _rank(node))

    def __init__(self, axis_argument: tuple[int, str, Any] | None = (1, "dim", 0)) -> None:
        self.axis_argument = axis_argument

    def table(self, node: Node, device: torch.device) -> Tensor:
        """Source coordinate (flat, long) of every output coordinate (flat)."""
        source = node.inputs[0]
        numbers = torch.arange(source.numel, device=device).reshape(1, *source.shape)
        return node.run(numbers).flatten()

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        source = node.inputs[0]
        zeros = a.new_zeros(*a.shape[:2], source.numel)
        pulled = zeros.index_add(2, self.table(node, a.device), a.reshape(*a.shape[:2], -1))
        return Pulled((pulled.unflatten(2, source.shape) if source.shape else pulled.squeeze(2),))


class Concatenate(Affine):
    """cat of perturbed and constant tensors along a sample axis."""

    def _axis(self, node: Node) -> int:
        return sample_axis(node, int(node.argument(1, "dim", 0)), len(node.shape) + 1)

    def _parts(self, node: Node, like: Tensor, axis: int) -> list[tuple[Any, int]]:
        """Operands (slots, or constants as one sample of full shape) with their length along the axis."""
        parts: list[tuple[Any, int]] = []
        for operand in node.args[0]:
            if isinstance(operand, Slot):
                parts.append((operand, node.inputs[operand.index].shape[axis - 1]))
            else:
                constant = operand.to(dtype=like.dtype, device=like.device)
                if constant.dim() != len(node.shape) + 1 or constant.shape[0] != 1:
                    raise UnsupportedOpError(
                        f"cat with a constant of shape {tuple(constant.shape)}",
                        where=f"node {node.name}",
                        cure="the constant must be the same for all samples",
                    )
                parts.append((constant, constant.shape[axis]))
        return parts

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        axis, batch = self._axis(node), inputs[0].lower.shape[0]
        lower, upper = [], []
        for operand, _ in self._parts(node, inputs[0].lower, axis):
            if isinstance(operand, Slot):
                lower.append(inputs[operand.index].lower)
                upper.append(inputs[operand.index].upper)
            else:
                lower.append(operand.expand(batch, *operand.shape[1:]))
                upper.append(lower[-1])
        return Interval(torch.cat(lower, axis), torch.cat(upper, axis))

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        axis = self._axis(node)
        coefficients: list[Tensor] = [a] * len(node.inputs)
        offset: Tensor | None = None
        start = 0
        for operand, length in self._parts(node, a, axis):
            piece = a.narrow(axis + 1, start, length)
            start += length
            if isinstance(operand, Slot):
                coefficients[operand.index] = piece
            else:
                shift = contract(piece, operand)
                offset = shift if offset is None else offset + shift
        return Pulled(tuple(coefficients), offset)

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        return monotone_cotangent(self, node, boxes, rows)


class Pad(Affine):
    """Padding by a constant; reflecting and replicating paddings are gathers."""

    coordinatewise = True
    _gather = Gather(axis_argument=None)

    def _amounts(self, node: Node) -> list[int]:
        return [int(p) for p in node.args[1]]

    def _constant_mode(self, node: Node) -> bool:
        mode = node.argument(2, "mode", "constant")
        return mode == "constant" or not isinstance(mode, str)

    def check(self, node: Node) -> None:
        if len(self._amounts(node)) > 2 * len(node.shape):
            sample_axis(node, 0, _rank(node))

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        if not self._constant_mode(node):
            return self._gather.backward(node, a, boxes)
        pulled = torch.nn.functional.pad(a, [-p for p in self._amounts(node)])
        if not node.argument(3 if node.op is aten.pad.default else 2, "value"):
            return Pulled((pulled,))
        zero = a.new_zeros(1, *node.inputs[0].shape)
        frame = node.run(zero)  # the fill value on the frame, zero inside
        return Pulled((pulled,), contract(a, frame))


register(aten.reshape.default)(Reshape())
register(aten.permute.default, aten.transpose.int)(Permute())
register(aten.expand.default)(Expand())
register(
    aten.slice.Tensor, aten.select.int, aten.narrow.default, aten.flip.default, aten.index_select.default
)(Gather())
register(aten.roll.default)(Gather(axis_argument=(2, "dims", [0])))
register(aten.cat.default, concatenate)(Concatenate())
register(aten.pad.default, aten.constant_pad_nd.default)(Pad())

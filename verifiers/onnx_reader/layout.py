"""Shapes: where the batch axis of the file's tensors is, and how operators act on samples only.

A file is a function of one sample, with or without an axis of length one in front. Its tensors are kept
as samples (see `Value`): an operator that works along axis 0 first gets the sample whole, with that axis,
by a reshape, so that no operator of the graph ever works along the graph's own batch axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from robustbench_local.errors import GraphError

from ..graph import Node
from .operation import Operation
from .value import Value

__all__ = ["align", "along", "permute", "refuse_mixing", "reshape", "settle", "whole"]

aten = torch.ops.aten


def reshape(op: Operation, value: Value, shape: Sequence[int]) -> Value:
    """The value with the file's new `shape` (no -1); the batch axis is axis 0 where that has length one."""
    return _laid(op, value, tuple(shape), leading=len(shape) > 1 and shape[0] == 1)


def whole(op: Operation, value: Value) -> Value:
    """The value with axis 0 as an axis of the sample."""
    return _laid(op, value, value.shape, leading=False) if value.leading else value


def settle(op: Operation, value: Value) -> Value:
    """The value with axis 0 as the batch axis where it can be."""
    possible = not value.leading and len(value.shape) > 1 and value.shape[0] == 1
    return _laid(op, value, value.shape, leading=True) if possible else value


def _laid(op: Operation, value: Value, shape: tuple[int, ...], *, leading: bool) -> Value:
    if math.prod(shape) != math.prod(value.shape):
        raise GraphError(
            f"{op.kind} of shape {value.shape} to {shape}",
            where=op.where,
            cure="the file must work with a batch of one sample",
        )
    sample = shape[1:] if leading else shape
    source: Node = value.node
    if source.op is aten.reshape.default:
        source = source.inputs[0]
    if source.shape == sample:
        return Value(source, shape, leading)
    return op.add(aten.reshape.default, source, [-1, *sample], leading=leading)


def permute(op: Operation, value: Value, order: Sequence[int]) -> Value:
    """The value with its axes in another order; a reshape where only axes of length one move."""
    if sorted(order) != list(range(len(value.shape))):
        raise GraphError(
            f"{op.kind} by {list(order)} of shape {value.shape}", where=op.where, cure="export it again"
        )
    moved = [axis for axis in order if value.shape[axis] != 1]
    if moved == sorted(moved):
        return reshape(op, value, [value.shape[axis] for axis in order])
    if value.leading and order[0] == 0:
        return op.add(aten.permute.default, value, list(order), leading=True)
    value = whole(op, value)
    return settle(op, op.add(aten.permute.default, value, [0, *(a + 1 for a in order)], leading=False))


def align(op: Operation, operands: Iterable[Value | Tensor]) -> tuple[list[Value | Tensor], bool]:
    """Operands ready for torch's broadcasting by the file's rules, and whether the result is leading.

    Values get equal ranks; constants lose axes of length one in front, as far as the batch axis.
    """
    given = list(operands)
    shape = np.broadcast_shapes(*(tuple(o.shape) for o in given))
    rank = len(shape)
    padded = [
        reshape(op, o, (1,) * (rank - len(o.shape)) + o.shape)
        if isinstance(o, Value) and len(o.shape) < rank
        else o
        for o in given
    ]
    leading = shape[:1] == (1,) and all(o.leading for o in padded if isinstance(o, Value))
    result: list[Value | Tensor] = []
    for operand in padded:
        if isinstance(operand, Value):
            result.append(operand if leading else whole(op, operand))
        else:
            full = operand.dim() == rank and leading
            result.append(operand.squeeze(0) if full else operand)
    return result, leading


def along(op: Operation, value: Value, axes: Iterable[int]) -> Value:
    """The value in a layout in which the operator may work along `axes` (not negative)."""
    axes = list(axes)
    if value.leading and 0 in axes:
        refuse_mixing(op, value)
        return whole(op, value)
    return value


def refuse_mixing(op: Operation, value: Value) -> None:
    """Raise GraphError where the file leaves the batch size open and the operator works along that axis."""
    if op.sink.symbolic and value.leading:
        raise GraphError(
            f"{op.kind} works along the batch axis",
            where=op.where,
            cure="samples must not mix; export the network with a batch size of 1",
        )

"""Operators that are a fixed table of coordinates, or a fixed matrix along one axis."""

from __future__ import annotations

import math

import numpy as np
import torch

from ..folding import Array, fold
from ..layout import along, permute, reshape
from ..operation import Operation
from ..registry import converter
from ..value import Value

__all__: list[str] = []

aten = torch.ops.aten


@converter("GatherND")
def _gather_nd(op: Operation) -> Value:
    from onnx import helper

    value, indices = op.value(0), op.required(1)
    node = helper.make_node(op.kind, ["data", "indices"], ["table"], name=op.name, **op.attributes)
    return _picked(op, value, torch.from_numpy(fold(node, op.opset, [_numbers(value), indices.numpy()])[0]))


@converter("GatherElements")
def _gather_elements(op: Operation) -> Value:
    value, indices = op.value(0), op.required(1)
    axis = op.axis(op.integer("axis", 0), len(value.shape))
    places = torch.where(indices < 0, indices + value.shape[axis], indices).long()
    return _picked(op, value, torch.gather(torch.from_numpy(_numbers(value)), axis, places))


@converter("Compress")
def _compress(op: Operation) -> Value | Array:
    """The places along an axis, or of the flat tensor, where a constant condition holds."""
    value, condition = op.value(0), op.required(1)
    given = op.attributes.get("axis")
    if given is None:
        value = reshape(op, value, (1, math.prod(value.shape)))
    axis = 1 if given is None else op.axis(int(given), len(value.shape))
    places = torch.nonzero(condition.reshape(-1)).reshape(-1)
    shape = (*value.shape[:axis], len(places), *value.shape[axis + 1 :])
    if not len(places):
        return np.zeros(shape[1:] if given is None else shape, dtype=np.float32)
    value = along(op, value, [axis])
    result = op.add(aten.index_select.default, value, value.dim(axis), places, leading=value.leading)
    return reshape(op, result, shape[1:] if given is None else shape)


@converter("ReverseSequence")
def _reverse_sequence(op: Operation) -> Value:
    """Each sequence of a constant length turned round, what follows it kept."""
    from onnx import helper

    value, lengths = op.value(0), op.required(1)
    node = helper.make_node(op.kind, ["data", "lengths"], ["table"], name=op.name, **op.attributes)
    return _picked(op, value, torch.from_numpy(fold(node, op.opset, [_numbers(value), lengths.numpy()])[0]))


def _numbers(value: Value) -> Array:
    """0, 1, 2, ... in the value's shape: on them, a gathering operator gives its own table."""
    return np.arange(math.prod(value.shape), dtype=np.int64).reshape(value.shape)


def _picked(op: Operation, value: Value, table: torch.Tensor) -> Value:
    flat = reshape(op, value, (1, math.prod(value.shape)))
    index = table.reshape(-1).long()
    return reshape(op, op.add(aten.index_select.default, flat, 1, index, leading=True), tuple(table.shape))


@converter("CumSum")
def _cumulative_sum(op: Operation) -> Value:
    """A product with a triangular matrix of ones."""
    value = op.value()
    axis = op.axis(int(op.required(1).reshape(-1)[0]), len(value.shape))
    length = value.shape[axis]
    ones = torch.ones(length, length, dtype=op.dtype)
    shift = 1 if op.integer("exclusive", 0) else 0
    matrix = ones.triu(shift) if op.integer("reverse", 0) else ones.tril(-shift)
    return mix(op, value, axis, matrix)


@converter("Trilu")
def _trilu(op: Operation) -> Value:
    """A product with a mask."""
    value, given = op.value(), op.constant(1)
    offset = 0 if given is None else int(given.reshape(-1)[0])
    mask = torch.ones(value.shape[-2:], dtype=op.dtype)
    mask = mask.triu(offset) if op.integer("upper", 1) else mask.tril(offset)
    value = along(op, value, [len(value.shape) - 2])
    return op.add(aten.mul.Tensor, value, mask, leading=value.leading)


def mix(op: Operation, value: Value, axis: int, matrix: torch.Tensor) -> Value:
    """`matrix` (new length, length) applied along one axis, as a linear operator."""
    last = len(value.shape) - 1
    order = [a for a in range(last + 1) if a != axis] + [axis]
    moved = permute(op, along(op, value, [axis]), order)
    result = op.add(aten.linear.default, moved, matrix, leading=moved.leading)
    return permute(op, result, [order.index(a) for a in range(last + 1)])

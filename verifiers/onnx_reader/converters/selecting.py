"""Operators that choose among entries: TopK, Hardmax, OneHot, ArgMax and ArgMin."""

from __future__ import annotations

from typing import Any

import torch

from ...graph import Piece
from ..layout import along, reshape
from ..operation import Operation
from ..registry import converter
from ..value import Value

__all__: list[str] = []

aten = torch.ops.aten


@converter("ArgMax", "ArgMin")
def _arg(op: Operation) -> Value:
    """The first place of the extreme entry, or (select_last_index) the last: the first one from behind."""
    value = op.value()
    axis = op.axis(op.integer("axis", 0), len(value.shape))
    value = along(op, value, [axis])
    target = aten.argmax.default if op.kind == "ArgMax" else aten.argmin.default
    last = bool(op.integer("select_last_index", 0))
    if last:
        value = op.add(aten.flip.default, value, [value.dim(axis)], leading=value.leading)
    result = op.add(target, value, value.dim(axis), True, leading=value.leading)
    if last:
        result = op.add(aten.rsub.Scalar, result, value.shape[axis] - 1, leading=value.leading)
    if op.integer("keepdims", 1):
        return result
    return reshape(op, result, [s for a, s in enumerate(value.shape) if a != axis])


@converter("TopK")
def _top(op: Operation) -> list[Value]:
    """The largest or smallest entries and their places, in order."""
    value = op.value()
    axis = op.axis(op.integer("axis", -1), len(value.shape))
    count = int(op.attributes["k"]) if "k" in op.attributes else int(op.required(1).reshape(-1)[0])
    if not 1 <= count <= value.shape[axis]:
        raise op.unsupported(f"of {count} entries among {value.shape[axis]}", "check the file")
    value = along(op, value, [axis])
    settings: tuple[Any, ...] = (count, value.dim(axis), bool(op.integer("largest", 1)), True)
    values = op.add(Piece(aten.topk.default, 0), value, *settings, leading=value.leading)
    if op.outputs == 1:
        return [values]
    return [values, op.add(Piece(aten.topk.default, 1), value, *settings, leading=value.leading)]


@converter("Hardmax")
def _hardmax(op: Operation) -> Value:
    """One at the first largest entry, else zero; before opset 13 the axes from `axis` on are one."""
    value = op.value()
    rank, old = len(value.shape), op.opset < 13
    axis = op.axis(op.integer("axis", 1 if old else -1), rank)
    if old and axis != rank - 1:
        rows = torch.Size(value.shape[:axis]).numel()
        flat = reshape(op, value, (rows, torch.Size(value.shape).numel() // rows))
        return reshape(op, _first_largest(op, flat, 1), value.shape)
    return _first_largest(op, value, axis)


def _first_largest(op: Operation, value: Value, axis: int) -> Value:
    value = along(op, value, [axis])
    places = op.add(aten.argmax.default, value, value.dim(axis), True, leading=value.leading)
    numbers = torch.arange(value.shape[axis]).reshape(-1, *(1 for _ in value.shape[axis + 1 :]))
    found = op.add(aten.eq.Tensor, places, numbers, leading=value.leading)
    return op.add(aten.mul.Tensor, found, op.scalar(1.0), leading=value.leading)


@converter("OneHot")
def _one_hot(op: Operation) -> Value:
    """values = (off, on); places from -depth to depth - 1 along a new axis."""
    value, depth, values = op.value(0), int(op.required(1).reshape(-1)[0]), op.required(2)
    rank = len(value.shape) + 1
    axis = op.axis(op.integer("axis", -1), rank)
    wide = reshape(op, value, (*value.shape[:axis], 1, *value.shape[axis:]))
    wide = along(op, wide, [axis])
    if not 1 <= depth <= 2**20:
        raise op.unsupported(f"of depth {depth}", "depths must be positive and sane")
    numbers = torch.arange(depth).reshape(-1, *(1 for _ in value.shape[axis:]))
    found = op.add(aten.eq.Tensor, wide, numbers, leading=wide.leading)
    behind = op.add(aten.eq.Tensor, wide, numbers - depth, leading=wide.leading)
    found = op.add(aten.logical_or.default, found, behind, leading=wide.leading)
    return op.add(aten.where.self, found, values[1], values[0], leading=wide.leading)

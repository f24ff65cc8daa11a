"""Operators that put tensors into others at constant places: Scatter, ScatterElements, ScatterND.

The gathering operator of the same kind, on the numbers 0, 1, 2, ... in place of the data, tells where every
update goes. The result takes each coordinate from the data or from the updates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...graph import concatenate
from ..folding import Array, fold
from ..layout import reshape
from ..operation import Operation
from ..registry import converter
from ..value import Value

__all__: list[str] = []

aten = torch.ops.aten

_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "add": aten.add.Tensor,
    "mul": aten.mul.Tensor,
    "max": aten.maximum.default,
    "min": aten.minimum.default,
}


@converter("Scatter", "ScatterElements", "ScatterND")
def _scatter(op: Operation) -> Value:
    """Of updates at the same place the last counts; reductions take them one after the other."""
    data, updates = op.operand(0), op.operand(2)
    places = _places(op, tuple(data.shape), op.required(1))
    old, new = _flat(op, data), _flat(op, updates)
    reduction = op.text("reduction", "none")
    if reduction == "none":
        old = _put(op, old, new, places)
        assert isinstance(old, Value)
        return reshape(op, old, tuple(data.shape))
    if reduction not in _REDUCTIONS:
        raise op.unsupported(f"with reduction {reduction!r}", f"use one of {', '.join(_REDUCTIONS)}")
    rounds = _rounds(places)
    if rounds.max(initial=0) > 64:
        raise op.unsupported("of more than 64 updates of one place", "reduce in another way")
    for number in range(int(rounds.max(initial=-1)) + 1):
        chosen = np.flatnonzero(rounds == number)
        here, met = _at(op, old, places[chosen]), _at(op, new, chosen)
        old = _put(op, old, _combined(op, _REDUCTIONS[reduction], here, met), places[chosen])
    assert isinstance(old, Value)
    return reshape(op, old, tuple(data.shape))


def _places(op: Operation, shape: tuple[int, ...], indices: Tensor) -> Array:
    """Where each update goes in the flat data."""
    from onnx import helper

    numbers = np.arange(math.prod(shape), dtype=np.int64).reshape(shape)
    if op.kind == "ScatterND":
        node = helper.make_node("GatherND", ["data", "indices"], ["places"], name=op.name)
        return fold(node, max(op.opset, 11), [numbers, indices.numpy()])[0].reshape(-1)
    axis = op.axis(op.integer("axis", 0), len(shape))
    positive = torch.where(indices < 0, indices + shape[axis], indices).long()
    found: Array = torch.from_numpy(numbers).gather(axis, positive).reshape(-1).numpy()
    return found


def _rounds(places: Array) -> Array:
    """How many earlier updates go to the same place."""
    order = np.argsort(places, kind="stable")
    found = places[order]
    starts = np.flatnonzero(np.concatenate([[True], found[1:] != found[:-1]]))
    lengths = np.diff(np.append(starts, found.size))
    result = np.empty(places.size, dtype=np.int64)
    result[order] = np.arange(places.size) - np.repeat(starts, lengths)
    return result


def _put(op: Operation, old: Value | Tensor, new: Value | Tensor, places: Array) -> Value | Tensor:
    """The flat data with the flat updates at their places."""
    count = old.shape[1]
    table = np.arange(count)
    table[places] = count + np.arange(places.size)
    if isinstance(old, Tensor) and isinstance(new, Tensor):
        return torch.cat([old, new], 1).index_select(1, torch.from_numpy(table))
    parts = [old, new]
    target = aten.cat.default if all(isinstance(p, Value) for p in parts) else concatenate
    return _at(op, op.add(target, parts, 1, leading=True), table)


def _flat(op: Operation, operand: Value | Tensor) -> Value | Tensor:
    count = math.prod(operand.shape)
    return reshape(op, operand, (1, count)) if isinstance(operand, Value) else operand.reshape(1, count)


def _at(op: Operation, operand: Value | Tensor, places: Array) -> Value | Tensor:
    index = torch.from_numpy(np.ascontiguousarray(places)).long()
    if isinstance(operand, Tensor):
        return operand.index_select(1, index)
    return op.add(aten.index_select.default, operand, 1, index, leading=True)


def _combined(op: Operation, target: Any, first: Value | Tensor, second: Value | Tensor) -> Value | Tensor:
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        both: Tensor = target(first, second)
        return both
    if isinstance(first, Tensor):
        first, second = second, first  # all of these commute
    return op.add(target, first, second, leading=True)

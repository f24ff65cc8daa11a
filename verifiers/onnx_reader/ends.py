"""Both ends of the graph: several inputs as parts of one, several outputs joined, floating-point numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..graph import concatenate
from .converters.indexing import pick
from .entries import Entry
from .layout import reshape
from .operation import Operation
from .value import Value

__all__ = ["entered", "joined", "real"]

aten = torch.ops.aten


def entered(op: Operation, entries: Sequence[Entry]) -> dict[str, Value]:
    """The inputs by name: the input node, of which each of several (or a single number) is a part."""
    if len(entries) == 1 and entries[0].shape:
        only = entries[0]
        op.build.name = only.name
        node = op.build.enter(None, (), {}, only.sample, op.dtype)
        return {only.name: Value(node, only.shape, only.leading)}
    total = sum(math.prod(entry.shape) for entry in entries)
    flat = Value(op.build.enter(None, (), {}, (total,), op.dtype), (1, total), True)
    parts, start = {}, 0
    for entry in entries:
        stop = start + math.prod(entry.shape)
        named = replace(op, name=entry.name)
        parts[entry.name] = reshape(named, pick(named, flat, 1, range(start, stop)), entry.shape)
        start = stop
    return parts


def real(op: Operation, value: Value) -> Value:
    """The value as floating-point numbers: class indices and truth values too."""
    if op.sink.is_real(value):
        return value
    return op.add(aten.mul.Tensor, value, op.scalar(1.0), leading=value.leading)


def joined(op: Operation, ends: Sequence[Value | Tensor]) -> Value:
    """All of them as one vector, each flat in row-major order."""
    parts: list[Value | Tensor] = []
    for end in ends:
        if isinstance(end, Value):
            parts.append(reshape(op, real(op, end), (1, math.prod(end.shape))))
        else:
            parts.append(end.reshape(1, -1).to(op.dtype))
    target = aten.cat.default if all(isinstance(p, Value) for p in parts) else concatenate
    return op.add(target, parts, 1, leading=True)

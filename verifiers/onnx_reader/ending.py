"""The end of the graph: floating-point numbers, and several outputs as one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..graph import concatenate
from .layout import reshape
from .operation import Operation
from .value import Value

__all__ = ["joined", "real"]

aten = torch.ops.aten


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

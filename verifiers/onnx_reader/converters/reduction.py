"""Sums, means and extrema along axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..layout import refuse_mixing, reshape
from ..operation import Operation
from ..registry import converter
from ..value import Value

__all__: list[str] = []

aten = torch.ops.aten

_REDUCE: dict[str, Callable[..., Any]] = {
    "ReduceL1": aten.sum.dim_IntList,
    "ReduceL2": aten.sum.dim_IntList,
    "ReduceLogSum": aten.sum.dim_IntList,
    "ReduceLogSumExp": aten.logsumexp.default,
    "ReduceMax": aten.amax.default,
    "ReduceMean": aten.mean.dim,
    "ReduceMin": aten.amin.default,
    "ReduceSum": aten.sum.dim_IntList,
    "ReduceSumSquare": aten.sum.dim_IntList,
}


@converter(*_REDUCE)
def _reduce(op: Operation) -> Value:
    """Axes are an attribute first and an input from opset 13 (ReduceSum) or 18 on; none means all."""
    value = op.value()
    rank = len(value.shape)
    given = op.integers("axes", 1)
    if not given and op.integer("noop_with_empty_axes", 0):
        axes = set()
    else:
        axes = {op.axis(a, rank) for a in given} if given else set(range(rank))
    if 0 in axes:
        refuse_mixing(op, value)
    kept = [1 if a in axes else s for a, s in enumerate(value.shape)]
    shape = kept if op.integer("keepdims", 1) else [s for a, s in enumerate(kept) if a not in axes]
    inner = sorted(a for a in axes if not (value.leading and a == 0))  # over the batch of one: nothing to do
    if op.kind == "ReduceL1":
        value = op.add(aten.abs.default, value, leading=value.leading)
    if op.kind in ("ReduceL2", "ReduceSumSquare"):
        value = op.add(aten.pow.Tensor_Scalar, value, 2.0, leading=value.leading)
    if inner:
        dims = [value.dim(a) for a in inner]
        value = op.add(_REDUCE[op.kind], value, dims, True, leading=value.leading)
    if op.kind == "ReduceL2":
        value = op.add(aten.sqrt.default, value, leading=value.leading)
    if op.kind == "ReduceLogSum":
        value = op.add(aten.log.default, value, leading=value.leading)
    return reshape(op, value, shape)


@converter("ReduceProd")
def _product(op: Operation) -> Value:
    """Axis by axis."""
    value, rank = op.value(), len(op.value().shape)
    axes = {op.axis(a, rank) for a in op.integers("axes", 1) or range(rank)}
    if 0 in axes:
        refuse_mixing(op, value)
    kept = [1 if a in axes else s for a, s in enumerate(value.shape)]
    shape = kept if op.integer("keepdims", 1) else [s for a, s in enumerate(kept) if a not in axes]
    for axis in axes:
        if not (value.leading and axis == 0):
            value = op.add(aten.prod.dim_int, value, value.dim(axis), True, leading=value.leading)
    return reshape(op, value, shape)

"""Sums, means, norms and extremes along axes; sorted values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from ...graph import Piece
from ..call import Call
from ..registry import EXPORTERS, Exporter, exporter

__all__: list[str] = []

aten = torch.ops.aten


def _reduction(kind: str, keep: int | None = 2) -> Exporter:
    """keep: position of the argument keepdim; None where only the keyword is known."""

    def export(call: Call) -> str:
        axes = call.axes(call.argument(1, "dim") if keep is not None else call.kwargs.get("dim"))
        kept = call.kwargs.get("keepdim", False) if keep is None else call.argument(keep, "keepdim", False)
        return call.reduced(kind, call.x.name, axes, keepdims=bool(kept))

    return export


_BY_KIND: dict[str, tuple[Callable[..., Any], ...]] = {
    "ReduceSum": (aten.sum.dim_IntList,),
    "ReduceMean": (aten.mean.dim,),
    "ReduceMax": (aten.amax.default, Piece(aten.max.dim, 0)),
    "ReduceMin": (aten.amin.default, Piece(aten.min.dim, 0)),
    "ReduceProd": (aten.prod.dim_int,),
}
for _kind, _operators in _BY_KIND.items():
    EXPORTERS.update({op: _reduction(_kind) for op in _operators})
EXPORTERS[Piece(aten.aminmax.default, 0)] = _reduction("ReduceMin", None)
EXPORTERS[Piece(aten.aminmax.default, 1)] = _reduction("ReduceMax", None)


@exporter(aten.any.dim, aten.any.dims, aten.all.dim, aten.all.dims)
def _truth(call: Call) -> str:
    """The largest or smallest of truth values as numbers."""
    kind = "ReduceMax" if call.node.op in (aten.any.dim, aten.any.dims) else "ReduceMin"
    axes, keep = call.axes(call.argument(1, "dim")), bool(call.argument(2, "keepdim", False))
    numbers = call.real(call.x, torch.float32)
    found = call.reduced(kind, numbers, axes, keepdims=keep)
    return call.op("Cast", found, to=9)


@exporter(aten.argmax.default, aten.argmin.default)
def _arg(call: Call) -> str:
    kind = "ArgMax" if call.node.op is aten.argmax.default else "ArgMin"
    dim, keep = call.argument(1, "dim"), int(call.argument(2, "keepdim", False))
    if dim is None:
        raise call.unsupported("along all axes")
    return call.op(kind, call.x, axis=call.axis(dim), keepdims=keep)


@exporter(aten.linalg_vector_norm.default, aten.linalg_norm.default)
def _norm(call: Call) -> str:
    """Of any order: sums of powers, counts, extremes of sizes."""
    given, dims = call.argument(1, "ord"), call.argument(2, "dim")
    order = 2.0 if given is None else float(given)
    if isinstance(given, str) or (call.node.op is aten.linalg_norm.default and len(call.axes(dims)) > 1):
        raise call.unsupported("of matrices")
    axes, keep = call.axes(dims), bool(call.argument(3, "keepdim", False))
    if order in (1, 2):
        return call.reduced(f"ReduceL{order:.0f}", call.x.name, axes, keepdims=keep)
    size = call.op("Abs", call.x)
    if math.isinf(order):
        return call.reduced("ReduceMax" if order > 0 else "ReduceMin", size, axes, keepdims=keep)
    if order == 0:
        some = call.op("Sign", size)
        return call.reduced("ReduceSum", some, axes, keepdims=keep)
    total = call.reduced("ReduceSum", call.op("Pow", size, order), axes, keepdims=keep)
    return call.op("Pow", total, 1 / order)


@exporter(aten.cumsum.default)
def _cumsum(call: Call) -> str:
    axis = torch.tensor(call.axis(call.argument(1, "dim")))
    return call.op("CumSum", call.real(call.x), axis)


@exporter(Piece(aten.cummax.default, 0), Piece(aten.cummin.default, 0))
def _running_extreme(call: Call) -> str:
    """Step by step: the extreme so far and the next entry."""
    assert isinstance(call.node.op, Piece)
    kind = "Max" if call.node.op.op is aten.cummax.default else "Min"
    axis = call.axis(call.argument(1, "dim"))
    entries: list[str] = []
    for k in range(call.x.shape[axis - 1]):
        entry = call.op("Slice", call.x, call.integers(k), call.integers(k + 1), call.integers(axis))
        entries.append(call.op(kind, entries[-1], entry) if entries else entry)
    return call.op("Concat", *entries, axis=axis)


@exporter(aten.cumprod.default)
def _cumprod(call: Call) -> str:
    """Step by step."""
    axis = call.axis(call.argument(1, "dim"))
    entries: list[str] = []
    for k in range(call.x.shape[axis - 1]):
        entry = call.op("Slice", call.x, call.integers(k), call.integers(k + 1), call.integers(axis))
        entries.append(call.op("Mul", entries[-1], entry) if entries else entry)
    return call.op("Concat", *entries, axis=axis)


@exporter(aten.linalg_det.default)
def _determinant(call: Call) -> str:
    return call.op("Det", call.x)


@exporter(Piece(aten.topk.default, 0), Piece(aten.topk.default, 1))
def _topk(call: Call) -> str:
    assert isinstance(call.node.op, Piece)
    axis, largest = call.axis(call.argument(2, "dim", -1)), bool(call.argument(3, "largest", True))
    return _top(call, int(call.args[1]), axis, largest=largest, place=call.node.op.index == 1)


@exporter(Piece(aten.sort.default, 0), Piece(aten.sort.stable, 0))
def _sort(call: Call) -> str:
    assert isinstance(call.node.op, Piece)
    first = 2 if call.node.op.op is aten.sort.stable else 1
    axis = call.axis(call.argument(first, "dim", -1))
    falling = bool(call.argument(first + 1, "descending", False))
    return _top(call, call.x.shape[axis - 1], axis, largest=falling)


@exporter(Piece(aten.kthvalue.default, 0), Piece(aten.median.dim, 0))
def _kth(call: Call) -> str:
    """The last of the k smallest; a median is the smaller of two."""
    assert isinstance(call.node.op, Piece)
    median = call.node.op.op is aten.median.dim
    first = 1 if median else 2
    axis = call.axis(call.argument(first, "dim", -1))
    count = (call.x.shape[axis - 1] - 1) // 2 + 1 if median else int(call.args[1])
    keep = bool(call.argument(first + 1, "keepdim", False))
    smallest = _top(call, count, axis, largest=False)
    last = torch.tensor([count - 1] if keep else count - 1)
    return call.op("Gather", smallest, last, axis=axis)


def _top(call: Call, count: int, axis: int, *, largest: bool, place: bool = False) -> str:
    """The values, or the places, of the largest or smallest entries in order."""
    places = call.op("TopK", call.x, call.integers(count), outputs=2, axis=axis, largest=int(largest))
    return places if place else f"{places}.0"

"""Operators that move coordinates: reshapes, permutations, slices, joins, padding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ...graph import concatenate
from ...rules.filled import filled
from ...rules.grid_sampler import GRID_SAMPLER
from ...rules.stack import stacked
from ..call import Call, Ref
from ..registry import exporter
from .tables import by_table

__all__: list[str] = []

aten = torch.ops.aten


@exporter(aten.reshape.default)
def _reshape(call: Call) -> str:
    return call.reshaped(call.x.name, call.shape)


@exporter(aten.permute.default)
def _permute(call: Call) -> str:
    return call.op("Transpose", call.x, perm=[call.axis(d) for d in call.args[1]])


@exporter(aten.transpose.int)
def _transpose(call: Call) -> str:
    order = list(range(call.x.rank))
    one, other = call.axis(call.args[1]), call.axis(call.args[2])
    order[one], order[other] = other, one
    return call.op("Transpose", call.x, perm=order)


@exporter(aten.expand.default)
def _expand(call: Call) -> str:
    return call.op("Expand", call.x, call.integers(1, *call.shape))


@exporter(aten.slice.Tensor)
def _slice(call: Call) -> str:
    axis = call.axis(call.argument(1, "dim", 0))
    length = call.x.shape[axis - 1]
    given = slice(call.argument(2, "start"), call.argument(3, "end"), call.argument(4, "step", 1))
    start, end, step = given.indices(length)
    return _sliced(call, axis, start, end, step)


@exporter(aten.narrow.default, aten.narrow_copy.default)
def _narrow(call: Call) -> str:
    axis, start, length = call.axis(call.args[1]), int(call.args[2]), int(call.args[3])
    start %= call.x.shape[axis - 1] + (start == call.x.shape[axis - 1])
    return _sliced(call, axis, start, start + length, 1)


def _sliced(call: Call, axis: int, start: int, end: int, step: int) -> str:
    numbers = (call.integers(n) for n in (start, end, axis, step))
    return call.op("Slice", call.x, *numbers)


@exporter(aten.select.int)
def _select(call: Call) -> str:
    axis = call.axis(call.args[1])
    return call.op("Gather", call.x, torch.tensor(int(call.args[2]) % call.x.shape[axis - 1]), axis=axis)


@exporter(aten.flip.default)
def _flip(call: Call) -> str:
    axes = [call.axis(d) for d in call.args[1]]
    count = len(axes)
    numbers = ([-1] * count, [-(2**62)] * count, axes, [-1] * count)
    return call.op("Slice", call.x, *(call.integers(*n) for n in numbers))


@exporter(aten.index_select.default)
def _index_select(call: Call) -> str:
    axis, index = call.axis(call.args[1]), call.args[2]
    if isinstance(index, Ref):
        raise call.unsupported("by an index that depends on the input")
    return call.op("Gather", call.x, index, axis=axis)


@exporter(aten.repeat.default, aten.tile.default)
def _repeat(call: Call) -> str:
    counts = [int(c) for c in call.args[1]]
    counts = [1] * (call.x.rank - len(counts)) + counts
    if len(counts) != call.x.rank or counts[0] != 1:
        return by_table(call)
    return call.op("Tile", call.x, call.integers(*counts))


@exporter(aten.cat.default, concatenate)
def _cat(call: Call) -> str:
    parts = list(call.args[0])
    rank = 1 + len(call.shape)
    axis = int(call.argument(1, "dim", 0)) % rank
    return call.op("Concat", *(_batched(call, p, parts) for p in parts), axis=axis)


@exporter(aten.stack.default, stacked)
def _stack(call: Call) -> str:
    parts = list(call.args[0])
    axis = int(call.argument(1, "dim", 0)) % (1 + len(call.shape))
    wide = [call.op("Unsqueeze", _batched(call, p, parts), call.integers(axis)) for p in parts]
    return call.op("Concat", *wide, axis=axis)


@exporter(aten.grid_sampler.default, GRID_SAMPLER)
def _grid_sampler(call: Call) -> str:
    """Interpolation of an image at places that the network may compute."""
    if call.opset < 16:
        raise call.unsupported("before opset 16")
    names = ("bilinear", "nearest", "bicubic") if call.opset < 20 else ("linear", "nearest", "cubic")
    parts = list(call.args[:2])
    return call.op(
        "GridSample",
        *(_batched(call, p, parts) for p in parts),
        mode=names[int(call.args[2])],
        padding_mode=("zeros", "border", "reflection")[int(call.args[3])],
        align_corners=int(bool(call.args[4])),
    )


def _batched(call: Call, part: Ref | Tensor, parts: list[Any]) -> str:
    """A tensor of the network, or a constant (1, ...) repeated for every sample."""
    if isinstance(part, Ref):
        return call.real(part)
    first = next(p for p in parts if isinstance(p, Ref))
    return call.op("Expand", call.real(part), _sizes(call, first, part.shape[1:]))


def _sizes(call: Call, like: Ref, sample: Any) -> str:
    """The shape (B, *sample) with the batch size of another tensor."""
    batch = call.op("Slice", call.op("Shape", like), call.integers(0), call.integers(1))
    return call.op("Concat", batch, call.integers(*sample), axis=0) if len(sample) else batch


@exporter(filled)
def _filled(call: Call) -> str:
    """One number, for every sample."""
    number = torch.tensor(float(call.args[2]), dtype=call.dtype)
    return call.op("Expand", number, _sizes(call, call.x, call.shape))


@exporter(aten.constant_pad_nd.default, aten.pad.default)
def _pad(call: Call) -> str:
    """By a constant; other modes take existing coordinates."""
    mode = str(call.argument(2, "mode", "constant")) if call.node.op is aten.pad.default else "constant"
    if mode != "constant":
        return by_table(call)
    position = 3 if call.node.op is aten.pad.default else 2
    value = call.argument(position, "value", 0.0)
    amounts = [int(a) for a in call.args[1]]
    before, after = [0] * call.x.rank, [0] * call.x.rank
    for k in range(len(amounts) // 2):
        before[-1 - k], after[-1 - k] = amounts[2 * k], amounts[2 * k + 1]
    x = _cropped(call, before, after)
    if not any(b > 0 or a > 0 for b, a in zip(before, after, strict=True)):
        return x
    pads = [max(0, n) for n in (*before, *after)]
    return call.op("Pad", x, call.integers(*pads), 0.0 if value is None else float(value))


def _cropped(call: Call, before: list[int], after: list[int]) -> str:
    """What negative amounts cut off."""
    cut = [axis for axis in range(call.x.rank) if before[axis] < 0 or after[axis] < 0]
    if not cut:
        return call.x.name
    starts = [max(0, -before[axis]) for axis in cut]
    ends = [call.x.shape[axis - 1] + min(0, after[axis]) for axis in cut]
    return call.op("Slice", call.x, call.integers(*starts), call.integers(*ends), call.integers(*cut))


@exporter(aten.tril.default, aten.triu.default)
def _triangle(call: Call) -> str:
    upper = int(call.node.op is aten.triu.default)
    offset = int(call.argument(1, "diagonal", 0))
    if call.opset >= 14:
        return call.op("Trilu", call.x, torch.tensor(offset), upper=upper)
    ones = torch.ones(call.x.shape[-2:], dtype=call.dtype)
    return call.op("Mul", call.x, ones.triu(offset) if upper else ones.tril(offset))


@exporter(aten.pixel_shuffle.default)
def _pixel_shuffle(call: Call) -> str:
    if call.x.rank != 4:
        return by_table(call)
    return call.op("DepthToSpace", call.x, blocksize=int(call.args[1]), mode="CRD")

"""Operators that pick, join or pad coordinates: Slice, Gather, Split, Concat, Pad."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...graph import concatenate
from ..folding import Array
from ..layout import along, refuse_mixing, reshape, whole
from ..operation import Operation
from ..registry import converter
from ..value import Value

__all__: list[str] = []

aten = torch.ops.aten


def pick(op: Operation, value: Value, axis: int, places: range) -> Value:
    """The coordinates `places` of one axis, in their order."""
    if places == range(value.shape[axis]):
        return value
    if not places:
        raise op.unsupported("takes no coordinate", "remove the empty branch from the network")
    value = along(op, value, [axis])
    forward = places if places.step > 0 else places[::-1]
    dim = value.dim(axis)
    result = value
    if forward != range(value.shape[axis]):
        extent = (forward.start, forward[-1] + 1, forward.step)
        result = op.add(aten.slice.Tensor, value, dim, *extent, leading=value.leading)
    if places.step < 0 and len(places) > 1:
        result = op.add(aten.flip.default, result, [dim], leading=value.leading)
    return result


@converter("Slice")
def _slice(op: Operation) -> Value | Array:
    """Starts, ends and axes are attributes before opset 10."""
    value = op.value()
    starts, ends = op.integers("starts", 1), op.integers("ends", 2)
    if starts is None or ends is None:
        raise op.unsupported("without starts or ends", "check the file with onnx.checker")
    axes = op.integers("axes", 3) or list(range(len(starts)))
    steps = op.integers("steps", 4) or [1] * len(starts)
    for start, end, given, step in zip(starts, ends, axes, steps, strict=True):
        axis = op.axis(given, len(value.shape))
        places = range(value.shape[axis])[slice(start, _end(end, step), step)]
        if not places:
            return _empty(value, axis)
        value = pick(op, value, axis, places)
    return value


def _empty(value: Value, axis: int) -> Array:
    """No coordinates at all: a constant, which Concat leaves out."""
    return np.zeros((*value.shape[:axis], 0, *value.shape[axis + 1 :]), dtype=np.float32)


def _end(end: int, step: int) -> int | None:
    """The smallest integers mean "to the front" when stepping backwards, which Python writes None."""
    return None if step < 0 and end < -(2**30) else end


@converter("Gather")
def _gather(op: Operation) -> Value:
    """A number selects, consecutive numbers slice, the rest is a table."""
    value, table = op.value(0), op.required(1)
    axis = op.axis(op.integer("axis", 0), len(value.shape))
    length = value.shape[axis]
    places = [op.axis(int(i), length) for i in table.reshape(-1).tolist()]
    shape = (*value.shape[:axis], *table.shape, *value.shape[axis + 1 :])
    if len(places) == 1 or places == list(range(places[0], places[0] + len(places))):
        return reshape(op, pick(op, value, axis, range(places[0], places[0] + len(places))), shape)
    value = along(op, value, [axis])
    index = torch.tensor(places, dtype=torch.long)
    result = op.add(aten.index_select.default, value, value.dim(axis), index, leading=value.leading)
    return reshape(op, result, shape)


@converter("Split")
def _split(op: Operation) -> list[Value | Array]:
    """Sizes are an attribute before opset 13, an input later; without them the parts are equal."""
    value = op.value()
    axis = op.axis(op.integer("axis", 0), len(value.shape))
    sizes = op.integers("split", 1)
    length = value.shape[axis]
    if sizes is None:
        size = -(-length // op.outputs)
        sizes = [min(size, length - i * size) for i in range(op.outputs)]
    if sum(sizes) != length or min(sizes) < 0:
        raise op.unsupported(f"of {length} into {sizes}", "check the file with onnx.checker")
    parts: list[Value | Array] = []
    start = 0
    for size in sizes:
        parts.append(pick(op, value, axis, range(start, start + size)) if size else _empty(value, axis))
        start += size
    return parts


@converter("Concat")
def _concat(op: Operation) -> Value:
    operands = [op.operand(i) for i in range(len(op.inputs))]
    rank = len(operands[0].shape)
    axis = op.axis(op.integer("axis", 0), rank)
    return joined(op, operands, axis)


def joined(op: Operation, operands: Sequence[Value | Tensor], axis: int) -> Value:
    """Tensors side by side along an axis (not negative); at least one depends on the network's input."""
    operands = [o for o in operands if 0 not in o.shape]
    values = [o for o in operands if isinstance(o, Value)]
    if len(operands) == 1:
        return values[0]
    leading = axis > 0 and all(v.leading for v in values)
    parts: list[Value | Tensor] = []
    for operand in operands:
        if isinstance(operand, Tensor):
            parts.append(operand if leading else operand.unsqueeze(0))
            continue
        if axis == 0:
            refuse_mixing(op, operand)
        parts.append(operand if leading else whole(op, operand))
    target = aten.cat.default if len(values) == len(parts) else concatenate
    return op.add(target, parts, axis if leading else axis + 1, leading=leading)


@converter("Pad")
def _pad(op: Operation) -> Value:
    """Amounts and fill value are attributes before opset 11; negative amounts crop."""
    value, rank = op.value(), len(op.value().shape)
    amounts = op.integers("pads", 1)
    given = op.constant(2) if op.opset >= 11 else None
    fill = op.number("value", 0.0) if given is None else float(given.reshape(-1)[0])
    axes = [op.axis(a, rank) for a in op.integers("axes", 3) or range(rank)]
    if amounts is None or len(amounts) != 2 * len(axes) or max(map(abs, amounts)) > 2**16:
        raise op.unsupported(f"by {amounts}", "two small amounts for each axis")
    pairs = [(0, 0)] * rank
    for axis, before, after in zip(axes, amounts, amounts[len(axes) :], strict=False):
        pairs[axis] = (before, after)
    touched = [a for a, pair in enumerate(pairs) if pair != (0, 0)]
    if not touched:
        return value
    value = along(op, value, touched)
    flat = [p for pair in reversed(pairs[touched[0] :]) for p in pair]
    mode = op.text("mode", "constant")
    if mode == "constant":
        return op.add(aten.constant_pad_nd.default, value, flat, fill, leading=value.leading)
    return _repeating(op, value, pairs, mode)


def _repeating(op: Operation, value: Value, pairs: Sequence[tuple[int, int]], mode: str) -> Value:
    """Reflecting, edge and wrapping pads take existing coordinates, axis by axis."""
    for axis, (before, after) in enumerate(pairs):
        if (before, after) == (0, 0):
            continue
        length = value.shape[axis]
        places = [_source(op, i, length, mode) for i in range(-before, length + after)]
        index = torch.tensor(places, dtype=torch.long)
        value = op.add(aten.index_select.default, value, value.dim(axis), index, leading=value.leading)
    return value


def _source(op: Operation, place: int, length: int, mode: str) -> int:
    if mode == "edge":
        return min(max(place, 0), length - 1)
    if mode == "wrap":
        return place % length
    if mode == "reflect":
        period = max(1, 2 * (length - 1))
        place %= period
        return place if place < length else period - place
    raise op.unsupported(f"mode {mode!r}", "use constant, reflect, edge or wrap")

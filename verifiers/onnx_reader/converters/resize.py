"""Upsample and Resize, as what they are: copies of coordinates, or a matrix along each axis."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from ..layout import along, reshape
from ..operation import Operation
from ..registry import converter
from ..value import Value
from .tables import mix

__all__: list[str] = []

aten = torch.ops.aten


@converter("Upsample", "Resize")
def _resize(op: Operation) -> Value:
    """Nearest by copying, linear by a matrix along each axis; Upsample and Resize 10 are asymmetric."""
    value = op.value()
    old = op.kind == "Upsample" or op.opset < 11
    scales, sizes = _scales(op, value, old)
    frame = "asymmetric" if old else op.text("coordinate_transformation_mode", "half_pixel")
    if frame not in _FRAMES:
        raise op.unsupported(f"coordinates {frame!r}", f"use one of {', '.join(_FRAMES)}")
    mode = op.text("mode", "nearest")
    rounding = "floor" if old else op.text("nearest_mode", "round_prefer_floor")
    if mode not in ("nearest", "linear") or rounding not in _ROUNDINGS or op.integer("antialias", 0):
        raise op.unsupported(f"mode {mode!r} with {rounding!r}", "use nearest or linear, without antialias")
    for axis, (scale, size) in enumerate(zip(scales, sizes, strict=True)):
        if scale == 1 and size == value.shape[axis]:
            continue
        if size < 1 or size > 2**20:
            raise op.unsupported(f"to {size} along axis {axis}", "sizes must be positive and sane")
        length = value.shape[axis]
        places = [_FRAMES[frame](i, scale, length, size) for i in range(size)]
        if mode == "nearest":
            rounded = [min(max(_ROUNDINGS[rounding](p), 0), length - 1) for p in places]
            value = _copied(op, value, axis, rounded)
        else:
            value = _mixed(op, value, axis, places)
    return value


def _scales(op: Operation, value: Value, old: bool) -> tuple[list[float], list[int]]:
    """The scale and the new length of every axis."""
    rank = len(value.shape)
    axes = [op.axis(a, rank) for a in op.integers("axes") or range(rank)]
    given = op.constant(1 if old else 2)
    lengths = None if old else op.constant(3)
    scales, sizes = [1.0] * rank, list(value.shape)
    if given is not None and given.numel():
        for axis, scale in zip(axes, given.reshape(-1).tolist(), strict=True):
            scales[axis], sizes[axis] = float(scale), math.floor(value.shape[axis] * float(scale))
        return scales, sizes
    if lengths is None or op.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise op.unsupported("without scales or sizes, or keeping the aspect ratio", "give scales")
    for axis, size in zip(axes, lengths.reshape(-1).tolist(), strict=True):
        scales[axis], sizes[axis] = int(size) / value.shape[axis], int(size)
    return scales, sizes


def _copied(op: Operation, value: Value, axis: int, places: list[int]) -> Value:
    """Whole-number scales repeat by expansion, for which bounds are exact; others by a table."""
    length, size = value.shape[axis], len(places)
    value = along(op, value, [axis])
    before, after = value.shape[:axis], value.shape[axis + 1 :]
    factor = size // length
    if size % length == 0 and places == [i // factor for i in range(size)] and value.leading:
        split = reshape(op, value, (*before, length, 1, *after))
        wide = [*before, length, factor, *after]
        copies = op.add(aten.expand.default, split, [-1, *wide[1:]], leading=True)
        return reshape(op, copies, (*before, size, *after))
    index = torch.tensor(places, dtype=torch.long)
    return op.add(aten.index_select.default, value, value.dim(axis), index, leading=value.leading)


def _mixed(op: Operation, value: Value, axis: int, places: list[float]) -> Value:
    """Linear interpolation along one axis is a product with a matrix (size, length)."""
    length = value.shape[axis]
    matrix = torch.zeros(len(places), length, dtype=torch.float64)
    for row, place in enumerate(places):
        place = min(max(place, 0.0), length - 1.0)
        low = min(math.floor(place), length - 1)
        high = min(low + 1, length - 1)
        matrix[row, low] += 1 - (place - low)
        matrix[row, high] += place - low
    return mix(op, value, axis, matrix.to(op.dtype))


def _half_pixel(place: int, scale: float, length: int, size: int) -> float:
    return (place + 0.5) / scale - 0.5


def _torch_half_pixel(place: int, scale: float, length: int, size: int) -> float:
    return (place + 0.5) / scale - 0.5 if size > 1 else 0.0


def _align_corners(place: int, scale: float, length: int, size: int) -> float:
    return place * (length - 1) / (size - 1) if size > 1 else 0.0


def _asymmetric(place: int, scale: float, length: int, size: int) -> float:
    return place / scale


_FRAMES: dict[str, Callable[[int, float, int, int], float]] = {
    "half_pixel": _half_pixel,
    "pytorch_half_pixel": _torch_half_pixel,
    "align_corners": _align_corners,
    "asymmetric": _asymmetric,
}
_ROUNDINGS: dict[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda p: math.ceil(p - 0.5),
    "round_prefer_ceil": lambda p: math.floor(p + 0.5),
    "floor": math.floor,
    "ceil": math.ceil,
}

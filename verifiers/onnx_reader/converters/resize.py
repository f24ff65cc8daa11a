"""Upsample and Resize, as what they are: copies of coordinates, or a matrix along each axis."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from ..folding import reference_values
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
    mode = op.text("mode", "nearest")
    rounding = "floor" if old else op.text("nearest_mode", "round_prefer_floor")
    plain = frame in _FRAMES and mode in ("nearest", "linear") and not op.integer("antialias", 0)
    for axis, (scale, size) in enumerate(zip(scales, sizes, strict=True)):
        if scale == 1 and size == value.shape[axis] and frame != "tf_crop_and_resize":
            continue
        if size < 1 or size > 2**20:
            raise op.unsupported(f"to {size} along axis {axis}", "sizes must be positive and sane")
        length = value.shape[axis]
        if not plain:
            value = _as_defined(op, value, axis, (scale, size))
            continue
        places = [_FRAMES[frame](i, scale, length, size) for i in range(size)]
        if mode == "nearest":
            if rounding not in _ROUNDINGS:
                raise op.unsupported(f"with {rounding!r}", f"use one of {', '.join(_ROUNDINGS)}")
            rounded = [min(max(_ROUNDINGS[rounding](p), 0), length - 1) for p in places]
            value = _copied(op, value, axis, rounded)
        else:
            value = _mixed(op, value, axis, places)
    return value


def _scales(op: Operation, value: Value, old: bool) -> tuple[list[float], list[int]]:
    """The scale and the new length of every axis."""
    rank = len(value.shape)
    axes = [op.axis(a, rank) for a in op.integers("axes") or range(rank)]
    given = [float(s) for s in op.attributes.get("scales", [])]  # Upsample before opset 9
    operand = None if given else op.constant(1 if old else 2)
    given = given if operand is None else operand.reshape(-1).tolist()
    lengths = None if old else op.constant(3)
    scales, sizes = [1.0] * rank, list(value.shape)
    if given:
        for axis, scale in zip(axes, given, strict=True):
            scales[axis], sizes[axis] = float(scale), math.floor(value.shape[axis] * float(scale))
        return scales, sizes
    if lengths is None:
        raise op.unsupported("without scales or sizes", "give one of them")
    policy = op.text("keep_aspect_ratio_policy", "stretch")
    wanted = dict(zip(axes, (int(s) for s in lengths.reshape(-1).tolist()), strict=True))
    ratios = [size / value.shape[axis] for axis, size in wanted.items()]
    for axis, size in wanted.items():
        scales[axis], sizes[axis] = size / value.shape[axis], size
        if policy != "stretch":
            scales[axis] = min(ratios) if policy == "not_larger" else max(ratios)
            sizes[axis] = math.floor(scales[axis] * value.shape[axis] + 0.5)
    return scales, sizes


def _as_defined(op: Operation, value: Value, axis: int, to: tuple[float, int]) -> Value:
    """Cubic, smoothed and cropping modes: the matrix (and constant) that ONNX's own definition gives."""
    from onnx import helper

    length, (scale, size) = value.shape[axis], to
    if length * size > 2**16:
        raise op.unsupported(f"from {length} to {size} places in this mode", "use nearest or linear")
    rank, roi = len(value.shape), op.constant(1)
    ends = [0.0, 0.0, 1.0, 1.0]
    axes = [op.axis(a, rank) for a in op.integers("axes") or range(rank)]
    if roi is not None and roi.numel() and axis in axes:
        place, given = axes.index(axis), roi.reshape(-1).tolist()
        ends = [0.0, given[place], 1.0, given[len(axes) + place]]
    if scale == 1 and size == length:
        if ends == [0.0, 0.0, 1.0, 1.0]:
            return value
        raise op.unsupported("cropping to the same size", "onnxruntime does not crop then: use Slice")
    skipped = ("axes", "keep_aspect_ratio_policy")
    kept = {name: v for name, v in op.attributes.items() if name not in skipped}
    by_scale = op.constant(2) is not None and bool(op.required(2).numel())
    asked = np.array([1.0, scale], dtype=np.float32) if by_scale else None
    sizes = None if by_scale else np.array([length + 1, size], dtype=np.int64)
    names = ["x", "roi", "scales" if by_scale else "", "" if by_scale else "sizes"]
    node = helper.make_node("Resize", names, ["y"], name=op.name, **kept)
    rows = np.concatenate([np.zeros((1, length)), np.eye(length)])  # nothing, then each place by itself
    table = reference_values(node, op.opset, [rows, np.array(ends, dtype=np.float32), asked, sizes])[0]
    offset = torch.from_numpy(table[0].astype(np.float64))
    matrix = torch.from_numpy((table[1:] - table[0]).astype(np.float64).T.copy())
    value = mix(op, value, axis, matrix.to(op.dtype))
    if not bool(offset.any()):
        return value
    constant = offset.to(op.dtype).reshape(-1, *(1 for _ in value.shape[axis + 1 :]))
    return op.add(aten.add.Tensor, value, constant, leading=value.leading)


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


def _symmetric(place: int, scale: float, length: int, size: int) -> float:
    share = size / (scale * length)
    return length / 2 * (1 - share) + (place + 0.5) / scale - 0.5


_FRAMES: dict[str, Callable[[int, float, int, int], float]] = {
    "half_pixel": _half_pixel,
    "half_pixel_symmetric": _symmetric,
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

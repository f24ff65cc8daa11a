"""Pooling windows, with all padding written out: exporters need no ceil mode, whose meaning tools dispute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...graph import Piece
from ..call import Call
from ..registry import exporter
from .tables import mixed

__all__: list[str] = []

aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class _Windows:
    """Numbers for each spatial axis; `after` is the padding behind, as far as the last window reaches."""

    size: list[int]
    kernel: list[int]
    stride: list[int]
    before: list[int]
    after: list[int]
    dilation: list[int]

    @staticmethod
    def of(call: Call, *, dilation: Any = 1) -> _Windows:
        size = list(call.x.shape[1:])
        rank = len(size)
        kernel = _each(call.args[1], rank)
        stride = _each(call.argument(2, "stride", None) or kernel, rank)
        padding, dilations = _each(call.argument(3, "padding", 0), rank), _each(dilation, rank)
        counts = call.shape[1:]
        reach = [
            (o - 1) * s + d * (k - 1) + 1 - n - p
            for o, s, d, k, n, p in zip(counts, stride, dilations, kernel, size, padding, strict=True)
        ]
        after = [max(r, 0) for r in reach]
        return _Windows(size, kernel, stride, padding, after, dilations)

    @property
    def settings(self) -> dict[str, Any]:
        """As attributes of a pooling operator."""
        return {"kernel_shape": self.kernel, "strides": self.stride, "pads": [*self.before, *self.after]}


@exporter(
    aten.max_pool1d.default,
    aten.max_pool2d.default,
    aten.max_pool3d.default,
    Piece(aten.max_pool1d_with_indices.default, 0),
    Piece(aten.max_pool2d_with_indices.default, 0),
    Piece(aten.max_pool3d_with_indices.default, 0),
)
def _max_pool(call: Call) -> str:
    windows = _Windows.of(call, dilation=call.argument(4, "dilation", 1))
    return call.op("MaxPool", call.x, dilations=windows.dilation, **windows.settings)


@exporter(aten.avg_pool1d.default, aten.avg_pool2d.default, aten.avg_pool3d.default)
def _average_pool(call: Call) -> str:
    """The mean of windows that count all padding, times what torch divides by instead."""
    windows = _Windows.of(call)
    found = call.op("AveragePool", call.x, count_include_pad=1, **windows.settings)
    divisors = _divisors(call, windows)
    places = math.prod(windows.kernel)
    if bool((divisors == places).all()):
        return found
    return call.op("Mul", found, (places / divisors).to(call.dtype))


def _divisors(call: Call, windows: _Windows) -> Tensor:
    """What torch divides the sum over each window by, (1, 1, *windows)."""
    override = call.argument(6, "divisor_override") if len(windows.size) > 1 else None
    if override is not None:
        return torch.full((1, 1, *call.shape[1:]), float(override), dtype=torch.float64)
    counted = windows.before if bool(call.argument(5, "count_include_pad", True)) else [0] * len(windows.size)
    image = torch.ones(1, 1, *windows.size, dtype=torch.float64)
    ones = functional.pad(image, _pairs(counted, counted), value=1)
    short_before = [b - c for b, c in zip(windows.before, counted, strict=True)]
    short_after = [a - c for a, c in zip(windows.after, counted, strict=True)]
    ones = functional.pad(ones, _pairs(short_before, short_after))
    kernel = torch.ones(1, 1, *windows.kernel, dtype=torch.float64)
    convolve: Any = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}[len(windows.size)]
    counts: Tensor = convolve(ones, kernel, stride=windows.stride)
    return counts


def _pairs(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """Amounts as `pad` takes them, from the last axis on."""
    return [n for b, a in zip(reversed(before), reversed(after), strict=True) for n in (b, a)]


@exporter(
    aten.adaptive_avg_pool1d.default, aten.adaptive_avg_pool2d.default, aten.adaptive_avg_pool3d.default
)
def _adaptive_average(call: Call) -> str:
    """The mean over all, windows of one size, or a matrix along each axis."""
    size, wanted = call.x.shape[1:], call.shape[1:]
    if all(w == 1 for w in wanted):
        return call.op("GlobalAveragePool", call.x)
    if all(n % w == 0 for n, w in zip(size, wanted, strict=True)):
        kernel = [n // w for n, w in zip(size, wanted, strict=True)]
        return call.op("AveragePool", call.x, kernel_shape=kernel, strides=kernel)
    x = call.x.name
    for k, (length, count) in enumerate(zip(size, wanted, strict=True)):
        matrix = torch.zeros(length, count, dtype=torch.float64)
        for i, window in enumerate(_adaptive(length, count)):
            matrix[window.start : window.stop, i] = 1 / len(window)
        x = mixed(call, x, k + 2, matrix.to(call.dtype))
    return x


@exporter(
    Piece(aten.adaptive_max_pool1d.default, 0),
    Piece(aten.adaptive_max_pool2d.default, 0),
    Piece(aten.adaptive_max_pool3d.default, 0),
)
def _adaptive_max(call: Call) -> str:
    """Axis by axis: the largest of each window."""
    size, wanted = call.x.shape[1:], call.shape[1:]
    if all(w == 1 for w in wanted):
        return call.op("GlobalMaxPool", call.x)
    x = call.x.name
    for k, (length, count) in enumerate(zip(size, wanted, strict=True)):
        axis = k + 2
        parts = []
        for window in _adaptive(length, count):
            numbers = (call.integers(n) for n in (window.start, window.stop, axis))
            parts.append(call.reduced("ReduceMax", call.op("Slice", x, *numbers), [axis], keepdims=True))
        x = call.op("Concat", *parts, axis=axis)
    return x


def _adaptive(length: int, count: int) -> list[range]:
    """torch's windows: from floor(i n / m) to ceil((i + 1) n / m)."""
    return [range(i * length // count, -(-(i + 1) * length // count)) for i in range(count)]


def _each(given: Any, rank: int) -> list[int]:
    """One number for each spatial axis."""
    values = [int(v) for v in given] if isinstance(given, (list, tuple)) else [int(given)]
    return values * rank if len(values) == 1 else values

"""Pooling windows. What torch's pools do not know (dilation, uneven padding) becomes a convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..operation import Operation
from ..registry import converter
from ..value import Value
from .conv import CONV, by_image, even, image, pad, paddings, spatial

__all__: list[str] = []

aten = torch.ops.aten

_AVERAGE = {1: aten.avg_pool1d.default, 2: aten.avg_pool2d.default, 3: aten.avg_pool3d.default}
_MAX = {1: aten.max_pool1d.default, 2: aten.max_pool2d.default, 3: aten.max_pool3d.default}


@dataclass(frozen=True, slots=True)
class _Windows:
    """Where windows lie: numbers for each spatial axis, and whether a last, cut one counts."""

    kernel: list[int]
    stride: list[int]
    dilation: list[int]
    pairs: list[tuple[int, int]]
    ceil: bool

    @staticmethod
    def of(op: Operation, size: Sequence[int]) -> _Windows:
        rank = len(size)
        kernel, stride = spatial(op, "kernel_shape", rank), spatial(op, "strides", rank)
        dilation = spatial(op, "dilations", rank)
        pairs = paddings(op, size, kernel, stride, dilation)
        return _Windows(kernel, stride, dilation, pairs, bool(op.integer("ceil_mode", 0)))

    @property
    def is_plain(self) -> bool:
        """Whether torch's pools take the padding: alike on both sides, at most half the kernel."""
        small = all(2 * before <= k for (before, _), k in zip(self.pairs, self.kernel, strict=True))
        return even(self.pairs) and small

    def beyond(self, size: Sequence[int]) -> list[int]:
        """By how much the last window of each axis reaches behind the padded image, for ceil_mode."""
        found = []
        for n, k, s, d, (before, after) in zip(
            size, self.kernel, self.stride, self.dilation, self.pairs, strict=True
        ):
            room = n + before + after - d * (k - 1) - 1
            count = (-(-room // s) if self.ceil else room // s) + 1
            if self.ceil and (count - 1) * s >= n + before:  # it would start behind the image
                count -= 1
            found.append(max(0, (count - 1) * s - room))
        return found


@converter("MaxPool")
@by_image
def _max_pool(op: Operation) -> Value:
    value, rank = image(op)
    windows = _Windows.of(op, value.shape[2:])
    ceil, pairs = windows.ceil, windows.pairs
    if not windows.is_plain:
        behind = windows.beyond(value.shape[2:])
        grown = [(p, q + e) for (p, q), e in zip(pairs, behind, strict=True)]
        for k, pair in enumerate(grown):
            if max(pair) > windows.dilation[k] * (windows.kernel[k] - 1):
                raise op.unsupported("with padding as large as its windows", "pad explicitly")
            value = _continued(op, value, k + 2, pair, windows.dilation[k])
        pairs, ceil = [(0, 0)] * rank, False
    rest = (windows.kernel, windows.stride, [before for before, _ in pairs], windows.dilation, ceil)
    return op.add(_MAX[rank], value, *rest, leading=True)


def _continued(op: Operation, value: Value, axis: int, pair: tuple[int, int], dilation: int) -> Value:
    """One axis padded by entries that change no window's maximum: the next one inside, in its steps.

    A window that reaches outside also reaches that entry, as padding is smaller than windows.
    """
    length, (before, after) = value.shape[axis], pair
    places = [place % dilation for place in range(-before, 0)]
    places += range(length)
    last = length - 1
    places += [last - (last - place) % dilation for place in range(length, length + after)]
    if min(places) < 0 or max(places) > last:
        raise op.unsupported("whose steps are wider than the image", "pad explicitly")
    if places == list(range(length)):
        return value
    index = torch.tensor(places, dtype=torch.long)
    return op.add(aten.index_select.default, value, value.dim(axis), index, leading=value.leading)


@converter("AveragePool")
@by_image
def _average_pool(op: Operation) -> Value:
    value, rank = image(op)
    windows = _Windows.of(op, value.shape[2:])
    count = bool(op.integer("count_include_pad", 0))
    if windows.is_plain and all(d == 1 for d in windows.dilation):
        amounts = [before for before, _ in windows.pairs]
        rest = (windows.kernel, windows.stride, amounts, windows.ceil, count)
        return op.add(_AVERAGE[rank], value, *rest, leading=True)
    size = value.shape[2:]
    counted = windows.pairs if count else [(0, 0)] * rank
    ones = _padded(torch.ones(1, 1, *size, dtype=op.dtype), counted, 1.0)
    rest_of_pairs = windows.pairs if not count else [(0, 0)] * rank
    behind = [(0, e) for e in windows.beyond(size)]
    ones = _padded(_padded(ones, rest_of_pairs, 0.0), behind, 0.0)
    shares = _summed(windows, ones)
    total = _sums(op, value, windows)
    return op.add(aten.mul.Tensor, total, (1 / shares).squeeze(0), leading=True)


@converter("LpPool")
@by_image
def _lp_pool(op: Operation) -> Value:
    """(sum of |x|^p)^(1/p) over windows; padding adds nothing."""
    value, _ = image(op)
    order = op.integer("p", 2)
    powers = _power(op, value, order)
    total = _sums(op, powers, _Windows.of(op, value.shape[2:]))
    return _root(op, total, order)


@converter("GlobalLpPool")
@by_image
def _global_lp_pool(op: Operation) -> Value:
    value, rank = image(op)
    order = op.integer("p", 2)
    powers = _power(op, value, order)
    total = op.add(aten.sum.dim_IntList, powers, list(range(2, rank + 2)), True, leading=True)
    return _root(op, total, order)


@converter("GlobalAveragePool", "GlobalMaxPool")
@by_image
def _global_pool(op: Operation) -> Value:
    value, rank = image(op)
    if op.kind == "GlobalAveragePool":
        return op.add(aten.mean.dim, value, list(range(2, rank + 2)), True, leading=True)
    return op.add(_MAX[rank], value, list(value.shape[2:]), leading=True)


def _sums(op: Operation, value: Value, windows: _Windows) -> Value:
    """The sum over each window, channel by channel: a convolution with ones."""
    channels, size = value.shape[1], value.shape[2:]
    pairs = [(p, q + e) for (p, q), e in zip(windows.pairs, windows.beyond(size), strict=True)]
    if any(pair != (0, 0) for pair in pairs):
        value = pad(op, value, pairs, 0.0)
    weight = torch.ones(channels, 1, *windows.kernel, dtype=op.dtype)
    rest = (None, windows.stride, [0] * len(size), windows.dilation, channels)
    return op.add(CONV[len(size)], value, weight, *rest, leading=True)


def _summed(windows: _Windows, counts: Tensor) -> Tensor:
    kernel = torch.ones(1, 1, *windows.kernel, dtype=counts.dtype)
    rank = len(windows.kernel)
    found: Tensor = CONV[rank](counts, kernel, None, windows.stride, [0] * rank, windows.dilation, 1)
    return found


def _padded(image: Tensor, pairs: Sequence[tuple[int, int]], fill: float) -> Tensor:
    return torch.nn.functional.pad(image, [p for pair in reversed(pairs) for p in pair], value=fill)


def _power(op: Operation, value: Value, order: int) -> Value:
    if order == 2:
        return op.add(aten.pow.Tensor_Scalar, value, 2.0, leading=value.leading)
    size = op.add(aten.abs.default, value, leading=value.leading)
    return size if order == 1 else op.add(aten.pow.Tensor_Scalar, size, float(order), leading=size.leading)


def _root(op: Operation, value: Value, order: int) -> Value:
    if order == 1:
        return value
    if order == 2:
        return op.add(aten.sqrt.default, value, leading=value.leading)
    return op.add(aten.pow.Tensor_Scalar, value, 1 / order, leading=value.leading)

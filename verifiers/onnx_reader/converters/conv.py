"""Convolutions and pooling windows; uneven padding becomes a padding operator of its own."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..operation import Operation
from ..registry import converter
from ..value import Value

__all__: list[str] = []

aten = torch.ops.aten

_CONV = {1: aten.conv1d.default, 2: aten.conv2d.default, 3: aten.conv3d.default}
_TRANSPOSED = {
    1: aten.conv_transpose1d.default,
    2: aten.conv_transpose2d.input,
    3: aten.conv_transpose3d.input,
}
_AVERAGE = {1: aten.avg_pool1d.default, 2: aten.avg_pool2d.default, 3: aten.avg_pool3d.default}
_MAX = {1: aten.max_pool1d.default, 2: aten.max_pool2d.default, 3: aten.max_pool3d.default}
_LOWEST = torch.finfo(torch.float32).min  # finite: intervals through a padded MaxPool stay finite


def image(op: Operation) -> tuple[Value, int]:
    """The input as a stack of channels (1, C, *space), and the number of spatial axes, 1 to 3."""
    value = op.value()
    rank = len(value.shape) - 2
    if rank not in _CONV or not value.leading:
        raise op.unsupported(f"on a tensor of shape {value.shape}", "it takes (1, channels, 1 to 3 axes)")
    return value, rank


def spatial(op: Operation, name: str, rank: int, default: int = 1) -> list[int]:
    """An attribute with one number for each spatial axis."""
    found = op.integers(name) or [default] * rank
    if len(found) != rank or min(found) < 1:
        raise op.unsupported(f"{name} {found} for {rank} spatial axes", "export the network again")
    return found


def paddings(
    op: Operation, size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]]:
    """Padding before and after each spatial axis, from `pads` or `auto_pad`."""
    mode = op.text("auto_pad", "NOTSET")
    if mode == "VALID":
        return [(0, 0)] * len(size)
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        pairs = []
        for n, k, s, d in zip(size, kernel, stride, dilation, strict=True):
            total = max(0, (-(-n // s) - 1) * s + d * (k - 1) + 1 - n)
            small, large = total // 2, total - total // 2
            pairs.append((small, large) if mode == "SAME_UPPER" else (large, small))
        return pairs
    pads = op.integers("pads") or [0] * (2 * len(size))
    if len(pads) != 2 * len(size) or min(pads) < 0 or max(pads) > 2**16:
        raise op.unsupported(f"pads {pads}", "pads must be small, not negative, two for each spatial axis")
    return list(zip(pads[: len(size)], pads[len(size) :], strict=True))


def pad(op: Operation, value: Value, pairs: Sequence[tuple[int, int]], fill: float) -> Value:
    """The value padded by a constant around its last axes; torch counts from the last axis."""
    amounts = [p for pair in reversed(pairs) for p in pair]
    return op.add(aten.constant_pad_nd.default, value, amounts, fill, leading=value.leading)


def even(pairs: Sequence[tuple[int, int]]) -> bool:
    """Whether every axis is padded alike before and after."""
    return all(before == after for before, after in pairs)


@converter("Conv")
def _conv(op: Operation) -> Value:
    value, rank = image(op)
    weight, bias = op.required(1), op.constant(2)
    kernel = list(weight.shape[2:])
    stride, dilation = spatial(op, "strides", rank), spatial(op, "dilations", rank)
    pairs = paddings(op, value.shape[2:], kernel, stride, dilation)
    if not even(pairs):
        value, pairs = pad(op, value, pairs, 0.0), [(0, 0)] * rank
    amounts = [before for before, _ in pairs]
    group = op.integer("group", 1)
    return op.add(_CONV[rank], value, weight, bias, stride, amounts, dilation, group, leading=True)


@converter("ConvTranspose")
def _conv_transpose(op: Operation) -> Value:
    """Uneven pads crop the result, which is all that padding does to a transposed convolution."""
    value, rank = image(op)
    weight, bias = op.required(1), op.constant(2)
    stride, dilation = spatial(op, "strides", rank), spatial(op, "dilations", rank)
    extra = op.integers("output_padding") or [0] * rank
    full = [
        (n - 1) * s + d * (k - 1) + 1 + e
        for n, s, d, k, e in zip(value.shape[2:], stride, dilation, weight.shape[2:], extra, strict=True)
    ]
    pairs = _crops(op, rank, full, [n * s for n, s in zip(value.shape[2:], stride, strict=True)])
    together = even(pairs)
    amounts = [before if together else 0 for before, _ in pairs]
    rest = (amounts, extra, op.integer("group", 1), dilation)
    result = op.add(_TRANSPOSED[rank], value, weight, bias, stride, *rest, leading=True)
    return result if together else pad(op, result, [(-before, -after) for before, after in pairs], 0.0)


def _crops(op: Operation, rank: int, full: list[int], same: list[int]) -> list[tuple[int, int]]:
    """How much of a transposed convolution's full result falls away on each side."""
    mode, wanted = op.text("auto_pad", "NOTSET"), op.integers("output_shape")
    if wanted is None and mode not in ("SAME_UPPER", "SAME_LOWER"):
        return paddings(op, [1] * rank, [1] * rank, [1] * rank, [1] * rank)
    pairs = []
    for whole, target in zip(full, wanted or same, strict=True):
        total = whole - target
        small, large = total // 2, total - total // 2
        pairs.append((small, large) if mode == "SAME_UPPER" else (large, small))
    return pairs


@converter("MaxPool")
def _max_pool(op: Operation) -> Value:
    value, rank = image(op)
    kernel, stride = spatial(op, "kernel_shape", rank), spatial(op, "strides", rank)
    dilation = spatial(op, "dilations", rank)
    pairs = paddings(op, value.shape[2:], kernel, stride, dilation)
    if not even(pairs) or any(2 * p > k for (p, _), k in zip(pairs, kernel, strict=True)):
        value, pairs = pad(op, value, pairs, _LOWEST), [(0, 0)] * rank
    amounts = [before for before, _ in pairs]
    ceil = bool(op.integer("ceil_mode", 0))
    return op.add(_MAX[rank], value, kernel, stride, amounts, dilation, ceil, leading=True)


@converter("AveragePool")
def _average_pool(op: Operation) -> Value:
    """Uneven padding that does not count is divided out: by the mean of the window's real places."""
    value, rank = image(op)
    kernel, stride = spatial(op, "kernel_shape", rank), spatial(op, "strides", rank)
    if any(d != 1 for d in spatial(op, "dilations", rank)):
        raise op.unsupported("with dilation", "use a convolution")
    pairs = paddings(op, value.shape[2:], kernel, stride, [1] * rank)
    ceil, count = bool(op.integer("ceil_mode", 0)), bool(op.integer("count_include_pad", 0))
    amounts = [before for before, _ in pairs]
    if even(pairs) and all(2 * p <= k for p, k in zip(amounts, kernel, strict=True)):
        return op.add(_AVERAGE[rank], value, kernel, stride, amounts, ceil, count, leading=True)
    if ceil:
        raise op.unsupported("with uneven padding and ceil_mode", "pad explicitly")
    padded = pad(op, value, pairs, 0.0)
    result = op.add(_AVERAGE[rank], padded, kernel, stride, leading=True)
    if count:
        return result
    ones = torch.ones(1, 1, *value.shape[2:])
    ones = torch.nn.functional.pad(ones, [p for pair in reversed(pairs) for p in pair])
    share: Tensor = _AVERAGE[rank](ones, kernel, stride)
    return op.add(aten.div.Tensor, result, share.squeeze(0), leading=True)


@converter("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(op: Operation) -> Value:
    value, rank = image(op)
    if op.kind == "GlobalAveragePool":
        return op.add(aten.mean.dim, value, list(range(2, rank + 2)), True, leading=True)
    return op.add(_MAX[rank], value, list(value.shape[2:]), leading=True)

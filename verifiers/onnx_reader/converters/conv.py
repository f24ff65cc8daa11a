"""Convolutions; uneven padding becomes a padding operator of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from ..layout import reshape
from ..operation import Operation
from ..registry import converter
from ..value import Value
from .indexing import joined, pick

__all__: list[str] = []

aten = torch.ops.aten

CONV = {1: aten.conv1d.default, 2: aten.conv2d.default, 3: aten.conv3d.default}
_TRANSPOSED = {
    1: aten.conv_transpose1d.default,
    2: aten.conv_transpose2d.input,
    3: aten.conv_transpose3d.input,
}


def by_image(convert: Callable[[Operation], Value]) -> Callable[[Operation], Value]:
    """The converter of an operator on images, which takes a fixed batch of several one by one."""

    def each(op: Operation) -> Value:
        value = op.value()
        count = value.shape[0] if len(value.shape) > 1 else 1
        if value.leading or count == 1:
            return convert(op)
        if count > 256:
            raise op.unsupported(f"on a batch of {count}", "export the network with a batch size of 1")
        results = []
        for k in range(count):
            single = reshape(op, pick(op, value, 0, range(k, k + 1)), (1, *value.shape[1:]))
            results.append(convert(replace(op, inputs=[single, *op.inputs[1:]])))
        return joined(op, results, 0)

    return each


def image(op: Operation) -> tuple[Value, int]:
    """The input as a stack of channels (1, C, *space), and the number of spatial axes, 1 to 3."""
    value = op.value()
    rank = len(value.shape) - 2
    if rank not in CONV or not value.leading:
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
@by_image
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
    return op.add(CONV[rank], value, weight, bias, stride, amounts, dilation, group, leading=True)


@converter("ConvTranspose")
@by_image
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

"""Affine operators: every output coordinate is a sum of products.

With n roundings on the way of each product to the sum, in any order and with or without fused multiply-adds,
the computed sum differs from the exact one by at most gamma_n times the sum of absolute products (Higham
2002, section 3.1). Both that sum and the image of the inputs' errors come from the operator's own interval
rule on boxes that are symmetric about zero. Kernels that are no sums of the products (Winograd, FFT,
Strassen) and formats of fewer bits inside (TF32) are not covered.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ...graph import Node, concatenate
from ...interval import Interval
from ...rule import find_rule
from ...rules.stack import stacked
from ..formats import DOUBLE
from ..rule import Rounding, Step, find_rounding, register_rounding, upward

__all__ = ["Sums", "absolute_sum", "affine_size", "image", "symmetric"]

aten = torch.ops.aten

_OUTWARD = 4


def symmetric(sizes: Sequence[Tensor]) -> tuple[Interval, ...]:
    """The boxes of all x with |x| <= size."""
    return tuple(Interval(-size, size) for size in sizes)


def absolute_sum(node: Node, sizes: Sequence[Tensor]) -> Tensor:
    """At least |W| size + |b| for the affine operator W x + b, (B, *node.shape)."""
    found = find_rule(node).interval(node, *symmetric(sizes))
    return upward(torch.maximum(found.lower.abs(), found.upper.abs()))


def image(node: Node, errors: Sequence[Tensor], total: Tensor, count: int) -> Tensor:
    """At least |W| errors, (B, *node.shape): half the width of an image; `total` covers its own rounding."""
    found = find_rule(node).interval(node, *symmetric(errors))
    return upward((found.upper - found.lower) / 2 + 4 * DOUBLE.gamma(count + 8) * total)


def affine_size(node: Node, sizes: Sequence[Tensor]) -> Tensor:
    """At least the sum of the absolute values of all that an affine operator adds up, (B, *node.shape)."""
    entry = find_rounding(node)
    return entry.total(node, sizes) if isinstance(entry, Sums) else absolute_sum(node, sizes)


class Sums(Rounding):
    """`count(node)`: at least the roundings that a product meets: its own, those of the sum, of constants."""

    def __init__(self, count: Callable[[Node], int]) -> None:
        self.count = count

    def error(self, node: Node, step: Step) -> Tensor:
        sizes, count, kind = step.sizes(), self.count(node), step.format
        total = self.total(node, sizes)
        spread = image(node, step.arriving(), total, count)
        largest = torch.stack([s.reshape(s.shape[0], -1).amax(1) for s in sizes]).amax(0)
        small = count * kind.tiny * (2 + largest)  # products and weights below the normal numbers
        own = kind.gamma(count) * total + small.reshape(-1, *(1 for _ in node.shape))
        bad = total * (1 + kind.gamma(count)) >= kind.largest  # a partial sum may overflow
        return upward(torch.where(bad, torch.inf, spread + own))

    def total(self, node: Node, sizes: Sequence[Tensor]) -> Tensor:
        """At least the sum of the absolute products, and of everything that is added to it."""
        return absolute_sum(node, sizes)

    def enclose(self, node: Node, boxes: Sequence[Interval]) -> Interval:
        """By centre and radius: four such sums, with some operations on their terms."""
        found = find_rule(node).interval(node, *boxes)
        spread = (
            _OUTWARD
            * DOUBLE.gamma(self.count(node) + 16)
            * self.total(node, Step.exact(DOUBLE, boxes).sizes())
        )
        return Interval(found.lower - upward(spread), found.upper + upward(spread))


class BatchNorm(Sums):
    """Scale and shift from the running statistics, in whatever order: (x - m) s + b, x s + (b - m s), ...

    s = w / sqrt(v + eps) takes 4 operations, of which the root may be off by two units in the last place.
    """

    def total(self, node: Node, sizes: Sequence[Tensor]) -> Tensor:
        weight, bias, mean, variance = (node.args[i] for i in range(1, 5))
        scale = torch.rsqrt(variance + node.argument(7, "eps", 1e-5))
        scale = (scale if weight is None else scale * weight).abs()
        shift = mean.abs() * scale + (0 if bias is None else bias.abs())
        space = (1,) * (len(node.shape) - 1)
        return upward(sizes[0] * scale.reshape(-1, *space) + shift.reshape(-1, *space))


class Moves(Rounding):
    """Every output coordinate is an input coordinate or a constant."""

    exact = True

    def error(self, node: Node, step: Step) -> Tensor:
        found = find_rule(node).interval(node, *symmetric(step.arriving()))
        return upward((found.upper - found.lower) / 2)


class Padded(Moves):
    """With zeros, or with coordinates of the input."""

    def check(self, node: Node) -> None:
        value = node.argument(3 if node.op is aten.pad.default else 2, "value")
        if value is not None and float(value) != 0:
            raise UnsupportedOpError(
                f"no bound of the rounding errors of {node.op} with the value {value}",
                where=f"node {node.name}",
                cure="pad with zeros, or use arithmetic='real'",
            )


def _products(node: Node) -> int:
    """Of the axis that a matrix product sums over, which is one of its input's."""
    return max(max(p.shape, default=1) for p in node.inputs) + 4


def _convolution(node: Node) -> int:
    weight: Tensor = node.args[1]
    return math.prod(weight.shape[1:]) + 2


def _transposed(node: Node) -> int:
    weight: Tensor = node.args[1]
    return weight.shape[0] * math.prod(weight.shape[2:]) + 2


def _whole(node: Node) -> int:
    """As many terms as the input has coordinates, and a division."""
    return node.inputs[0].numel + 3


def _share(node: Node) -> int:
    """As many terms as input coordinates meet in an output coordinate, and a division."""
    return -(-node.inputs[0].numel // max(1, node.numel)) + 3


def _window(node: Node) -> int:
    kernel: Any = node.argument(1, "kernel_size")
    sizes = [kernel] if isinstance(kernel, int) else list(kernel)
    rank = len(node.shape) - 1
    return math.prod(sizes * rank if len(sizes) == 1 else sizes) + 3


register_rounding(aten.linear.default)(Sums(lambda node: node.args[1].shape[-1] + 2))
register_rounding(
    *(op for rank in (aten.conv1d, aten.conv2d, aten.conv3d) for op in (rank.default, rank.padding))
)(Sums(_convolution))
register_rounding(aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input)(
    Sums(_transposed)
)
register_rounding(
    aten.add.Tensor, aten.add.Scalar, aten.sub.Tensor, aten.sub.Scalar, aten.rsub.Scalar, aten.rsub.Tensor
)(Sums(lambda node: 4))  # a number is rounded to the format, a factor alpha takes two more
register_rounding(aten.avg_pool1d.default, aten.avg_pool2d.default, aten.avg_pool3d.default)(Sums(_window))
register_rounding(
    aten.adaptive_avg_pool1d.default, aten.adaptive_avg_pool2d.default, aten.adaptive_avg_pool3d.default
)(Sums(_whole))
register_rounding(aten.sum.dim_IntList, aten.mean.dim)(Sums(_share))
register_rounding(aten.cumsum.default)(Sums(_whole))
register_rounding(aten.batch_norm.default)(BatchNorm(lambda node: 16))
register_rounding(aten.neg.default)(Moves())
register_rounding(aten.reshape.default, aten.permute.default, aten.transpose.int, aten.expand.default)(
    Moves()
)
register_rounding(
    aten.slice.Tensor, aten.select.int, aten.narrow.default, aten.flip.default, aten.index_select.default
)(Moves())
register_rounding(aten.roll.default, aten.repeat.default, aten.tile.default)(Moves())
register_rounding(aten.unfold.default, aten.diagonal.default, aten.index.Tensor)(Moves())
register_rounding(aten.cat.default, concatenate, aten.stack.default, stacked)(Moves())
register_rounding(aten.pad.default, aten.constant_pad_nd.default)(Padded())

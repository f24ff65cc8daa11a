"""Average pooling in one to three dimensions; its weights are not negative."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node
from ..rule import Affine, Boxes, Pulled, PulledWindows, register
from ..windows import WindowRows
from .monotone import Monotone

__all__ = ["AdaptiveAveragePool", "AveragePool", "SpaceAverage", "check_axes", "sizes"]

aten = torch.ops.aten


def sizes(node: Node, position: int, name: str, default: Any, rank: int) -> list[int]:
    """An argument that is one number for all axes or one per axis."""
    value = node.argument(position, name, default)
    values = [value] if isinstance(value, int) else list(value)
    return values * rank if len(values) == 1 else values


def check_axes(node: Node, rank: int) -> None:
    """Raise UnsupportedOpError unless a sample has an axis of channels and `rank` axes of space."""
    if len(node.shape) != rank + 1:  # torch would take the batch axis for the channels
        raise UnsupportedOpError(
            f"{node.op} needs (batch, channels, *space), one sample has shape {node.inputs[0].shape}",
            where=f"node {node.name}",
            cure="give the tensor a channel axis: x.unsqueeze(1)",
        )


class AveragePool(Affine):
    """avg_pool1d and avg_pool2d: a fixed linear map; the backward step is the operator's own adjoint."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def check(self, node: Node) -> None:
        check_axes(node, self.rank)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        kernel = sizes(node, 1, "kernel_size", 1, self.rank)
        stride = sizes(node, 2, "stride", [], self.rank) or kernel
        padding = sizes(node, 3, "padding", 0, self.rank)
        rest = (node.argument(4, "ceil_mode", False), node.argument(5, "count_include_pad", True))
        divisor = node.argument(6, "divisor_override") if self.rank == 2 else None
        rows = a.flatten(0, 1)
        if self.rank == 1:  # the one-dimensional operator has no adjoint of its own: lift it to height 1
            rows, kernel, stride, padding = rows.unsqueeze(-2), [1, *kernel], [1, *stride], [0, *padding]
        channels, *space = node.inputs[0].shape
        space = [1, *space] if self.rank == 1 else space
        like = a.new_zeros(()).expand(rows.shape[0], channels, *space)
        pulled: Tensor = aten.avg_pool2d_backward(
            rows.contiguous(), like, kernel, stride, padding, *rest, divisor
        )
        return Pulled((pulled.reshape(*a.shape[:2], *node.inputs[0].shape),))

    def backward_windows(
        self, node: Node, rows: WindowRows, boxes: Boxes, free: Tensor | None = None
    ) -> PulledWindows | None:
        if self.rank != 2:
            return None
        kernel = sizes(node, 1, "kernel_size", 1, 2)
        stride = sizes(node, 2, "stride", [], 2) or kernel
        padding = sizes(node, 3, "padding", 0, 2)
        shares = self._shares(node, rows.a)
        ones = shares.new_ones(1, 1, *kernel).expand(node.shape[0], 1, *kernel)
        channels, height, width = node.inputs[0].shape
        divided = rows.with_coefficients(rows.a * rows.view(shares), clean=True)
        geometry = (stride[0], stride[1]), (padding[0], padding[1]), (1, 1), channels
        return PulledWindows((divided.pulled(ones, *geometry, (channels, height, width)),))

    def _shares(self, node: Node, like: Tensor) -> Tensor:
        """One over the divisor of every window, (1, 1, *output)."""
        kernel = sizes(node, 1, "kernel_size", 1, 2)
        stride = sizes(node, 2, "stride", [], 2) or kernel
        ceil = bool(node.argument(4, "ceil_mode", False))
        inside = like.new_ones(1, *node.inputs[0].shape)
        count = aten.avg_pool2d(inside, kernel, stride, sizes(node, 3, "padding", 0, 2), ceil, True, 1)
        share: Tensor = node.run(inside) / count
        return share[:, :1]


class AdaptiveAveragePool(Affine):
    """adaptive_avg_pool1d and adaptive_avg_pool2d."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def check(self, node: Node) -> None:
        check_axes(node, self.rank)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        source = node.inputs[0].shape
        rows = a.flatten(0, 1)
        if self.rank == 1:
            rows = rows.unsqueeze(-2)
        space = [1, *source[1:]] if self.rank == 1 else list(source[1:])
        like = a.new_zeros(()).expand(rows.shape[0], source[0], *space)
        pulled: Tensor = aten._adaptive_avg_pool2d_backward(rows.contiguous(), like)
        return Pulled((pulled.reshape(*a.shape[:2], *source),))


class SpaceAverage(Monotone):
    """avg_pool3d and adaptive_avg_pool3d."""

    def check(self, node: Node) -> None:
        check_axes(node, 3)


register(aten.avg_pool1d.default)(AveragePool(1))
register(aten.avg_pool2d.default)(AveragePool(2))
register(aten.adaptive_avg_pool1d.default)(AdaptiveAveragePool(1))
register(aten.adaptive_avg_pool2d.default)(AdaptiveAveragePool(2))
register(aten.avg_pool3d.default)(SpaceAverage())
register(aten.adaptive_avg_pool3d.default)(SpaceAverage())

"""Enlarging images: nearest, linear in one to three dimensions, cubic.

All are affine with the same weights along each axis for every other axis. Nearest and linear weights are not
negative. Cubic ones are: their absolute values come from the operator itself, run on images that vary along
one axis only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node
from ..interval import Interval
from ..moved_windows import resampled
from ..rule import Boxes, PulledWindows, register
from ..windows import WindowRows
from .monotone import Monotone

__all__ = ["Cubic", "Upsample"]

aten = torch.ops.aten


class Upsample(Monotone):
    """Interpolation over `rank` axes with non-negative weights."""

    def __init__(self, rank: int, *, moves: bool = False) -> None:
        super().__init__(moves=moves)
        self.rank = rank

    def check(self, node: Node) -> None:
        if len(node.shape) != self.rank + 1:
            raise UnsupportedOpError(
                f"{node.op} of a sample of shape {node.inputs[0].shape}",
                where=f"node {node.name}",
                cure="give (batch, channels, *space)",
            )

    def backward_windows(
        self, node: Node, rows: WindowRows, boxes: Boxes, free: Tensor | None = None
    ) -> PulledWindows | None:
        if self.rank != 2:
            return None
        channels, height, width = node.inputs[0].shape
        return PulledWindows((resampled(rows, self.weights(node, rows.a), (channels, height, width)),))

    def weights(self, node: Node, like: Tensor) -> tuple[Tensor, Tensor]:
        """The matrices that act on rows (out, in) and on columns; weights along an axis sum to one."""
        height, width = node.inputs[0].shape[1:]
        rows = torch.eye(height, dtype=like.dtype, device=like.device)[:, None, :, None]
        columns = torch.eye(width, dtype=like.dtype, device=like.device)[:, None, None, :]
        vertical = node.run(rows.expand(-1, 1, height, width))[:, 0, :, 0]
        horizontal = node.run(columns.expand(-1, 1, height, width))[:, 0, 0, :]
        return vertical.mT, horizontal.mT


class Cubic(Upsample):
    """Interpolation over two axes with weights of either sign."""

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        mid, radius = inputs[0].mid_radius()
        rows, columns = self.weights(node, mid)
        return Interval.around(node.run(mid), rows.abs() @ radius @ columns.abs().mT)


register(aten.upsample_nearest1d.vec, aten._upsample_nearest_exact1d.vec)(Upsample(1, moves=True))
register(aten.upsample_nearest2d.vec, aten._upsample_nearest_exact2d.vec)(Upsample(2, moves=True))
register(aten.upsample_nearest3d.vec, aten._upsample_nearest_exact3d.vec)(Upsample(3, moves=True))
register(aten.upsample_linear1d.vec)(Upsample(1))
register(aten.upsample_bilinear2d.vec, aten._upsample_bilinear2d_aa.vec)(Upsample(2))
register(aten.upsample_trilinear3d.vec)(Upsample(3))
register(aten.upsample_bicubic2d.vec, aten._upsample_bicubic2d_aa.vec)(Cubic(2))

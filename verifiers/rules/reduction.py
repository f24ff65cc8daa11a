"""Sums and means along sample axes."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..graph import Node
from ..rule import Affine, Boxes, Pulled, register
from .shape import sample_axis

aten = torch.ops.aten


class Reduce(Affine):
    """sum or mean over given axes; monotone, so both ends map to both ends."""

    def __init__(self, *, mean: bool) -> None:
        self.mean = mean

    def axes(self, node: Node) -> list[int]:
        """The reduced axes, batch axis counted as 0 and refused."""
        rank = len(node.inputs[0].shape) + 1
        dims = node.argument(1, "dim")
        if dims is None or dims == []:
            dims = range(rank)
        return sorted(sample_axis(node, d, rank) for d in ([dims] if isinstance(dims, int) else dims))

    def check(self, node: Node) -> None:
        self.axes(node)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        source = node.inputs[0].shape
        axes = self.axes(node)
        kept = [1 if i + 1 in axes else s for i, s in enumerate(source)]
        pulled = a.reshape(*a.shape[:2], *kept).expand(*a.shape[:2], *source)
        if self.mean:
            pulled = pulled / math.prod(source[i - 1] for i in axes)
        return Pulled((pulled,))


register(aten.sum.dim_IntList)(Reduce(mean=False))
register(aten.mean.dim)(Reduce(mean=True))

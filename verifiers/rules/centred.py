"""Deviation from the mean along axes: the affine part of layer, group and instance normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ..graph import Node
from ..interval import Interval
from ..rule import Affine, Boxes, Pulled, register

__all__ = ["centred"]


def centred(x: Tensor, axes: Sequence[int]) -> Tensor:
    """x - mean of x along axes (batch axis 0 not among them)."""
    return x - x.mean(tuple(axes), keepdim=True)


class Centred(Affine):
    """Symmetric and idempotent; exact intervals, where those of a mean and a difference are wider."""

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        """Coordinate i takes (1 - 1/n) of its own radius and 1/n of every other one."""
        axes = node.args[1]
        count = math.prod(node.shape[a - 1] for a in axes)
        mid, radius = inputs[0].mid_radius()
        spread = radius * (1 - 2 / count) + radius.mean(tuple(axes), keepdim=True)
        return Interval.around(centred(mid, axes), spread)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        return Pulled((centred(a, [axis + 1 for axis in node.args[1]]),))


register(centred)(Centred())

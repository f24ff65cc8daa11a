"""Running maxima and minima along an axis: every output is the extreme of the entries up to its place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..graph import Node, Piece
from ..interval import Interval
from ..rule import Pulled, register
from .extremes import Extreme, contested
from .shape import sample_axis

__all__ = ["Running"]

aten = torch.ops.aten


class Running(Extreme):
    """The values of cummax and cummin."""

    def axis(self, node: Node) -> int:
        """The axis, counting the batch axis as 0."""
        return sample_axis(node, int(node.argument(1, "dim")), len(node.shape) + 1)

    def check(self, node: Node) -> None:
        self.axis(node)

    def entries(self, node: Node, values: Sequence[Tensor]) -> Tensor:
        axis, value = self.axis(node), values[0]
        wide = value.movedim(axis, 1).unsqueeze(axis + 1)
        return wide.expand(value.shape[0], value.shape[axis], *node.shape)

    def among(self, node: Node, like: Tensor) -> Tensor | None:
        axis = self.axis(node)
        place = torch.arange(node.shape[axis - 1], device=like.device)
        up_to = place.reshape(-1, 1) <= place
        shape = [1] * len(node.shape)
        shape[axis - 1] = len(place)
        return up_to.reshape(1, len(place), *shape).expand(1, len(place), *node.shape)

    def spread(self, node: Node, a: Tensor) -> Pulled:
        axis = self.axis(node)
        return Pulled((a.sum(axis + 2).movedim(2, axis + 1),))

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        wanted = contested(self._signed(node, (box,)), 1, self.among(node, box.lower))
        (mask,) = self.spread(node, wanted.unsqueeze(1).to(box.lower.dtype)).coefficients
        return (mask.squeeze(1) > 0) & (box.lower < box.upper)


register(Piece(aten.cummax.default, 0))(Running(1))
register(Piece(aten.cummin.default, 0))(Running(-1))

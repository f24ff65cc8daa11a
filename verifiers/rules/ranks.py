"""Sorted values: topk, sort, kthvalue, median.

The r-th largest of x_1 ... x_n is at least the minimum over any r of them and at most the maximum over any
n - r + 1 of them. The planes below and above these (see `extremes`) enclose it, for the r entries with the
largest lower bounds and for the n - r + 1 with the smallest upper bounds: exact at points, and exact wherever
the bounds decide the order. Intervals are exact: the r-th largest of the lower and of the upper bounds.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from ..graph import Node, Piece
from ..interval import Interval
from ..rule import Boxes, Pulled, Rule, contract_rows, register
from .extremes import first_level, upper_plane
from .shape import sample_axis

__all__ = ["Kth", "Median", "Ranked", "Sort", "TopK"]

aten = torch.ops.aten


class Ranked(Rule):
    """Order statistics along one axis. Free: the level of the plane on each side."""

    #: Position, name and default of the axis argument.
    axis_argument: tuple[int, str, int] = (1, "dim", -1)

    @abstractmethod
    def ranks(self, node: Node, count: int) -> Sequence[int]:
        """Which of `count` entries the output's positions along the axis are, 1 for the largest."""

    def axis(self, node: Node) -> int:
        """The axis, counting the batch axis as 0."""
        return sample_axis(node, int(node.argument(*self.axis_argument)), len(node.inputs[0].shape) + 1)

    def check(self, node: Node) -> None:
        self.axis(node)

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        axis = self.axis(node)
        ranks = self._ranks(node, inputs[0].lower.device) - 1
        ends = []
        for end in (inputs[0].lower, inputs[0].upper):
            chosen = end.sort(axis, descending=True).values.index_select(axis, ranks)
            unknown = torch.where(end.isnan(), end, torch.zeros_like(end)).sum(axis, keepdim=True)
            ends.append((chosen + unknown).reshape(end.shape[0], *node.shape))
        return Interval(*ends)

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        """Entries whose bounds overlap those of another."""
        axis = self.axis(node)
        low, high = box.lower.movedim(axis, -1), box.upper.movedim(axis, -1)
        overlap = (low.unsqueeze(-1) < high.unsqueeze(-2)) & (low.unsqueeze(-2) < high.unsqueeze(-1))
        rivals = overlap.sum(-1) - (low < high).long()
        return (rivals > 0).movedim(-1, axis) & (box.lower < box.upper)

    def start(self, node: Node, boxes: Boxes) -> Tensor | None:
        box, top, bottom = self._entries(node, boxes)
        mirrored = Interval(-box.upper, -box.lower)
        return torch.stack((first_level(mirrored, 2, top), first_level(box, 2, bottom)), 1).squeeze(3)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        axis = self.axis(node)
        box, top, bottom = self._entries(node, boxes)
        box, top, bottom = box.unsqueeze(1), top.unsqueeze(1), bottom.unsqueeze(1)
        levels = (None, None) if free is None else tuple(f.unsqueeze(3) for f in free.unbind(2))
        below = upper_plane(Interval(-box.upper, -box.lower), 3, levels[0], top)
        above = upper_plane(box, 3, levels[1], bottom)
        rows = self._in_front(node, a)  # (B, K, ranks, *rest)
        negative = rows.clamp(max=0)
        positive = rows - negative
        pulled = (positive.unsqueeze(3) * below.slopes + negative.unsqueeze(3) * above.slopes).sum(2)
        offset = contract_rows(negative, above.offset) - contract_rows(positive, below.offset)
        return Pulled((pulled.movedim(2, axis + 1),), offset)

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        """Between the smallest and the largest of the tangents of the entries that may have the rank."""
        axis, may = self.axis(node), self._may(node, boxes)[0].unsqueeze(1)
        ends = []
        for sign, end in ((-1, tangents[0].lower), (1, tangents[0].upper)):
            moving = sign * end.movedim(axis + 1, 2).unsqueeze(2)  # (B, K, 1, n, *rest)
            found = sign * torch.where(may, moving, torch.full_like(moving, -torch.inf)).amax(3)
            ends.append(found.movedim(2, axis + 1).reshape(*found.shape[:2], *node.shape))
        return Interval(*ends)

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        """An entry has one rank: between the smallest and the largest row of those that it may have.

        Zero is one of them where it may have a rank that nobody asks for.
        """
        axis, (may, always) = self.axis(node), self._may(node, boxes)
        ends = []
        for sign, row in ((-1, rows.lower), (1, rows.upper)):
            wide = sign * self._in_front(node, row).unsqueeze(3)  # (B, K, ranks, 1, *rest)
            most = torch.where(may.unsqueeze(1), wide, torch.full_like(wide, -torch.inf)).amax(2)
            most = torch.where(always.unsqueeze(1), most, most.clamp(min=0))
            ends.append(sign * most.movedim(2, axis + 1))
        return (Interval(*ends),)

    def _may(self, node: Node, boxes: Boxes) -> tuple[Tensor, Tensor]:
        """Who may have which rank, (B, ranks, n, *rest), and whose every rank is asked for, (B, n, *rest).

        Entries with NaN may have any.
        """
        axis, box = self.axis(node), boxes[node.inputs[0]]
        low, high = box.lower.movedim(axis, 1), box.upper.movedim(axis, 1)
        ahead = (low.unsqueeze(1) > high.unsqueeze(2)).sum(2)  # entries that are surely larger
        behind = (high.unsqueeze(1) < low.unsqueeze(2)).sum(2)
        ranks = self._ranks(node, low.device).reshape(-1, 1, *(1,) * (low.dim() - 2))
        count = low.shape[1]
        may = (ahead.unsqueeze(1) < ranks) & (behind.unsqueeze(1) <= count - ranks)
        return may, may.sum(1) == count - ahead - behind

    def _entries(self, node: Node, boxes: Boxes) -> tuple[Interval, Tensor, Tensor]:
        """Bounds (B, ranks, n, *rest) and, for each rank, the entries of the minimum and of the maximum."""
        axis, box = self.axis(node), boxes[node.inputs[0]]
        low, high = box.lower.movedim(axis, 1), box.upper.movedim(axis, 1)
        count, rest = low.shape[1], low.dim() - 2
        ranks = self._ranks(node, low.device).reshape(-1, 1, *(1,) * rest)
        place_low = low.argsort(1, descending=True).argsort(1)  # 0 for the largest lower bound
        place_high = high.argsort(1).argsort(1)  # 0 for the smallest upper bound
        top, bottom = place_low.unsqueeze(1) < ranks, place_high.unsqueeze(1) < count - ranks + 1
        full = (low.shape[0], ranks.shape[0], *low.shape[1:])
        return Interval(low.unsqueeze(1).expand(full), high.unsqueeze(1).expand(full)), top, bottom

    def _in_front(self, node: Node, a: Tensor) -> Tensor:
        """Rows with the axis of ranks behind the axis of rows; of length one where the axis is dropped."""
        if len(node.shape) < len(node.inputs[0].shape):
            return a.unsqueeze(2)
        return a.movedim(self.axis(node) + 1, 2)

    def _ranks(self, node: Node, device: torch.device) -> Tensor:
        return torch.tensor(list(self.ranks(node, node.inputs[0].shape[self.axis(node) - 1])), device=device)


class TopK(Ranked):
    """The k largest, or smallest, values; in order."""

    axis_argument = (2, "dim", -1)

    def ranks(self, node: Node, count: int) -> Sequence[int]:
        k = int(node.args[1])
        return range(1, k + 1) if node.argument(3, "largest", True) else range(count, count - k, -1)


class Sort(Ranked):
    """All values in order; `first` is the position of the axis argument."""

    def __init__(self, first: int) -> None:
        self.axis_argument = (first, "dim", -1)

    def ranks(self, node: Node, count: int) -> Sequence[int]:
        falling = bool(node.argument(self.axis_argument[0] + 1, "descending", False))
        return range(1, count + 1) if falling else range(count, 0, -1)


class Kth(Ranked):
    """The k-th smallest value."""

    axis_argument = (2, "dim", -1)

    def ranks(self, node: Node, count: int) -> Sequence[int]:
        return (count + 1 - int(node.args[1]),)


class Median(Ranked):
    """The middle value, the smaller one of two."""

    def ranks(self, node: Node, count: int) -> Sequence[int]:
        return (count - (count - 1) // 2,)


register(Piece(aten.topk.default, 0))(TopK())
register(Piece(aten.sort.default, 0))(Sort(1))
register(Piece(aten.sort.stable, 0))(Sort(2))
register(Piece(aten.kthvalue.default, 0))(Kth())
register(Piece(aten.median.dim, 0))(Median())

"""Nonlinear reductions along axes: log-sum-exp, norms. The axes are flattened and moved to the end."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from ..graph import Node
from ..interval import Interval
from ..rule import Boxes, Pulled, Rule
from .shape import sample_axis

__all__ = ["Plane", "ReductionRule"]

Plane = tuple[Tensor, Tensor]
"""Slopes (..., n) and constant (..., 1)."""


class ReductionRule(Rule):
    """A function of n coordinates, enclosed by two planes.

    Free, (B, *other axes, n + 1): one parameter per coordinate and one more, what for `planes` says.
    """

    #: Where the operator's arguments `dim` and `keepdim` stand.
    places = (1, 2)

    @abstractmethod
    def planes(self, node: Node, box: Interval, share: Tensor | None) -> tuple[Plane, Plane]:
        """Planes below and above the function on a gathered box (B, 1, *other axes, n).

        share: the rule's own choice where None, else (B, R, *other axes, n + 1) within [0, 1].
        """

    @abstractmethod
    def gradient(self, node: Node, box: Interval) -> Interval:
        """Bounds of the function's derivatives by its n coordinates on a gathered box."""

    def axes(self, node: Node) -> list[int]:
        """The reduced axes, from the back of one sample: negative."""
        rank = len(node.inputs[0].shape) + 1
        dims = node.argument(self.places[0], "dim")
        dims = range(rank) if dims is None or dims == [] else [dims] if isinstance(dims, int) else dims
        return [sample_axis(node, d, rank) - rank for d in dims]

    def check(self, node: Node) -> None:
        self.axes(node)

    def gathered(self, node: Node, t: Tensor) -> Tensor:
        """(..., *shape of the input) with the reduced axes flattened at the end."""
        axes = self.axes(node)
        return t.movedim(axes, list(range(-len(axes), 0))).flatten(-len(axes))

    def scattered(self, node: Node, t: Tensor) -> Tensor:
        """The inverse of `gathered`."""
        axes = self.axes(node)
        apart: Tensor = t.unflatten(-1, [node.inputs[0].shape[axis] for axis in axes])
        return apart.movedim(list(range(-len(axes), 0)), axes)

    def rows(self, node: Node, a: Tensor) -> Tensor:
        """Coefficients (B, K, *shape of the result) without axes of length one for the reduced ones."""
        if not node.argument(self.places[1], "keepdim", False):
            return a
        axes = self.axes(node)
        return a.movedim(axes, list(range(-len(axes), 0))).flatten(-len(axes)).squeeze(-1)

    def box(self, node: Node, boxes: Boxes) -> Interval:
        """The input's box, gathered and with an axis for rows."""
        box = boxes[node.inputs[0]].unsqueeze(1)
        return Interval(self.gathered(node, box.lower), self.gathered(node, box.upper))

    def undecided(self, node: Node, position: int, box: Interval) -> Tensor | None:
        return box.lower < box.upper

    def start(self, node: Node, boxes: Boxes) -> Tensor | None:
        like = self.gathered(node, boxes[node.inputs[0]].lower)
        if like.shape[-1] == 1:
            return None
        return torch.full_like(like[..., :1].expand(*like.shape[:-1], like.shape[-1] + 1), 0.5)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        pulled, offset = self.pull(node, self.rows(node, a), boxes, free)
        return Pulled((pulled,), offset)

    def pull(self, node: Node, rows: Tensor, boxes: Boxes, free: Tensor | None) -> tuple[Tensor, Tensor]:
        """Coefficients of x and offset of rows (B, K, *other axes) of the reduced values."""
        low, high = self.planes(node, self.box(node, boxes), free)
        rows = rows.unsqueeze(-1)
        negative = rows.clamp(max=0)
        positive = rows - negative
        pulled = positive * low[0] + negative * high[0]
        constant = positive * low[1] + negative * high[1]
        return self.scattered(node, pulled), constant.reshape(*constant.shape[:2], -1).sum(2)

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        parts = self.direction(node, tangents[0]).times(self.gradient(node, self.box(node, boxes)))
        shape = (*parts.lower.shape[:2], *node.shape)
        return Interval(parts.lower.sum(-1).reshape(shape), parts.upper.sum(-1).reshape(shape))

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        ends = (self.rows(node, t).unsqueeze(-1) for t in (rows.lower, rows.upper))
        found = Interval(*ends).times(self.gradient(node, self.box(node, boxes)))
        return (Interval(self.scattered(node, found.lower), self.scattered(node, found.upper)),)

    def direction(self, node: Node, tangent: Interval) -> Interval:
        """The input's derivatives along K directions, gathered."""
        return Interval(self.gathered(node, tangent.lower), self.gathered(node, tangent.upper))

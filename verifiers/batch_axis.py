"""Tensors whose batch axis is not in front, or merged with a neighbour, as layers such as
`nn.MultiheadAttention` make them: (T, B, F), (B * heads, T, E), (B * T, F).

The graph keeps them as samples with the batch axis in front, their other axes in the same order. A view then
is a reshape of the sample: taking the batch axis out changes no order of the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .graph import Node

__all__ = ["Layout", "Moved", "batch_sizes"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the batch axis is: axis `axis` of `shape` (at batch size one) runs over (before, B, after)."""

    shape: tuple[int, ...]
    axis: int = 0
    before: int = 1
    after: int = 1

    @staticmethod
    def plain(sample: Sequence[int]) -> Layout:
        """The batch axis in front, by itself."""
        return Layout((1, *sample))

    @property
    def is_plain(self) -> bool:
        """Whether the batch axis is in front, by itself."""
        return self.axis == 0 and self.shape[0] == 1

    @property
    def merged(self) -> tuple[int, ...]:
        """The parts of axis `axis` beside the batch axis, as axes of the sample."""
        return tuple(part for part in (self.before, self.after) if part > 1)

    @property
    def sample(self) -> tuple[int, ...]:
        """One sample's shape."""
        return (*self.shape[: self.axis], *self.merged, *self.shape[self.axis + 1 :])

    @property
    def from_right(self) -> int:
        """Place of the batch axis, counted from the last axis, which is 1."""
        return len(self.shape) - self.axis

    @property
    def ahead(self) -> int:
        """How many numbers of one sample run slower than the batch axis in row-major order."""
        return math.prod(self.shape[: self.axis]) * self.before

    def place(self, axis: int, *, new: bool = False) -> int | None:
        """Axis of the graph's batched tensor for the tensor's axis (or negative); None for the batch axis.

        new: an axis that the operator inserts there.
        """
        axis %= len(self.shape) + (1 if new else 0)
        if axis < self.axis or (new and axis == self.axis):
            return axis + 1
        return None if axis == self.axis else axis + len(self.merged)

    def viewed(self, shape: Sequence[int], axis: int) -> Layout | None:
        """The layout after a view to `shape` with the batch axis within `axis`; None where it cannot be."""
        slower = math.prod(shape[:axis])
        before = self.ahead // slower if slower else 0
        if not before or self.ahead % slower or shape[axis] % before:
            return None
        return Layout(tuple(shape), axis, before, shape[axis] // before)

    def permuted(self, order: Sequence[int]) -> tuple[Layout, list[int]]:
        """The layout with axes in another order, and the order of the graph's batched axes that makes it."""
        new = Layout(tuple(self.shape[a] for a in order), order.index(self.axis), self.before, self.after)
        first = self.axis + 1
        inside = list(range(first, first + len(self.merged)))
        axes: list[int] = []
        for a in order:
            place = self.place(a)
            axes += inside if place is None else [place]
        return new, [0, *axes]


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """A tensor of the module whose batch axis is elsewhere, and the node that computes its samples."""

    node: Node
    layout: Layout


def batch_sizes(shape: Sequence[Any], symbol: Any) -> tuple[tuple[int, ...], int] | None:
    """The shape at batch size one, and the axis whose size is a multiple of the batch size.

    shape: sizes, numbers or symbolic; symbol: the batch size. None: no axis is, several are, or one is
    something else.
    """
    one, axes = [], []
    unknown = symbol.node.expr
    for axis, size in enumerate(shape):
        if isinstance(size, int):
            one.append(size)
            continue
        factor = size.node.expr.subs(unknown, 1)
        if not factor.is_Integer or size.node.expr != factor * unknown:
            return None
        one.append(int(factor))
        axes.append(axis)
    return (tuple(one), axes[0]) if len(axes) == 1 else None

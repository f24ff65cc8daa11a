"""A tensor of the file that depends on the network's input, and the node that computes it."""

from __future__ import annotations

from dataclasses import dataclass

from ..graph import Node

__all__ = ["Value"]


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """`shape` is the file's shape at batch size one; the graph computes it for a batch.

    leading: axis 0 of `shape` (of length one) is the batch axis, so a sample has `shape[1:]`.
    Otherwise the file's tensor belongs to one sample whole: a sample has `shape`.
    """

    node: Node
    shape: tuple[int, ...]
    leading: bool

    def dim(self, axis: int) -> int:
        """The file's axis `axis` (not negative) as an axis of the graph's batched tensor."""
        return axis if self.leading else axis + 1

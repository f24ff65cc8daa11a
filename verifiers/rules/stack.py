"""Tensors side by side along a new axis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..graph import Node, Slot
from ..interval import Interval
from ..rule import Affine, Boxes, Pulled, contract, register
from .shape import sample_axis

__all__ = ["stacked"]

aten = torch.ops.aten


def stacked(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """torch.stack of samples (B, ...) and constants (1, ...), which repeat for every sample."""
    batch = max(t.shape[0] for t in tensors)
    return torch.stack([t.expand(batch, *t.shape[1:]) for t in tensors], dim)


class Stack(Affine):
    """Every input fills one place of the new axis; constants fill the others."""

    def axis(self, node: Node) -> int:
        """The new axis of the result; the batch axis counts as 0 and is refused."""
        return sample_axis(node, node.argument(1, "dim", 0), len(node.shape) + 1)

    def check(self, node: Node) -> None:
        self.axis(node)

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        lower = [inputs[p.index].lower if isinstance(p, Slot) else p for p in node.args[0]]
        upper = [inputs[p.index].upper if isinstance(p, Slot) else p for p in node.args[0]]
        axis = self.axis(node)
        return Interval(stacked(lower, axis), stacked(upper, axis))

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        pieces = a.unbind(self.axis(node) + 1)
        coefficients: list[Tensor] = [a] * len(node.inputs)
        offset: Tensor | None = None
        for part, piece in zip(node.args[0], pieces, strict=True):
            if isinstance(part, Slot):
                coefficients[part.index] = piece
            else:
                term = contract(piece, part.to(a))
                offset = term if offset is None else offset + term
        return Pulled(tuple(coefficients), offset)


register(aten.stack.default, stacked)(Stack())

"""Tensors of one number that take their size from a tensor of the network: zeros_like and its kind."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..graph import Node
from ..interval import Interval
from ..rule import Affine, Boxes, Pulled, register

__all__ = ["Filled", "filled"]


def filled(x: Tensor, shape: Sequence[int], value: float) -> Tensor:
    """The number `value` in the shape (B, *shape) for x (B, ...)."""
    return x.new_full((x.shape[0], *shape), value)


class Filled(Affine):
    """A constant: no input coordinate counts."""

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        constant = node.run(inputs[0].lower)
        return Interval(constant, constant)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        nothing = a.new_zeros(1, 1, *node.inputs[0].shape).expand(*a.shape[:2], *node.inputs[0].shape)
        return Pulled((nothing,), node.args[2] * (a.flatten(2).sum(2) if a.dim() > 2 else a))


register(filled)(Filled())

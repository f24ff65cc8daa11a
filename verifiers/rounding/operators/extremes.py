"""Maxima and minima: |max a - max b| <= max |a - b|, and nothing is rounded."""

from __future__ import annotations

import torch
from torch import Tensor

from ...graph import Node, Piece
from ..rule import Rounding, Step, register_rounding, upward

aten = torch.ops.aten


class Largest(Rounding):
    """Over windows or axes: the operator itself on the errors, negated before and after for minima."""

    exact = True

    def __init__(self, sign: int) -> None:
        self.sign = sign

    def error(self, node: Node, step: Step) -> Tensor:
        return upward(self.sign * node.run(self.sign * step.arriving()[0]))


class LargerOfTwo(Rounding):
    """Coordinate by coordinate; a constant operand has no error."""

    exact = True

    def error(self, node: Node, step: Step) -> Tensor:
        shape = (step.boxes[0].lower.shape[0], *node.shape)
        total = torch.zeros(shape, dtype=torch.float64, device=step.boxes[0].lower.device)
        for error in step.arriving():
            ones = (1,) * (len(node.shape) + 1 - error.dim())
            total = torch.maximum(total, error.reshape(error.shape[0], *ones, *error.shape[1:]))
        return upward(total)


register_rounding(
    aten.max_pool1d.default,
    aten.max_pool2d.default,
    aten.max_pool3d.default,
    *(
        Piece(op, 0)
        for op in (
            aten.max_pool1d_with_indices.default,
            aten.max_pool2d_with_indices.default,
            aten.max_pool3d_with_indices.default,
            aten.adaptive_max_pool1d.default,
            aten.adaptive_max_pool2d.default,
            aten.adaptive_max_pool3d.default,
            aten.max.dim,
        )
    ),
    aten.amax.default,
)(Largest(1))
register_rounding(aten.amin.default, Piece(aten.min.dim, 0))(Largest(-1))
register_rounding(
    aten.maximum.default,
    aten.max.other,
    aten.fmax.default,
    aten.minimum.default,
    aten.min.other,
    aten.fmin.default,
)(LargerOfTwo())

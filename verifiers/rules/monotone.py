"""Affine operators with non-negative weights: both ends map to both ends, and torch knows the adjoint.

A new operator of this kind is one line: `register(aten.NAME.default)(Monotone())`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..graph import Node
from ..rule import Affine, Boxes, Pulled, contract, register
from .shape import sample_axis

__all__ = ["Monotone"]

aten = torch.ops.aten


class Monotone(Affine):
    """y = W x + c with W >= 0, of one or several inputs; the adjoint is the operator's own derivative.

    axis: position, name and default of an argument that names axes, none of which may be the batch axis.
    moves: every output coordinate depends on one coordinate of each input.
    """

    def __init__(self, axis: tuple[int, str, int] | None = None, *, moves: bool = False) -> None:
        self.axis = axis
        self.coordinatewise = moves

    def check(self, node: Node) -> None:
        if self.axis is not None:
            sample_axis(node, int(node.argument(*self.axis)), len(node.shape) + 1)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        rows = a.flatten(0, 1)
        zeros = [a.new_zeros(()).expand(rows.shape[0], *p.shape) for p in node.inputs]
        pulled = torch.func.vjp(node.run, *zeros)[1](rows)
        coefficients = tuple(p.unflatten(0, a.shape[:2]) for p in pulled)
        constant = node.run(*(z[:1] for z in zeros)).to(a)
        return Pulled(coefficients, contract(a, constant) if bool(constant.any()) else None)


register(aten.tril.default, aten.triu.default)(Monotone(moves=True))
register(aten.diag_embed.default)(Monotone(moves=True))
register(aten.cumsum.default)(Monotone((1, "dim", 0)))
register(aten.im2col.default, aten.col2im.default)(Monotone())

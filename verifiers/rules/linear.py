"""Matrix products with a constant matrix on the right: the fast, usual case."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..graph import Node
from ..interval import Interval
from ..rule import Affine, Boxes, Pulled, contract, register
from ..spectral import matrix_norm_bound

aten = torch.ops.aten


class MatrixProduct(Affine):
    """y = x W^T + b on the last axis of x.

    Interval by centre and radius (Gowal et al. 2018, arXiv 1810.12715).
    """

    def weight(self, node: Node) -> tuple[Tensor, Tensor | None]:
        """W (out, in) and b (out,) or None, from the operator's arguments."""
        return node.args[1], node.argument(2, "bias")

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        weight, bias = self.weight(node)
        mid, radius = inputs[0].mid_radius()
        centre = functional.linear(mid, weight, bias)
        spread = functional.linear(radius, weight.abs())
        return Interval.around(centre, spread)

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        weight, bias = self.weight(node)
        offset = None if bias is None else contract(a, bias.expand(node.shape).unsqueeze(0))
        return Pulled((a @ weight,), offset)

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        weight, _ = self.weight(node)
        mid, radius = tangents[0].mid_radius()
        return Interval.around(functional.linear(mid, weight), functional.linear(radius, weight.abs()))

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        weight, _ = self.weight(node)
        mid, radius = rows.mid_radius()
        return (Interval.around(mid @ weight, radius @ weight.abs()),)

    def spectral_norms(self, node: Node) -> tuple[float, ...] | None:
        return (matrix_norm_bound(self.weight(node)[0]),)


class AddMM(MatrixProduct):
    """addmm(b, x, W) = b + x W with constants b and W; see `matmul` for other factors."""

    def weight(self, node: Node) -> tuple[Tensor, Tensor | None]:
        return node.args[2].mT, node.args[0]


class MatMul(MatrixProduct):
    """x @ W with a constant matrix on the right; see `matmul` for other factors."""

    def weight(self, node: Node) -> tuple[Tensor, Tensor | None]:
        return node.args[1].mT, None


register(aten.linear.default)(MatrixProduct())

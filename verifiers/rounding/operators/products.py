"""Products and quotients: by constants they are sums of products, of two inputs they are bilinear."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ...graph import Node, Slot
from ...interval import Interval
from ...rule import find_rule
from ...rules.quotient import Quotient
from ..formats import DOUBLE
from ..rule import Rounding, Step, register_rounding, upward
from .affine import Sums

__all__ = ["Products"]

aten = torch.ops.aten

_OUTWARD = 8  # McCormick intervals by centre and radius: eight sums of products


class Products(Rounding):
    """x y, coordinate by coordinate or as matrices.

    |x' y' - x y| <= |x'| |y' - y| + |x' - x| |y|, and gamma_n |x'| |y'| of its own.
    """

    def __init__(self, count: Callable[[Node], int]) -> None:
        self.count, self.affine = count, Sums(count)

    def check(self, node: Node) -> None:
        if len(node.inputs) > 1 and not (
            len(node.inputs) == 2 and all(isinstance(a, Slot) for a in node.args[:2]) and len(node.args) == 2
        ):
            raise UnsupportedOpError(
                f"no bound of the rounding errors of {node.op} with these arguments",
                where=f"node {node.name}",
                cure="use arithmetic='real'",
            )

    def error(self, node: Node, step: Step) -> Tensor:
        if find_rule(node).affine:
            return self.affine.error(node, step)
        (x, y), (dx, dy), kind, count = step.sizes(), step.arriving(), step.format, self.count(node)
        total = node.run(x, y)
        own = kind.gamma(count) * total + count * kind.tiny
        bad = total * (1 + kind.gamma(count)) >= kind.largest
        return upward(torch.where(bad, torch.inf, node.run(x, dy) + node.run(dx, y) + own))

    def enclose(self, node: Node, boxes: Sequence[Interval]) -> Interval:
        if find_rule(node).affine:
            return self.affine.enclose(node, boxes)
        found = find_rule(node).interval(node, *boxes)
        total = node.run(*Step.exact(DOUBLE, boxes).sizes())
        spread = upward(_OUTWARD * DOUBLE.gamma(self.count(node) + 16) * total)
        return Interval(found.lower - spread, found.upper + spread)


class Quotients(Rounding):
    """x / y: |x' / y' - x / y| <= |x' - x| / |y'| + |x| |y' - y| / |y y'|, and a rounding of its own."""

    constant = Sums(lambda node: 4)

    def error(self, node: Node, step: Step) -> Tensor:
        rule, kind = find_rule(node), step.format
        if not isinstance(rule, Quotient):  # by a constant: maybe times its reciprocal
            return self.constant.error(node, step)
        x, y = rule.operands(node, step.wide(), 1)
        size = upward(torch.maximum(x.lower.abs(), x.upper.abs()))
        least = torch.minimum(y.lower.abs(), y.upper.abs()) / (1 + 2.0**-20)
        signed = (y.lower > 0) | (y.upper < 0)
        errors = step.arriving()
        dy = errors[-1]
        dx = errors[0] if len(errors) == 2 else kind.unit * size  # a constant number is rounded to the format
        result = size / least
        total = dx / least + result * dy / least + 4 * kind.unit * result + 2 * kind.tiny
        good = signed & (result * 2 < kind.largest)
        return upward(torch.where(good, total, torch.inf))

    def enclose(self, node: Node, boxes: Sequence[Interval]) -> Interval:
        if not isinstance(find_rule(node), Quotient):
            return self.constant.enclose(node, boxes)
        return super().enclose(node, boxes)


def _matrix(node: Node) -> int:
    """The axis that is summed over is one of either input's."""
    return max(max(p.shape, default=1) for p in node.inputs) + 4


register_rounding(aten.mul.Tensor, aten.mul.Scalar, aten.multiply.Tensor)(Products(lambda node: 4))
register_rounding(aten.matmul.default, aten.linalg_matmul.default, aten.mm.default, aten.bmm.default)(
    Products(_matrix)
)
register_rounding(aten.addmm.default)(Products(_matrix))
register_rounding(aten.div.Tensor, aten.div.Scalar, aten.divide.Tensor, aten.true_divide.Tensor)(Quotients())

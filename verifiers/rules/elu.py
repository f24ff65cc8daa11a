"""ELU, SELU and CELU: an exponential on the negative side, a line on the positive one.

(Clevert et al. 2015, arXiv 1511.07289; Klambauer et al. 2017, arXiv 1706.02515; Barron 2017,
arXiv 1704.07483.)
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node
from ..rule import register
from .contact import Everywhere, Nowhere, convex_then_concave
from .curves import Curve, Shape, Smooth

aten = torch.ops.aten


class Elu(Smooth):
    """scale * x for x > 0, scale * alpha * (exp(input_scale * x) - 1) otherwise."""

    def check(self, node: Node) -> None:
        alpha, scale, rate = self.settings(node)
        if not (alpha >= 0 and scale > 0 and rate > 0):
            raise UnsupportedOpError(
                f"elu with alpha {alpha}, scale {scale} and input_scale {rate} has no rule",
                where=f"node {node.name}",
                cure="all three must be positive",
            )

    def settings(self, node: Node) -> tuple[float, float, float]:
        """alpha, scale and input_scale."""
        names = ("alpha", "scale", "input_scale")
        alpha, scale, rate = (float(node.argument(i, name, 1)) for i, name in enumerate(names, 1))
        return alpha, scale, rate

    def shape(self, node: Node) -> Shape:
        return elu(*self.settings(node))


class Celu(Smooth):
    """x for x > 0, alpha * (exp(x / alpha) - 1) otherwise."""

    parameters = 1

    def check(self, node: Node) -> None:
        if not self.alpha(node) > 0:
            raise UnsupportedOpError(
                f"celu with alpha {self.alpha(node)} has no rule",
                where=f"node {node.name}",
                cure="alpha must be positive",
            )

    def alpha(self, node: Node) -> float:
        """The depth of the negative side."""
        return float(node.argument(1, "alpha", 1))

    def shape(self, node: Node) -> Shape:
        return elu(self.alpha(node), 1.0, 1 / self.alpha(node))


@lru_cache(maxsize=64)
def elu(alpha: float, scale: float, rate: float) -> Shape:
    """The shape of an ELU: convex, but for a concave kink at zero where alpha * rate > 1."""
    steepest = scale * alpha * rate

    def value(x: Tensor) -> Tensor:
        return torch.where(x > 0, scale * x, scale * alpha * torch.expm1(rate * x.clamp(max=0)))

    def slope(x: Tensor, y: Tensor) -> Tensor:
        return torch.where(x > 0, scale, steepest * torch.exp(rate * x.clamp(max=0)))

    if alpha * rate <= 1:
        return Shape(value, slope, Everywhere(), Nowhere(), peak=(0.0, scale))
    return Shape(value, slope, *convex_then_concave(value, slope), peak=(0.0, steepest))


register(aten.elu.default)(Elu())
register(aten.celu.default)(Celu())
# torch's own constants
register(aten.selu.default)(
    Curve(elu(1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1.0))
)

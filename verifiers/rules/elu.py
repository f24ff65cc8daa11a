"""ELU, SELU and CELU: an exponential on the negative side, a line on the positive one.

(Clevert et al. 2015, arXiv 1511.07289; Klambauer et al. 2017, arXiv 1706.02515; Barron 2017,
arXiv 1704.07483.)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node
from ..interval import Interval
from ..rule import Lines, register
from .contact import Everywhere, Nowhere, convex_then_concave
from .curves import Shape, Smooth

aten = torch.ops.aten


class Elu(Smooth):
    """scale * x for x > 0, scale * alpha * (exp(input_scale * x) - 1) otherwise.

    Where alpha * input_scale > 1 the kink at zero is concave: lines above it may turn about the kink, from
    the slope of the chord on the negative side to `scale`.
    """

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

    def lines(self, node: Node, box: Interval, free: Sequence[Tensor] = ()) -> Lines:
        lines, (alpha, scale, rate) = super().lines(node, box, free), self.settings(node)
        if alpha * rate <= 1:
            return lines
        chord, turning = self._about_kink(node, box)
        share = free[1] if free else _right_of_zero(box)
        slope = chord + share * (scale - chord)
        assert lines.upper_offset is not None
        return Lines(
            lines.lower_slope,
            torch.where(turning, slope, lines.upper_slope),
            lines.lower_offset,
            torch.where(turning, torch.zeros_like(lines.upper_offset), lines.upper_offset),
        )

    def first(self, node: Node, box: Interval) -> tuple[Tensor, ...]:
        (below, above), (alpha, _, rate) = super().first(node, box), self.settings(node)
        if alpha * rate <= 1:
            return below, above
        return below, torch.where(self._about_kink(node, box)[1], _right_of_zero(box), above)

    def _about_kink(self, node: Node, box: Interval) -> tuple[Tensor, Tensor]:
        """Slope of the chord from l to zero; and where lines above may turn about zero."""
        low = box.lower.clamp(max=-torch.finfo(box.lower.dtype).tiny)
        chord = self.shape(node).value(low) / low
        return chord, (box.lower < 0) & (box.upper > 0) & (chord >= self.settings(node)[1])


class Selu(Elu):
    """ELU with torch's own constants."""

    def settings(self, node: Node) -> tuple[float, float, float]:
        return 1.6732632423543772848170429916717, 1.0507009873554804934193349852946, 1.0


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


def _right_of_zero(box: Interval) -> Tensor:
    """One where the box's middle is positive, else zero."""
    return (box.upper > -box.lower).to(box.lower.dtype)


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
register(aten.selu.default)(Selu())

"""GELU, SiLU and Mish: a ramp with a dip, concave in both tails and convex between.

Below, the tangents that stay below at both ends. Above, the left tail's tangents only serve boxes in
u < 0, since the function falls there and is negative; the right tail's slopes exceed one.
(Hendrycks and Gimpel 2016, arXiv 1606.08415; Elfwing et al. 2017, arXiv 1702.03118; Misra 2019,
arXiv 1908.08681.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node
from ..rule import register
from .contact import Between, Contact, Function, Left, Right, Slope, Tails
from .curves import Curve, Shape, Smooth

aten = torch.ops.aten

_GAIN, _CUBE = math.sqrt(2 / math.pi), 0.044715


def ramp(value: Function, slope: Slope, bends: tuple[float, float], lowest: tuple[float, float]) -> Shape:
    """The shape of a ramp that bends at two points and is least at another."""
    left, right = bends
    at = torch.tensor(bends, dtype=torch.float64)
    steepest = slope(at, value(at)).tolist()
    below = Between(
        Contact(value, slope, left, leftward=False, convex=True, reach=right - left),
        Contact(value, slope, right, leftward=True, convex=True, reach=right - left),
    )
    above = Tails(
        Left(left, Contact(value, slope, left, leftward=True, convex=False)),
        Right(right, Contact(value, slope, right, leftward=False, convex=False)),
    )
    dip, peak = zip(bends, steepest, strict=True)
    return Shape(value, slope, below, above, peak, dip, rising=None, lowest=lowest)


def _gelu_slope(x: Tensor, y: Tensor) -> Tensor:
    density = torch.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    return torch.addcmul(0.5 * (1 + torch.erf(x * math.sqrt(0.5))), x, density)


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _gelu_tanh_slope(x: Tensor, y: Tensor) -> Tensor:
    x = x.clamp(-100, 100)  # its slope is 0 or 1 there
    bent = torch.tanh(_GAIN * (x + _CUBE * x * x * x))
    return 0.5 * (1 + bent) + 0.5 * x * (1 - bent * bent) * (_GAIN + 3 * _GAIN * _CUBE * x * x)


def _silu_slope(x: Tensor, y: Tensor) -> Tensor:
    gate = torch.sigmoid(x)
    return gate + y * (1 - gate)


def _mish_slope(x: Tensor, y: Tensor) -> Tensor:
    bent = torch.tanh(F.softplus(x))
    return bent + x * torch.sigmoid(x) * (1 - bent * bent)


class Gelu(Smooth):
    """x Phi(x), or its form with tanh."""

    exact = ramp(
        F.gelu,
        _gelu_slope,
        (-1.4142135623730950488, 1.4142135623730950488),
        (-0.75179152469356445746, -0.16997120747990366169),
    )
    approximate = ramp(
        _gelu_tanh,
        _gelu_tanh_slope,
        (-1.4185040087908283555, 1.4185040087908283555),
        (-0.75246142207101625849, -0.17004075057125405064),
    )

    def check(self, node: Node) -> None:
        if self.form(node) not in ("none", "tanh"):
            raise UnsupportedOpError(
                f"gelu with approximate={self.form(node)!r} has no rule",
                where=f"node {node.name}",
                cure="use 'none' or 'tanh'",
            )

    def form(self, node: Node) -> str:
        """Which formula: 'none' or 'tanh'."""
        return str(node.argument(1, "approximate", "none"))

    def shape(self, node: Node) -> Shape:
        return self.approximate if self.form(node) == "tanh" else self.exact


register(aten.gelu.default)(Gelu())
register(aten.silu.default)(
    Curve(
        ramp(
            F.silu,
            _silu_slope,
            (-2.3993572805154676678, 2.3993572805154676678),
            (-1.2784645427610737951, -0.27846454276107379511),
        )
    )
)
register(aten.mish.default)(
    Curve(
        ramp(
            F.mish,
            _mish_slope,
            (-2.25637639636079312, 1.4905711794854284593),
            (-1.1924312145154952121, -0.30884341301725040663),
        )
    )
)

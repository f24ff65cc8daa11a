"""Functions of one number: the slope carries the input's error, the library adds a few roundings.

torch documents no error of its functions: the constants are assumptions, 8 u, and 16 u for powers and
functions of several steps. docs/arithmetic.md tells what was sampled. The CUDA programming guide states at
most 2 units in the last place (4 u) for most functions and 4 for powers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ...graph import Node, Slot
from ...interval import Interval
from ...rule import Elementwise, find_rule
from ..rule import Rounding, Step, register_rounding, upward

__all__ = ["Pointwise", "by_argument", "by_one", "by_value"]

aten = torch.ops.aten

Scale = Callable[[Tensor, Tensor], Tensor]
"""What the library's error is relative to, from the largest |x| and the largest |f(x)|."""

_SLOPE_SLACK = 2.0**-36  # absolute rounding of slopes that float64 computes near zero
_ROOM = 16  # a function may pass through this multiple of its result and overflow


def by_value(x: Tensor, y: Tensor) -> Tensor:
    """The function's own size."""
    return y


def by_one(x: Tensor, y: Tensor) -> Tensor:
    """The function's size, at least one: where an intermediate result is of that size."""
    return y.clamp(min=1)


def by_argument(x: Tensor, y: Tensor) -> Tensor:
    """The larger of argument, value and one: gates, which multiply the argument."""
    return torch.maximum(x, y).clamp(min=1)


_RANGES: dict[Callable[..., Any], tuple[float, float]] = {
    **dict.fromkeys((aten.sigmoid.default, aten.special_expit.default, aten.hardsigmoid.default), (0.0, 1.0)),
    **dict.fromkeys((aten.tanh.default, aten.erf.default, aten.special_erf.default), (-1.0, 1.0)),
    **dict.fromkeys((aten.sin.default, aten.cos.default), (-1.0, 1.0)),
    **dict.fromkeys((aten.exp.default, aten.exp2.default, aten.special_exp2.default), (0.0, math.inf)),
    aten.square.default: (0.0, math.inf),
    aten.softplus.default: (0.0, math.inf),
    aten.log_sigmoid.default: (-math.inf, 0.0),
}
"""Of exact values. Functions that are not defined everywhere have none: NaN is no bound."""


class Pointwise(Rounding):
    """`ulps` u relative to `scale`, and the slope's range over the widened box from the bound rule."""

    def __init__(self, ulps: float, scale: Scale = by_value) -> None:
        self.ulps, self.scale = ulps, scale

    def check(self, node: Node) -> None:
        if not isinstance(find_rule(node), Elementwise) or not isinstance(node.args[0], Slot):
            raise UnsupportedOpError(
                f"no bound of the rounding errors of {node.op} with these arguments",
                where=f"node {node.name}",
                cure="use arithmetic='real'",
            )

    def error(self, node: Node, step: Step) -> Tensor:
        rule, wide, kind = find_rule(node), step.wide()[0], step.format
        assert isinstance(rule, Elementwise)  # see `check`
        slopes = rule.derivative(node, wide)
        steepest = upward(torch.maximum(slopes.lower.abs(), slopes.upper.abs())) + _SLOPE_SLACK
        values = rule.interval(node, wide)
        y = upward(torch.maximum(values.lower.abs(), values.upper.abs()))
        x = step.sizes()[0]
        own = self.ulps * kind.unit * self.factor(node) * self.scale(x, y) + 2 * kind.tiny
        bad = torch.maximum(x, y) * _ROOM >= kind.largest
        return upward(torch.where(bad, torch.inf, steepest * step.arriving()[0] + own))

    def range(self, node: Node) -> tuple[float, float]:
        return _RANGES.get(node.op, (-math.inf, math.inf)) if node.op is not None else (-math.inf, math.inf)

    def factor(self, node: Node) -> float:
        """A number of the node's that multiplies intermediate results, at least one."""
        return 1.0


class Scaled(Pointwise):
    """With a factor at the argument `place`: elu, celu."""

    def factor(self, node: Node) -> float:
        return max(1.0, abs(float(node.argument(1, "alpha", 1))))


class Nonexpansive(Rounding):
    """relu, |x|: slopes within [-1, 1] and no rounding."""

    exact = True

    def error(self, node: Node, step: Step) -> Tensor:
        return upward(step.arriving()[0])


class Clipped(Rounding):
    """clamp and hardtanh: slopes within [0, 1], and bounds that may be rounded to the format."""

    def check(self, node: Node) -> None:
        if len(node.inputs) != 1:
            raise UnsupportedOpError(
                f"no bound of the rounding errors of {node.op} by bounds that depend on the input",
                where=f"node {node.name}",
                cure="use arithmetic='real'",
            )

    def error(self, node: Node, step: Step) -> Tensor:
        shape = step.boxes[0].lower.shape[:1] + torch.Size(node.shape)
        arriving = step.arriving()[0].expand(shape)
        # a bound matters where the argument gets past it, so it is no larger than that
        return upward(arriving + 4 * step.format.unit * step.sizes()[0] + step.format.tiny)

    def enclose(self, node: Node, boxes: tuple[Interval, ...]) -> Interval:  # type: ignore[override]
        return find_rule(node).interval(node, *boxes)


register_rounding(aten.relu.default, aten.abs.default, aten.relu6.default)(Nonexpansive())
register_rounding(
    aten.hardtanh.default,
    aten.clamp.default,
    aten.clip.default,
    aten.clamp_min.default,
    aten.clamp_max.default,
)(Clipped())
register_rounding(aten.leaky_relu.default, aten.prelu.default)(Pointwise(8))
register_rounding(aten.sigmoid.default, aten.special_expit.default, aten.tanh.default)(Pointwise(8))
register_rounding(aten.erf.default, aten.special_erf.default)(Pointwise(8))
register_rounding(aten.atan.default, aten.arctan.default, aten.asinh.default, aten.arcsinh.default)(
    Pointwise(8)
)
register_rounding(aten.exp.default, aten.exp2.default, aten.special_exp2.default)(Pointwise(8))
register_rounding(aten.expm1.default, aten.special_expm1.default)(Pointwise(8))
register_rounding(aten.log.default, aten.log2.default, aten.log10.default, aten.log1p.default)(
    Pointwise(8, by_one)
)
register_rounding(aten.sqrt.default, aten.rsqrt.default, aten.reciprocal.default)(Pointwise(8))
register_rounding(aten.square.default)(Pointwise(8))
register_rounding(aten.pow.Tensor_Scalar)(Pointwise(16))
register_rounding(aten.softplus.default, aten.log_sigmoid.default)(Pointwise(16, by_one))
register_rounding(aten.gelu.default, aten.silu.default, aten.mish.default)(Pointwise(16, by_argument))
register_rounding(aten.elu.default, aten.celu.default)(Scaled(8, by_argument))
register_rounding(aten.selu.default)(Pointwise(16, by_argument))
register_rounding(aten.hardsigmoid.default)(Pointwise(16, by_one))
register_rounding(aten.hardswish.default)(Pointwise(16, by_argument))
register_rounding(aten.sin.default, aten.cos.default)(Pointwise(8, by_one))

"""Exponential functions, logarithms and what is made of them: convex or concave throughout, or odd.

Below a convex function the tangent, above it the chord (Zhang et al. 2018, arXiv 1811.00866).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node, Slot
from ..interval import Interval
from ..rule import Lines, register
from .contact import Everywhere, Function, Nowhere, Slope, concave_then_convex
from .curves import Curve, Shape, Smooth

aten = torch.ops.aten
inf = math.inf


def exponential(base: float) -> Shape:
    """base ** x."""
    rate = math.log(base)

    def value(x: Tensor) -> Tensor:
        return torch.pow(base, x)

    return Shape(value, lambda x, y: rate * y, Everywhere(), Nowhere(), rising=rate >= 0, steep=True)


def logarithm(value: Function, rate: float = 1.0, origin: float = 0.0) -> Curve:
    """A logarithm whose slope is rate / (x - origin)."""

    def slope(x: Tensor, y: Tensor) -> Tensor:
        return rate / (x - origin)

    return Curve(Shape(value, slope, Nowhere(), Everywhere(), steep=True, edges=(origin, inf)))


class Exponential(Smooth):
    """c ** x for a constant number c > 0."""

    parameters = 1

    def check(self, node: Node) -> None:
        base = node.args[0]
        if isinstance(base, (Slot, Tensor)) or not float(base) > 0:
            raise UnsupportedOpError(
                f"{node.op} of the base {base} has no rule",
                where=f"node {node.name}",
                cure="the base must be a positive number",
            )

    def shape(self, node: Node) -> Shape:
        return _exponential(float(node.args[0]))


_exponential = lru_cache(maxsize=64)(exponential)


class Softplus(Smooth):
    """log(1 + exp(beta x)) / beta, which torch replaces by x where beta x > threshold.

    The lines are those of the function without the replacement, which is less by `gap` at most.
    """

    parameters = 1

    def check(self, node: Node) -> None:
        beta, _ = self.settings(node)
        if not beta > 0:
            raise UnsupportedOpError(
                f"softplus with beta {beta} has no rule",
                where=f"node {node.name}",
                cure="beta must be positive",
            )

    def settings(self, node: Node) -> tuple[float, float]:
        """beta, and the x from which on the function is x."""
        beta = float(node.argument(1, "beta", 1))
        return beta, float(node.argument(2, "threshold", 20)) / beta

    def shape(self, node: Node) -> Shape:
        return _softplus(self.settings(node)[0])

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        beta, switch = self.settings(node)
        low, high = inputs[0].lower, inputs[0].upper
        f_low, f_high = node.run(low), node.run(high)
        crossing = (low <= switch) & (switch < high)  # where the function drops from `top` to `switch`
        top = float(_softplus(beta).value(torch.tensor(switch, dtype=torch.float64)))
        return Interval(
            torch.where(crossing, f_low.clamp(max=switch), f_low),
            torch.where(crossing, f_high.clamp(min=top), f_high),
        )

    def lines(self, node: Node, box: Interval, free: Sequence[Tensor] = ()) -> Lines:
        lines = super().lines(node, box, free)
        beta, switch = self.settings(node)
        gap = math.log1p(math.exp(-beta * switch)) / beta
        beyond = box.lower > switch
        assert lines.lower_offset is not None and lines.upper_offset is not None
        zero = torch.zeros_like(lines.lower_offset)
        return Lines(
            torch.where(beyond, zero + 1, lines.lower_slope),
            torch.where(beyond, torch.ones_like(lines.upper_slope), lines.upper_slope),
            torch.where(beyond, zero, lines.lower_offset - gap * (box.upper > switch).to(zero.dtype)),
            torch.where(beyond, torch.zeros_like(lines.upper_offset), lines.upper_offset),
        )

    def derivative(self, node: Node, box: Interval) -> Interval:
        slopes, (beta, switch) = super().derivative(node, box), self.settings(node)
        beyond, reaching = box.lower > switch, box.upper > switch
        drops = math.log1p(math.exp(-beta * switch)) / beta > torch.finfo(box.lower.dtype).eps * abs(switch)
        least = torch.where(reaching, -inf, slopes.lower) if drops else slopes.lower  # a jump
        one = torch.ones_like(slopes.upper)
        return Interval(torch.where(beyond, one, least), torch.where(reaching, one, slopes.upper))


@lru_cache(maxsize=64)
def _softplus(beta: float) -> Shape:
    def value(x: Tensor) -> Tensor:
        return F.logsigmoid(-beta * x) / -beta

    def slope(x: Tensor, y: Tensor) -> Tensor:
        return torch.sigmoid(beta * x)

    return Shape(value, slope, Everywhere(), Nowhere())


def _log_sigmoid_slope(x: Tensor, y: Tensor) -> Tensor:
    return torch.sigmoid(-x)


def _cosh_slope(x: Tensor, y: Tensor) -> Tensor:
    return torch.sinh(x)


def _sinh_slope(x: Tensor, y: Tensor) -> Tensor:
    return torch.cosh(x)


def _convex(value: Function, slope: Slope) -> Curve:
    return Curve(Shape(value, slope, Everywhere(), Nowhere(), steep=True))


register(aten.exp.default)(_convex(torch.exp, lambda x, y: y))
register(aten.exp2.default, aten.special_exp2.default)(_convex(torch.exp2, lambda x, y: math.log(2) * y))
register(aten.expm1.default, aten.special_expm1.default)(_convex(torch.expm1, lambda x, y: y + 1))
register(aten.pow.Scalar)(Exponential())
register(aten.log.default)(logarithm(torch.log))
register(aten.log2.default)(logarithm(torch.log2, 1 / math.log(2)))
register(aten.log10.default)(logarithm(torch.log10, 1 / math.log(10)))
register(aten.log1p.default, aten.special_log1p.default)(logarithm(torch.log1p, origin=-1.0))
register(aten.softplus.default)(Softplus())
register(aten.log_sigmoid.default)(Curve(Shape(F.logsigmoid, _log_sigmoid_slope, Nowhere(), Everywhere())))
register(aten.cosh.default)(
    Curve(Shape(torch.cosh, _cosh_slope, Everywhere(), Nowhere(), rising=None, lowest=(0.0, 1.0), steep=True))
)
register(aten.sinh.default)(
    Curve(
        Shape(
            torch.sinh,
            _sinh_slope,
            *concave_then_convex(torch.sinh, _sinh_slope),
            dip=(0.0, 1.0),
            steep=True,
        )
    )
)

"""Sine, cosine, tangent and the inverse functions that have a finite domain."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node
from ..interval import Interval
from ..rule import Lines, register
from .contact import Between, Contact, Function, Moving, Slope, concave_then_convex, convex_then_concave
from .curves import Curve, Shape, Smooth

aten = torch.ops.aten

_TURN = 2 * math.pi


def _negative_cos(x: Tensor) -> Tensor:
    return -torch.cos(x)


def _negative_cos_slope(x: Tensor, y: Tensor) -> Tensor:
    return torch.sin(x)


def _hollow(centre: float) -> Moving:
    """Where a line may touch a wave in its troughs, of which one is at `centre`; peaks are the same."""
    left, right = (
        Contact(_negative_cos, _negative_cos_slope, bend, leftward=bend > 0, convex=True, reach=math.pi)
        for bend in (-math.pi / 2, math.pi / 2)
    )
    return Moving(Between(left, right), centre, _TURN)


class Wave(Smooth):
    """cos(x - peak). Boxes of a whole turn, or so far out that rounding blurs the phase, get flat lines."""

    def __init__(self, value: Function, slope: Function, peak: float) -> None:
        self.peak = peak
        self.slope = slope
        self._shape = Shape(value, lambda x, y: slope(x), _hollow(peak - math.pi), _hollow(peak))

    def shape(self, node: Node) -> Shape:
        return self._shape

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        return _range(self._shape.value, self.peak, inputs[0])

    def derivative(self, node: Node, box: Interval) -> Interval:
        return _range(self.slope, self.peak - math.pi / 2, box)

    def lines(self, node: Node, box: Interval, free: Sequence[Tensor] = ()) -> Lines:
        ends = self._shape.ends(box, self.derivative(node, box))
        lower = self._shape.line(ends, below=True, free=free[0] if free else None)
        upper = self._shape.line(ends, below=False, free=free[1] if free else None)
        far = (
            torch.maximum(box.lower.abs(), box.upper.abs()) > 0.25 * torch.finfo(box.lower.dtype).eps ** -0.5
        )
        flat = far | (box.upper - box.lower >= _TURN)
        height = self.interval(node, box)
        return Lines(
            lower[0].masked_fill(flat, 0),
            upper[0].masked_fill(flat, 0),
            torch.where(flat, height.lower, lower[1]),
            torch.where(flat, height.upper, upper[1]),
        )


def _range(function: Function, peak: float, box: Interval) -> Interval:
    """The range of cos(x - peak) over the box."""
    one, other = function(box.lower), function(box.upper)
    least = torch.where(_contains(box, peak - math.pi), -1, torch.minimum(one, other))
    return Interval(least, torch.where(_contains(box, peak), 1, torch.maximum(one, other)))


def _contains(box: Interval, point: float) -> Tensor:
    """Whether the box contains `point` plus whole turns, with a margin for rounding; points never do."""
    margin = (4 * torch.finfo(box.lower.dtype).eps) * torch.maximum(box.lower.abs(), box.upper.abs())
    turns = torch.ceil((box.lower - margin - point) / _TURN)
    return (box.lower < box.upper) & (point + _TURN * turns <= box.upper + margin)


def _tan_slope(x: Tensor, y: Tensor) -> Tensor:
    return 1 + y * y


class Tan(Smooth):
    """tan x within one branch; boxes that meet a pole are refused: infinite intervals, no lines."""

    def __init__(self) -> None:
        below, above = (
            Moving(side, 0.0, math.pi)
            for side in concave_then_convex(torch.tan, _tan_slope, reach=math.pi / 2)
        )
        self._shape = Shape(torch.tan, _tan_slope, below, above, steep=True)

    def shape(self, node: Node) -> Shape:
        return self._shape

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        low, high = torch.tan(inputs[0].lower), torch.tan(inputs[0].upper)
        pole = self.pole(inputs[0])
        return Interval(torch.where(pole, -math.inf, low), torch.where(pole, math.inf, high))

    def pole(self, box: Interval) -> Tensor:
        """Whether the box may contain a pole; points never do."""
        turns = (torch.lerp(box.lower, box.upper, 0.5) / math.pi).round()
        left, right = (turns - 0.5) * math.pi, (turns + 0.5) * math.pi
        outside = (box.lower < left) | (box.upper > right) | (torch.tan(box.lower) > torch.tan(box.upper))
        return outside & (box.lower < box.upper)

    def derivative(self, node: Node, box: Interval) -> Interval:
        at_low, at_high = (_tan_slope(x, torch.tan(x)) for x in (box.lower, box.upper))
        least = torch.where(
            torch.tan(box.lower) * torch.tan(box.upper) <= 0, 1, torch.minimum(at_low, at_high)
        )
        return Interval(least, torch.where(self.pole(box), math.inf, torch.maximum(at_low, at_high)))

    def lines(self, node: Node, box: Interval, free: Sequence[Tensor] = ()) -> Lines:
        ends = self._shape.ends(box, self.derivative(node, box))
        pole = self.pole(box)
        lower, upper = (
            tuple(t.masked_fill(pole, math.nan) for t in self._shape.line(ends, below=below, free=part))
            for below, part in ((True, free[0] if free else None), (False, free[1] if free else None))
        )
        return Lines(lower[0], upper[0], lower[1], upper[1])


def _asin_slope(x: Tensor, y: Tensor) -> Tensor:
    return torch.rsqrt(((1 - x) * (1 + x)).clamp(min=torch.finfo(x.dtype).tiny))


def _acos_slope(x: Tensor, y: Tensor) -> Tensor:
    return -_asin_slope(x, y)


def _atanh_slope(x: Tensor, y: Tensor) -> Tensor:
    return 1 / ((1 - x) * (1 + x))


def _bounded(value: Function, slope: Slope, at_zero: float) -> Curve:
    """The rule of an odd function on [-1, 1] that grows ever steeper, or of minus one."""
    sides = (concave_then_convex if at_zero > 0 else convex_then_concave)(value, slope, reach=1.0)
    bend = (0.0, at_zero)
    peak, dip = (None, bend) if at_zero > 0 else (bend, None)
    return Curve(Shape(value, slope, *sides, peak, dip, rising=at_zero > 0, steep=True, edges=(-1.0, 1.0)))


def _erfinv_slope(x: Tensor, y: Tensor) -> Tensor:
    return torch.exp(y * y) * (math.sqrt(math.pi) / 2)


def _logit_slope(x: Tensor, y: Tensor) -> Tensor:
    return 1 / (x * (1 - x))


class Logit(Curve):
    """log(x / (1 - x)), without a clamp."""

    def check(self, node: Node) -> None:
        if node.argument(1, "eps") is not None:
            raise UnsupportedOpError(
                "logit with eps has no rule", where=f"node {node.name}", cure="clamp its input instead"
            )


register(aten.logit.default, aten.special_logit.default)(
    Logit(
        Shape(
            torch.logit,
            _logit_slope,
            *concave_then_convex(torch.logit, _logit_slope, 0.5, 0.5),
            dip=(0.5, 4.0),
            steep=True,
            edges=(0.0, 1.0),
        )
    )
)
register(aten.sin.default)(Wave(torch.sin, torch.cos, math.pi / 2))
register(aten.cos.default)(Wave(torch.cos, lambda x: -torch.sin(x), 0.0))
register(aten.tan.default)(Tan())
register(aten.asin.default, aten.arcsin.default)(_bounded(torch.asin, _asin_slope, 1.0))
register(aten.acos.default, aten.arccos.default)(_bounded(torch.acos, _acos_slope, -1.0))
register(aten.atanh.default, aten.arctanh.default)(_bounded(torch.atanh, _atanh_slope, 1.0))
register(aten.erfinv.default, aten.special_erfinv.default)(
    _bounded(torch.erfinv, _erfinv_slope, math.sqrt(math.pi) / 2)
)

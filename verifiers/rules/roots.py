"""Powers with a constant exponent: roots, squares, reciprocals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Computed, Node, Slot
from ..interval import Interval
from ..rule import Lines, register
from .contact import Everywhere, Left, Nowhere, Right
from .curves import Curve, Shape, Smooth

aten = torch.ops.aten
inf = math.inf


class Power(Smooth):
    """x ** e for a constant number e: on x >= 0 where e is no integer, on x != 0 where e < 0.

    Negative integers have a pole at zero: a box that contains it is refused (infinite interval, no lines);
    on the negative side the function mirrors the positive one. Nothing is free where e is 0 or 1.
    """

    def check(self, node: Node) -> None:
        exponent = self.given(node)
        if (
            isinstance(exponent, Tensor)
            and exponent.numel()
            and bool((exponent == exponent.flatten()[0]).all())
        ):
            return
        if isinstance(exponent, (Slot, Tensor)) or not isinstance(node.args[0], Slot):
            raise UnsupportedOpError(
                f"{node.op} has a rule for one constant exponent only",
                where=f"node {node.name}",
                cure="raise to a number, or write exp(y * log(x))",
            )

    def given(self, node: Node) -> Any:
        """The exponent as the node has it: a number, a tensor or an input."""
        given = node.args[1]
        return given.value() if isinstance(given, Computed) else given

    def exponent(self, node: Node) -> float:
        """The exponent as a number."""
        given = self.given(node)
        return float(given.flatten()[0]) if isinstance(given, Tensor) else float(given)

    def shape(self, node: Node) -> Shape:
        return power(self.exponent(node))

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        box, exponent = inputs[0], self.exponent(node)
        if not _has_pole(exponent):
            return super().interval(node, box)
        ends = node.run(box.lower), node.run(box.upper)
        pole = (box.lower <= 0) & (box.upper >= 0)
        least, most = torch.minimum(*ends), torch.maximum(*ends)
        return Interval(torch.where(pole, -inf, least), torch.where(pole, inf, most))

    def derivative(self, node: Node, box: Interval) -> Interval:
        slopes = super().derivative(node, box)
        if not _has_pole(self.exponent(node)):
            return slopes
        pole = (box.lower <= 0) & (box.upper >= 0)
        return Interval(torch.where(pole, -inf, slopes.lower), torch.where(pole, inf, slopes.upper))

    def lines(self, node: Node, box: Interval, free: Sequence[Tensor] = ()) -> Lines:
        exponent = self.exponent(node)
        if not _has_pole(exponent):
            return super().lines(node, box, free)
        right, flipped = super().lines(node, _right_of_zero(box), free), box.upper < 0
        outside = ~(flipped | (box.lower > 0))
        assert right.lower_offset is not None and right.upper_offset is not None
        low, high = (right.lower_slope, right.lower_offset), (right.upper_slope, right.upper_offset)
        if exponent % 2:  # f(-x) = -f(x): the lines change sides, and their offsets sign
            left = (high[0], -high[1]), (low[0], -low[1])
        else:  # f(-x) = f(x)
            left = (-low[0], low[1]), (-high[0], high[1])
        picked = [
            torch.where(flipped, m, r).masked_fill(outside, math.nan)
            for mirrored, line in zip(left, (low, high), strict=True)
            for m, r in zip(mirrored, line, strict=True)
        ]
        return Lines(picked[0], picked[2], picked[1], picked[3])

    def first(self, node: Node, box: Interval) -> tuple[Tensor, ...]:
        return super().first(node, _right_of_zero(box) if _has_pole(self.exponent(node)) else box)


class Reciprocal(Power):
    """1 / x."""

    def check(self, node: Node) -> None:
        """Any argument is one tensor."""

    def given(self, node: Node) -> float:
        return -1.0


def _has_pole(exponent: float) -> bool:
    return exponent < 0 and exponent == int(exponent)


def _right_of_zero(box: Interval) -> Interval:
    left = box.upper < 0
    return Interval(torch.where(left, -box.upper, box.lower), torch.where(left, -box.lower, box.upper))


@lru_cache(maxsize=256)
def power(exponent: float) -> Shape:
    """The shape of x ** exponent; on x > 0 only where the exponent is negative."""

    def value(x: Tensor) -> Tensor:
        return torch.pow(x, exponent)

    def slope(x: Tensor, y: Tensor) -> Tensor:
        if 0 < exponent < 1:
            x = x.clamp(min=torch.finfo(x.dtype).tiny)  # finite at zero
        return exponent * torch.pow(x, exponent - 1)

    whole = exponent == int(exponent)
    if exponent in (0, 1):
        value = _identity if exponent else _one
        return Shape(value, lambda x, y: torch.full_like(x, exponent), Nowhere(), Nowhere())
    if 0 < exponent < 1:
        return Shape(value, slope, Nowhere(), Everywhere(), steep=True, edges=(0.0, inf))
    if exponent < 0:
        return Shape(value, slope, Everywhere(), Nowhere(), rising=False, steep=True, edges=(0.0, inf))
    if whole and exponent % 2 == 0:
        return Shape(value, slope, Everywhere(), Nowhere(), rising=None, steep=True)
    if not whole:
        return Shape(value, slope, Everywhere(), Nowhere(), steep=True)
    ratio = _ratio(int(exponent))
    sides = Right(0.0, lambda x: -ratio * x), Left(0.0, lambda x: -ratio * x)
    return Shape(value, slope, *sides, dip=(0.0, 0.0), steep=True)


def _identity(x: Tensor) -> Tensor:
    return x


def _one(x: Tensor) -> Tensor:
    return 0 * x + 1  # torch has nan ** 0 = 1


def _ratio(n: int) -> float:
    """The tangent of x ** n (n odd) through -1 touches at this point: (n - 1) r^n + n r^(n - 1) = 1."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        below = (n - 1) * middle**n + n * middle ** (n - 1) < 1
        low, high = (middle, high) if below else (low, middle)
    return high


def _sqrt_slope(x: Tensor, y: Tensor) -> Tensor:
    return 0.5 / y.clamp(min=torch.finfo(y.dtype).tiny ** 0.5)


def _rsqrt_slope(x: Tensor, y: Tensor) -> Tensor:
    return -0.5 * y * y * y


def _square_slope(x: Tensor, y: Tensor) -> Tensor:
    return 2 * x


register(aten.pow.Tensor_Scalar, aten.pow.Tensor_Tensor)(Power())
register(aten.reciprocal.default)(Reciprocal())
register(aten.square.default)(
    Curve(Shape(torch.square, _square_slope, Everywhere(), Nowhere(), rising=None, steep=True))
)
register(aten.sqrt.default)(
    Curve(Shape(torch.sqrt, _sqrt_slope, Nowhere(), Everywhere(), steep=True, edges=(0.0, inf)))
)
register(aten.rsqrt.default)(
    Curve(
        Shape(torch.rsqrt, _rsqrt_slope, Everywhere(), Nowhere(), rising=False, steep=True, edges=(0.0, inf))
    )
)

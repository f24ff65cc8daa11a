"""Derivatives of functions of one number, smooth ones and ones with kinks, and of softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .dual import Dual, primal, refused, rule, wide
from .jump import slope_of_relu

Function = Callable[..., Any]


def _smooth(*functions: Function) -> Callable[[Callable[[Tensor, Tensor], Tensor]], None]:
    """Enter the derivative of smooth functions: a function of the argument and of the value."""

    def enter(slope: Callable[[Tensor, Tensor], Tensor]) -> None:
        def apply(function: Function, of: Dual) -> Dual:
            value = function(of.value)
            return Dual(value, slope(of.value, value) * of.tangent)

        rule(*functions)(apply)

    return enter


_smooth(torch.tanh, Tensor.tanh, F.tanh)(lambda x, y: 1 - y * y)
_smooth(torch.sigmoid, Tensor.sigmoid, F.sigmoid)(lambda x, y: y * (1 - y))
_smooth(torch.exp, Tensor.exp)(lambda x, y: y)
_smooth(torch.log, Tensor.log)(lambda x, y: 1 / x)
_smooth(torch.sin, Tensor.sin)(lambda x, y: torch.cos(x))
_smooth(torch.cos, Tensor.cos)(lambda x, y: -torch.sin(x))
_smooth(torch.square, Tensor.square)(lambda x, y: 2 * x)


@rule(torch.pow, Tensor.pow, Tensor.__pow__)
def _power(function: Function, of: object, exponent: object) -> Dual:
    whole = isinstance(exponent, int) or (isinstance(exponent, float) and exponent.is_integer())
    if not isinstance(of, Dual) or not whole or float(str(exponent)) < 1:
        raise refused("a power that is no whole number from 1")
    n = int(float(str(exponent)))
    slope = torch.ones_like(of.value) if n == 1 else n * of.value ** (n - 1)
    return Dual(function(of.value, exponent), slope * of.tangent)


@rule(F.relu, torch.relu, Tensor.relu)
def _relu(function: Function, of: Dual, inplace: bool = False) -> Dual:
    _not_in_place(inplace)
    return Dual(function(of.value), slope_of_relu(of.value) * of.tangent)


@rule(F.leaky_relu)
def _leaky_relu(function: Function, of: Dual, negative_slope: float = 0.01, inplace: bool = False) -> Dual:
    _not_in_place(inplace)
    slope = negative_slope + (1 - negative_slope) * slope_of_relu(of.value)
    return Dual(function(of.value, negative_slope), slope * of.tangent)


@rule(torch.abs, Tensor.abs, Tensor.__abs__)
def _abs(function: Function, of: Dual) -> Dual:
    return Dual(function(of.value), (2 * slope_of_relu(of.value) - 1) * of.tangent)


@rule(torch.maximum, torch.minimum, Tensor.maximum, Tensor.minimum)
def _extremum(function: Function, left: object, right: object) -> Dual:
    a, b = primal(left), primal(right)
    step = slope_of_relu(a - b if function in (torch.maximum, Tensor.maximum) else b - a)
    parts = [step * wide(left)] if isinstance(left, Dual) else []
    parts += [(1 - step) * wide(right)] if isinstance(right, Dual) else []
    return Dual(function(a, b), parts[0] if len(parts) == 1 else parts[0] + parts[1])


@rule(torch.softmax, F.softmax, Tensor.softmax)
def _softmax(function: Function, of: Dual, dim: int, *_: Any, **__: Any) -> Dual:
    p = of.value.softmax(dim)
    return Dual(p, p * (wide(of) - (p * wide(of)).sum(dim, keepdim=True)))


@rule(torch.log_softmax, F.log_softmax, Tensor.log_softmax)
def _log_softmax(function: Function, of: Dual, dim: int, *_: Any, **__: Any) -> Dual:
    p = of.value.softmax(dim)
    return Dual(of.value.log_softmax(dim), wide(of) - (p * wide(of)).sum(dim, keepdim=True))


def _not_in_place(inplace: bool) -> None:
    if inplace:
        raise refused("an operation in place")

"""Increasing functions that are convex below zero and concave above: sigmoid, tanh, erf, arctan, asinh.

The chord on the side where the curve bends away from it, a tangent on the other (Zhang et al. 2018, arXiv
1811.00866, table 2); on boxes around zero a tangent that stays on its side up to the far end.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..rule import register
from .contact import Function, Slope, convex_then_concave
from .curves import Curve, Shape

aten = torch.ops.aten


def s_shaped(value: Function, slope: Slope) -> Curve:
    """The rule of a function that is steepest at zero."""
    zero = torch.zeros((), dtype=torch.float64)
    steepest = float(slope(zero, value(zero)))
    return Curve(Shape(value, slope, *convex_then_concave(value, slope), peak=(0.0, steepest)))


def _sigmoid_slope(x: Tensor, value: Tensor) -> Tensor:
    return value * (1 - value)


def _tanh_slope(x: Tensor, value: Tensor) -> Tensor:
    return 1 - value * value


def _erf_slope(x: Tensor, value: Tensor) -> Tensor:
    return torch.exp(-x * x) * (2 / math.sqrt(math.pi))


def _normal_slope(x: Tensor, value: Tensor) -> Tensor:
    return torch.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))


def _arctan_slope(x: Tensor, value: Tensor) -> Tensor:
    return 1 / (1 + x * x)


def _asinh_slope(x: Tensor, value: Tensor) -> Tensor:
    return torch.rsqrt(1 + x * x)


register(aten.sigmoid.default, aten.special_expit.default)(s_shaped(torch.sigmoid, _sigmoid_slope))
register(aten.tanh.default)(s_shaped(torch.tanh, _tanh_slope))
register(aten.erf.default, aten.special_erf.default)(s_shaped(torch.erf, _erf_slope))
register(aten.special_ndtr.default)(s_shaped(torch.special.ndtr, _normal_slope))
register(aten.atan.default, aten.arctan.default)(s_shaped(torch.atan, _arctan_slope))
register(aten.asinh.default, aten.arcsinh.default)(s_shaped(torch.asinh, _asinh_slope))

"""Functions of one tensor, coordinate by coordinate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from ..operation import Operation
from ..registry import CONVERTERS, converter
from ..value import Value

__all__: list[str] = []

aten = torch.ops.aten

_PLAIN: dict[str, Callable[..., Any]] = {
    "Abs": aten.abs.default,
    "Acos": aten.acos.default,
    "Acosh": aten.acosh.default,
    "Asin": aten.asin.default,
    "Asinh": aten.asinh.default,
    "Atan": aten.atan.default,
    "Atanh": aten.atanh.default,
    "Ceil": aten.ceil.default,
    "Cos": aten.cos.default,
    "Cosh": aten.cosh.default,
    "Erf": aten.erf.default,
    "Exp": aten.exp.default,
    "Floor": aten.floor.default,
    "HardSwish": aten.hardswish.default,
    "IsNaN": aten.isnan.default,
    "Log": aten.log.default,
    "Mish": aten.mish.default,
    "Neg": aten.neg.default,
    "Reciprocal": aten.reciprocal.default,
    "Relu": aten.relu.default,
    "Round": aten.round.default,
    "Sigmoid": aten.sigmoid.default,
    "Sign": aten.sign.default,
    "Sin": aten.sin.default,
    "Sinh": aten.sinh.default,
    "Softplus": aten.softplus.default,
    "Sqrt": aten.sqrt.default,
    "Tan": aten.tan.default,
    "Tanh": aten.tanh.default,
}


def _plain(target: Callable[..., Any]) -> Callable[[Operation], Value]:
    def convert(op: Operation) -> Value:
        return _apply(op, target)

    return convert


CONVERTERS.update({kind: _plain(target) for kind, target in _PLAIN.items()})


def _apply(op: Operation, target: Callable[..., Any], *rest: Any) -> Value:
    value = op.value()
    return op.add(target, value, *rest, leading=value.leading)


@converter("LeakyRelu")
def _leaky_relu(op: Operation) -> Value:
    return _apply(op, aten.leaky_relu.default, op.number("alpha", 0.01))


@converter("Elu")
def _elu(op: Operation) -> Value:
    return _apply(op, aten.elu.default, op.number("alpha", 1.0))


@converter("Selu")
def _selu(op: Operation) -> Value:
    """gamma * (alpha * exp(x) - alpha) below zero, gamma * x above."""
    alpha = op.number("alpha", 1.67326319217681884765625)
    gamma = op.number("gamma", 1.05070102214813232421875)
    return _apply(op, aten.elu.default, alpha, gamma)


@converter("Celu")
def _celu(op: Operation) -> Value:
    return _apply(op, aten.celu.default, op.number("alpha", 1.0))


@converter("ThresholdedRelu")
def _thresholded_relu(op: Operation) -> Value:
    return _apply(op, aten.threshold.default, op.number("alpha", 1.0), 0.0)


@converter("Gelu")
def _gelu(op: Operation) -> Value:
    value = op.value()
    if op.text("approximate", "none") != "tanh":
        return op.add(aten.gelu.default, value, leading=value.leading)
    inner = op.add(aten.pow.Tensor_Scalar, value, 3.0, leading=value.leading)
    inner = op.add(aten.mul.Tensor, inner, op.scalar(0.044715), leading=value.leading)
    inner = op.add(aten.add.Tensor, value, inner, leading=value.leading)
    inner = op.add(aten.mul.Tensor, inner, op.scalar(math.sqrt(2 / math.pi)), leading=value.leading)
    inner = op.add(aten.tanh.default, inner, leading=value.leading)
    inner = op.add(aten.add.Tensor, inner, op.scalar(1.0), leading=value.leading)
    half = op.add(aten.mul.Tensor, value, op.scalar(0.5), leading=value.leading)
    return op.add(aten.mul.Tensor, half, inner, leading=value.leading)


@converter("HardSigmoid")
def _hard_sigmoid(op: Operation) -> Value:
    """max(0, min(1, alpha x + beta))."""
    value = op.value()
    line = op.add(aten.mul.Tensor, value, op.scalar(op.number("alpha", 0.2)), leading=value.leading)
    line = op.add(aten.add.Tensor, line, op.scalar(op.number("beta", 0.5)), leading=value.leading)
    return op.add(aten.clamp.default, line, 0.0, 1.0, leading=value.leading)


@converter("Softsign")
def _softsign(op: Operation) -> Value:
    """x / (1 + |x|)."""
    value = op.value()
    size = op.add(aten.abs.default, value, leading=value.leading)
    size = op.add(aten.add.Tensor, size, op.scalar(1.0), leading=value.leading)
    return op.add(aten.div.Tensor, value, size, leading=value.leading)


@converter("Clip")
def _clip(op: Operation) -> Value:
    """min and max are attributes before opset 11; a clip at zero from below is a ReLU."""
    ends: list[float | None] = []
    for index, name in enumerate(("min", "max"), start=1):
        given = op.constant(index)
        single = op.attributes.get(name) if given is None else given.reshape(-1).tolist()[0]
        ends.append(None if single is None else float(single))
    low, high = ends
    low = None if low is not None and low <= -_HUGE else low
    high = None if high is not None and high >= _HUGE else high
    if low is None and high is None:
        return op.value()
    if low == 0 and high is None:
        return _apply(op, aten.relu.default)
    return _apply(op, aten.clamp.default, low, high)


_HUGE = 3.4e38  # the default ends of Clip: the largest float32 numbers


@converter("IsInf")
def _is_infinite(op: Operation) -> Value:
    """Of either sign, or of the signs that are asked for."""
    above, below = op.integer("detect_positive", 1), op.integer("detect_negative", 1)
    if above and below:
        return _apply(op, aten.isinf.default)
    if not above and not below:
        return _apply(op, aten.gt.Scalar, math.inf)  # never
    return _apply(op, aten.eq.Scalar, math.inf if above else -math.inf)

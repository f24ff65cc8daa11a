"""Sums, products and comparisons of two or more tensors, broadcast by the file's rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..layout import align
from ..operation import Operation
from ..registry import CONVERTERS, converter
from ..value import Value

__all__: list[str] = []

aten = torch.ops.aten

_BINARY: dict[str, Callable[..., Any]] = {
    "And": aten.logical_and.default,
    "Equal": aten.eq.Tensor,
    "Greater": aten.gt.Tensor,
    "GreaterOrEqual": aten.ge.Tensor,
    "Less": aten.lt.Tensor,
    "LessOrEqual": aten.le.Tensor,
    "Mul": aten.mul.Tensor,
    "Or": aten.logical_or.default,
    "Xor": aten.logical_xor.default,
}
_CONVOLUTIONS = (aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)


def _binary(target: Callable[..., Any]) -> Callable[[Operation], Value]:
    def convert(op: Operation) -> Value:
        return _combine(op, target, op.operand(0), op.operand(1))

    return convert


CONVERTERS.update({kind: _binary(target) for kind, target in _BINARY.items()})


def _combine(op: Operation, target: Callable[..., Any], *operands: Value | Tensor) -> Value:
    aligned, leading = align(op, operands)
    first = aligned[0]
    if isinstance(first, Tensor) and target in (aten.mul.Tensor, aten.add.Tensor):
        aligned.reverse()  # the network's own tensor first
    return op.add(target, *aligned, leading=leading)


@converter("Div")
def _div(op: Operation) -> Value:
    """Of integers (class indices): towards zero."""
    first, second = op.operand(0), op.operand(1)
    if _is_real(op, first) or _is_real(op, second):
        return _combine(op, aten.div.Tensor, first, second)
    return _combine(op, _whole_quotient, first, second)


def _whole_quotient(x: Tensor, y: Tensor) -> Tensor:
    return torch.div(x, y, rounding_mode="trunc")


def _is_real(op: Operation, operand: Value | Tensor) -> bool:
    return op.sink.is_real(operand) if isinstance(operand, Value) else operand.is_floating_point()


@converter("Mod")
def _mod(op: Operation) -> Value:
    """With the sign of the divisor, or (fmod) of the dividend."""
    target = aten.fmod.Tensor if op.integer("fmod", 0) else aten.remainder.Tensor
    return _combine(op, target, op.operand(0), op.operand(1))


@converter("Add", "Sub")
def _add(op: Operation) -> Value:
    first, second = op.operand(0), op.operand(1)
    minus = op.kind == "Sub"
    if isinstance(first, Value) and isinstance(second, Tensor):
        with_bias = _biased(op, first, -second if minus else second, op.alone[0])
    elif isinstance(second, Value) and isinstance(first, Tensor) and not minus:
        with_bias = _biased(op, second, first, op.alone[1])
    else:
        with_bias = None
    if with_bias is not None:
        return with_bias
    return _combine(op, aten.sub.Tensor if minus else aten.add.Tensor, first, second)


def _biased(op: Operation, value: Value, constant: Tensor, alone: bool) -> Value | None:
    """A product with a matrix, or a convolution, that takes the constant as its bias; None: it cannot."""
    node, target = value.node, value.node.op
    product = target is aten.linear.default
    if target is None or not alone or not (product or target in _CONVOLUTIONS):
        return None
    weight, *rest = list(node.args)[1:]
    if (
        (rest and rest[0] is not None)
        or not constant.is_floating_point()
        or constant.dim() > len(value.shape)
    ):
        return None
    channels = node.shape[-1] if product else node.shape[0]
    trailing = () if product else (1,) * (len(node.shape) - 1)
    shape = tuple(constant.shape)
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    if constant.numel() != 1 and shape != (channels, *trailing):
        return None
    bias = constant.reshape(-1).expand(channels).contiguous()
    return op.add(target, node.inputs[0], weight, bias, *rest[1:], leading=value.leading)


@converter("Max", "Min", "Sum", "Mean")
def _variadic(op: Operation) -> Value:
    """A chain over any number of tensors; the larger of x and 0 is a ReLU."""
    operands = [op.operand(i) for i in range(len(op.inputs))]
    constants = [o for o in operands if isinstance(o, Tensor)]
    if op.kind == "Max" and len(operands) == 2 and constants and constants[0].numel() == 1:
        value = next(o for o in operands if isinstance(o, Value))
        if float(constants[0].reshape(-1)[0]) == 0 and constants[0].dim() <= len(value.shape):
            return op.add(aten.relu.default, value, leading=value.leading)
    target = {"Max": aten.maximum.default, "Min": aten.minimum.default}.get(op.kind, aten.add.Tensor)
    total = operands[0]
    for operand in operands[1:]:
        total = (
            _combine(op, target, total, operand)
            if isinstance(total, Value) or isinstance(operand, Value)
            else target(total, operand)
        )
    if op.kind == "Mean":
        total = _combine(op, aten.div.Tensor, total, op.scalar(float(len(operands))))
    if not isinstance(total, Value):
        raise op.unsupported("of constants", "export the network with constants folded")
    return total


@converter("Pow")
def _pow(op: Operation) -> Value:
    base, exponent = op.operand(0), op.operand(1)
    if isinstance(exponent, Tensor) and exponent.numel() == 1 and isinstance(base, Value):
        aligned, leading = align(op, (base, exponent))
        power = float(exponent.reshape(-1)[0])
        return op.add(aten.pow.Tensor_Scalar, aligned[0], power, leading=leading)
    if isinstance(exponent, Tensor):
        exponent = exponent.to(torch.float32) if not exponent.is_floating_point() else exponent
    return _combine(op, aten.pow.Tensor_Tensor, base, exponent)


@converter("PRelu")
def _prelu(op: Operation) -> Value:
    """max(x, 0) + slope * min(x, 0), the slope broadcast to x."""
    value, slope = op.value(0), op.required(1)
    positive = op.add(aten.relu.default, value, leading=value.leading)
    negative = op.add(aten.neg.default, value, leading=value.leading)
    negative = op.add(aten.relu.default, negative, leading=value.leading)
    return _combine(op, aten.sub.Tensor, positive, _combine(op, aten.mul.Tensor, negative, slope))


@converter("Where")
def _where(op: Operation) -> Value:
    return _combine(op, aten.where.self, op.operand(0), op.operand(1), op.operand(2))


@converter("Not")
def _not(op: Operation) -> Value:
    value = op.value()
    return op.add(aten.logical_not.default, value, leading=value.leading)

"""Casts, identities, and the integers of quantised networks."""

from __future__ import annotations

import torch
from torch import Tensor

from ..folding import Array
from ..operation import Operation
from ..registry import converter
from ..value import Value

__all__: list[str] = []

aten = torch.ops.aten


@converter("Identity", "Dropout")
def _identity(op: Operation) -> Value:
    """Dropout is the identity outside training."""
    training = op.constant(2) if op.kind == "Dropout" and len(op.inputs) > 2 else None
    if training is not None and bool(training.any()):
        raise op.unsupported("training mode", "export the network in evaluation mode")
    return op.value()


@converter("Cast")
def _cast(op: Operation) -> Value:
    """Casts between float and double change nothing: the graph has one dtype. To truth values: not zero."""
    from onnx import TensorProto

    to = op.integer("to", 0)
    if to in (TensorProto.FLOAT, TensorProto.DOUBLE):
        return _floating(op, op.value())
    if to == TensorProto.BOOL:
        value = op.value()
        return op.add(aten.ne.Scalar, value, 0, leading=value.leading)
    if to in (TensorProto.INT32, TensorProto.INT64) and not op.sink.is_real(op.value()):
        return op.value()  # class indices and truth values: integers already
    raise op.unsupported("to a type other than float, double or bool", "export the network in float32")


@converter("CastLike")
def _cast_like(op: Operation) -> Value | Array:
    """To floating-point numbers only."""
    given, like = op.operand(0), op.operand(1)
    floating = op.sink.is_real(like) if isinstance(like, Value) else like.is_floating_point()
    if not floating:
        raise op.unsupported("to a type other than float or double", "export the network in float32")
    if isinstance(given, Value):
        return _floating(op, given)
    real: Array = given.to(op.dtype).numpy()
    return real


def _floating(op: Operation, value: Value) -> Value:
    if op.sink.is_real(value):
        return value
    return op.add(aten.mul.Tensor, value, op.scalar(1.0), leading=value.leading)


#: Lowest and highest number of ONNX's integer types that quantisation makes.
_RANGES = {2: (0, 255), 3: (-128, 127), 4: (0, 65535), 5: (-32768, 32767), 21: (0, 15), 22: (-8, 7)}


@converter("QuantizeLinear")
def _quantize(op: Operation) -> Value:
    """clamp(round(x / scale) + zero point): whole numbers, as floating-point ones."""
    value, zero = op.value(), op.constant(2)
    kind = op.integer("output_dtype", 0) or _element(zero)
    if kind not in _RANGES or op.integer("block_size", 0):
        raise op.unsupported("to this type, or by blocks", "quantise to 4, 8 or 16 bits, by axis")
    low, high = _RANGES[kind]
    scale = _by_axis(op, value, op.required(1))
    if not bool((scale > 0).all()):
        raise op.unsupported("by a scale that is not positive", "export the network again")
    result = op.add(aten.div.Tensor, value, scale, leading=value.leading)
    result = op.add(aten.round.default, result, leading=value.leading)
    if zero is not None and bool(zero.any()):
        shift = _by_axis(op, value, zero.to(op.dtype))
        result = op.add(aten.add.Tensor, result, shift, leading=value.leading)
    return op.add(aten.clamp.default, result, float(low), float(high), leading=value.leading)


@converter("DequantizeLinear")
def _dequantize(op: Operation) -> Value:
    """(x - zero point) * scale."""
    value, zero = op.value(), op.constant(2)
    if op.integer("block_size", 0):
        raise op.unsupported("by blocks", "quantise by axis")
    if zero is not None and bool(zero.any()):
        shift = _by_axis(op, value, zero.to(op.dtype))
        value = op.add(aten.sub.Tensor, value, shift, leading=value.leading)
    return op.add(aten.mul.Tensor, value, _by_axis(op, value, op.required(1)), leading=value.leading)


def _element(zero: Tensor | None) -> int:
    """ONNX's number of the zero point's type; without one it is uint8."""
    if zero is None:
        return 2
    return {torch.uint8: 2, torch.int8: 3, torch.uint16: 4, torch.int16: 5}.get(zero.dtype, 0)


def _by_axis(op: Operation, value: Value, constant: Tensor) -> Tensor:
    """One number, or one for each place along the attribute's axis."""
    if constant.numel() == 1:
        return constant.reshape(())
    axis = op.axis(op.integer("axis", 1), len(value.shape))
    if constant.dim() != 1 or constant.shape[0] != value.shape[axis] or (value.leading and axis == 0):
        raise op.unsupported(f"with scales of shape {tuple(constant.shape)}", "one for each channel")
    return constant.reshape(-1, *(1 for _ in value.shape[axis + 1 :]))

"""Normalisation layers and softmax."""

from __future__ import annotations

import math

import torch

from ..layout import along, reshape
from ..operation import Operation
from ..registry import converter
from ..value import Value
from .conv import by_image, image
from .tables import mix

__all__: list[str] = []

aten = torch.ops.aten


@converter("BatchNormalization")
@by_image
def _batch_normalization(op: Operation) -> Value:
    value = op.value()
    if op.integer("training_mode", 0) or not op.integer("spatial", 1):
        raise op.unsupported("in training mode or per activation", "export the network in evaluation mode")
    if not value.leading:
        raise op.unsupported(f"on a tensor of shape {value.shape}", "it takes (1, channels, ...)")
    weights = [op.required(i) for i in range(1, 5)]
    epsilon, momentum = op.number("epsilon", 1e-5), op.number("momentum", 0.9)
    return op.add(
        aten.batch_norm.default, value, *weights, False, momentum, epsilon, False, leading=value.leading
    )


@converter("InstanceNormalization")
@by_image
def _instance_normalization(op: Operation) -> Value:
    value, _ = image(op)
    weight, bias = op.required(1), op.required(2)
    rest = (None, None, True, 0.0, op.number("epsilon", 1e-5), False)
    return op.add(aten.instance_norm.default, value, weight, bias, *rest, leading=True)


@converter("LayerNormalization")
def _layer_normalization(op: Operation) -> Value:
    value, weight, bias = op.value(), op.required(1), op.constant(2)
    axis = op.axis(op.integer("axis", -1), len(value.shape))
    value = along(op, value, [axis])
    shape = list(value.shape[axis:])
    weight = weight.expand(shape).contiguous()
    bias = None if bias is None else bias.expand(shape).contiguous()
    rest = (weight, bias, op.number("epsilon", 1e-5), False)
    return op.add(aten.layer_norm.default, value, shape, *rest, leading=value.leading)


@converter("GroupNormalization")
@by_image
def _group_normalization(op: Operation) -> Value:
    value, _ = image(op)
    weight, bias = op.required(1), op.required(2)
    groups, epsilon = op.integer("num_groups", 1), op.number("epsilon", 1e-5)
    if op.opset < 21:  # one number for each group
        weight, bias = (c.repeat_interleave(value.shape[1] // groups) for c in (weight, bias))
    return op.add(aten.group_norm.default, value, groups, weight, bias, epsilon, False, leading=True)


@converter("RMSNormalization")
def _rms_normalization(op: Operation) -> Value:
    value, weight = op.value(), op.required(1)
    axis = op.axis(op.integer("axis", -1), len(value.shape))
    value = along(op, value, [axis])
    shape = list(value.shape[axis:])
    rest = (weight.expand(shape).contiguous(), op.number("epsilon", 1e-5))
    return op.add(aten.rms_norm.default, value, shape, *rest, leading=value.leading)


@converter("LRN")
@by_image
def _local_response_normalization(op: Operation) -> Value:
    """x / (bias + alpha / size * sum of x^2 over `size` neighbouring channels)^beta."""
    value, _ = image(op)
    size, channels = op.integer("size", 1), value.shape[1]
    reach = torch.arange(channels)
    distance = reach - reach.unsqueeze(1)  # of the column's channel from the row's
    near = (distance >= -((size - 1) // 2)) & (distance <= -(-(size - 1) // 2))
    square = op.add(aten.pow.Tensor_Scalar, value, 2.0, leading=True)
    total = mix(op, square, 1, near.to(op.dtype) * (op.number("alpha", 1e-4) / size))
    total = op.add(aten.add.Tensor, total, op.scalar(op.number("bias", 1.0)), leading=True)
    factor = op.add(aten.pow.Tensor_Scalar, total, -op.number("beta", 0.75), leading=True)
    return op.add(aten.mul.Tensor, value, factor, leading=True)


@converter("LpNormalization")
def _lp_normalization(op: Operation) -> Value:
    """x divided by its norm along an axis."""
    value = op.value()
    axis = op.axis(op.integer("axis", -1), len(value.shape))
    value = along(op, value, [axis])
    order, dims = float(op.integer("p", 2)), [value.dim(axis)]
    norm = op.add(aten.linalg_vector_norm.default, value, order, dims, True, leading=value.leading)
    return op.add(aten.div.Tensor, value, norm, leading=value.leading)


@converter("Softmax", "LogSoftmax")
def _softmax(op: Operation) -> Value:
    """Before opset 13 the axes from `axis` on are one."""
    value, target = op.value(), aten.softmax.int if op.kind == "Softmax" else aten.log_softmax.int
    rank, old = len(value.shape), op.opset < 13
    axis = op.axis(op.integer("axis", 1 if old else -1), rank)
    value = along(op, value, [axis])
    if not old or axis == rank - 1:
        return op.add(target, value, value.dim(axis), leading=value.leading)
    flat = reshape(op, value, (*value.shape[:axis], math.prod(value.shape[axis:])))
    flat = along(op, flat, [axis])
    result = op.add(target, flat, flat.dim(axis), leading=flat.leading)
    return reshape(op, result, value.shape)

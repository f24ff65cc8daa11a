"""Normalisation layers and softmax."""

from __future__ import annotations

import math

import torch

from ..layout import along, reshape
from ..operation import Operation
from ..registry import converter
from ..value import Value
from .conv import image

__all__: list[str] = []

aten = torch.ops.aten


@converter("BatchNormalization")
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
def _group_normalization(op: Operation) -> Value:
    value, _ = image(op)
    weight, bias = op.required(1), op.required(2)
    if op.opset < 21:
        raise op.unsupported("before opset 21", "convert the file to opset 21")
    groups, epsilon = op.integer("num_groups", 1), op.number("epsilon", 1e-5)
    return op.add(aten.group_norm.default, value, groups, weight, bias, epsilon, False, leading=True)


@converter("RMSNormalization")
def _rms_normalization(op: Operation) -> Value:
    value, weight = op.value(), op.required(1)
    axis = op.axis(op.integer("axis", -1), len(value.shape))
    value = along(op, value, [axis])
    shape = list(value.shape[axis:])
    rest = (weight.expand(shape).contiguous(), op.number("epsilon", 1e-5))
    return op.add(aten.rms_norm.default, value, shape, *rest, leading=value.leading)


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

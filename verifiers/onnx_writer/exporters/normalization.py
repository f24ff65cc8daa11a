"""Batch normalisation, softmax and logarithms of sums."""

from __future__ import annotations

import torch

from ..call import Call
from ..registry import exporter

__all__: list[str] = []

aten = torch.ops.aten


@exporter(aten.batch_norm.default)
def _batch_norm(call: Call) -> str:
    weight, bias, mean, variance, training, _, eps = call.args[1:8]
    if training or mean is None or variance is None:
        raise call.unsupported("by the statistics of the batch")
    weight = torch.ones_like(variance) if weight is None else weight
    bias = torch.zeros_like(mean) if bias is None else bias
    return call.op("BatchNormalization", call.x, weight, bias, mean, variance, epsilon=float(eps))


@exporter(aten.softmax.int, aten._softmax.default)
def _softmax(call: Call) -> str:
    return call.op("Softmax", call.x, axis=call.axis(call.argument(1, "dim")))


@exporter(aten.log_softmax.int, aten._log_softmax.default)
def _log_softmax(call: Call) -> str:
    return call.op("LogSoftmax", call.x, axis=call.axis(call.argument(1, "dim")))


@exporter(aten.logsumexp.default)
def _logsumexp(call: Call) -> str:
    axes, keep = call.axes(call.argument(1, "dim")), bool(call.argument(2, "keepdim", False))
    return call.reduced("ReduceLogSumExp", call.x.name, axes, keepdims=keep)

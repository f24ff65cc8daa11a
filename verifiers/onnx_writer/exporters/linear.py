"""Matrix products and convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..call import Call, Ref
from ..registry import exporter

__all__: list[str] = []

aten = torch.ops.aten


@exporter(aten.linear.default)
def _linear(call: Call) -> str:
    """Gemm on vectors, else a product with the transposed weight."""
    weight, bias = call.args[1], call.argument(2, "bias")
    if call.x.rank == 2 and not isinstance(weight, Ref):
        return call.op("Gemm", call.x, weight, bias, transB=1)
    if isinstance(weight, Ref):
        raise call.unsupported("with a weight that depends on the input")
    product = call.op("MatMul", call.x, weight.mT.contiguous())
    return product if bias is None else call.op("Add", product, bias)


@exporter(aten.matmul.default, aten.linalg_matmul.default, aten.mm.default, aten.mv.default, aten.bmm.default)
def _matmul(call: Call) -> str:
    return call.op("MatMul", call.real(call.args[0]), call.real(call.args[1]))


@exporter(aten.addmm.default)
def _addmm(call: Call) -> str:
    """beta * bias + alpha * (a @ b)."""
    beta, alpha = float(call.argument(3, "beta", 1)), float(call.argument(4, "alpha", 1))
    bias, first, second = (call.real(a) for a in call.args[:3])
    product = call.op("MatMul", first, second)
    product = product if alpha == 1 else call.op("Mul", product, alpha)
    return call.op("Add", product, bias if beta == 1 else call.op("Mul", bias, beta))


@exporter(aten.conv1d.default, aten.conv2d.default, aten.conv3d.default)
def _conv(call: Call) -> str:
    rank = len(call.x.shape) - 1
    before = _each(call.argument(4, "padding", 0), rank)
    return _convolved(call, [*before, *before])


@exporter(aten.conv1d.padding, aten.conv2d.padding, aten.conv3d.padding)
def _conv_padding(call: Call) -> str:
    """The padding by name; of an odd sum torch puts the larger half behind."""
    rank = len(call.x.shape) - 1
    mode = str(call.argument(4, "padding", "valid"))
    if mode == "valid":
        return _convolved(call, [0] * (2 * rank))
    kernel, dilation = call.args[1].shape[2:], _each(call.argument(5, "dilation", 1), rank)
    total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return _convolved(call, [*(t // 2 for t in total), *(t - t // 2 for t in total)])


def _convolved(call: Call, pads: Sequence[int]) -> str:
    rank = len(call.x.shape) - 1
    return call.op(
        "Conv",
        *_weights(call),
        pads=list(pads),
        strides=_each(call.argument(3, "stride", 1), rank),
        dilations=_each(call.argument(5, "dilation", 1), rank),
        group=int(call.argument(6, "groups", 1)),
    )


@exporter(aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input)
def _conv_transpose(call: Call) -> str:
    """More output behind is less padding there, and beyond that nothing but the bias."""
    rank = len(call.x.shape) - 1
    x, weight, bias = _weights(call)
    before = _each(call.argument(4, "padding", 0), rank)
    extra = _each(call.argument(5, "output_padding", 0), rank)
    behind = [p - e for p, e in zip(before, extra, strict=True)]
    settings: dict[str, Any] = {
        "pads": [*before, *(max(0, b) for b in behind)],
        "strides": _each(call.argument(3, "stride", 1), rank),
        "group": int(call.argument(6, "groups", 1)),
        "dilations": _each(call.argument(7, "dilation", 1), rank),
    }
    if min(behind) >= 0:
        return call.op("ConvTranspose", x, weight, bias, **settings)
    bare = call.op("ConvTranspose", x, weight, **settings)
    amounts = [0] * (rank + 2) + [0, 0] + [max(0, -b) for b in behind]
    padded = call.op("Pad", bare, call.integers(*amounts), 0.0)
    return padded if bias is None else call.op("Add", padded, bias.reshape(-1, *(1 for _ in range(rank))))


def _weights(call: Call) -> tuple[Ref, Tensor, Tensor | None]:
    weight, bias = call.args[1], call.argument(2, "bias")
    if isinstance(weight, Ref) or isinstance(bias, Ref):
        raise call.unsupported("with weights that depend on the input")
    return call.x, weight, bias


def _each(given: Any, rank: int) -> list[int]:
    """One number for each spatial axis."""
    values = [int(v) for v in given] if isinstance(given, (list, tuple)) else [int(given)]
    return values * rank if len(values) == 1 else values

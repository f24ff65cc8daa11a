"""From a graph to the few operators of a certificate: linear, conv, pick, add, max, relu, sigmoid.

Nothing is folded: weights keep their bits, so that the certificate speaks of the network's exact weights.
What it stores rounded (1 / c, gamma / sqrt(variance)) errs by a few units in the last place of float64, which
the checker allows for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Graph, Node, Piece, Slot, concatenate
from .lowered import Lowered, narrow
from .maxima import max_pool2d, maximum

__all__ = ["lowered"]

aten = torch.ops.aten


Lower = Callable[[Lowered, Node, list[int]], int | None]
"""Enters what computes a node from the numbers of its inputs; the result's number, None where it cannot."""

_LOWER: dict[Callable[..., Any], Lower] = {}


def lowered(graph: Graph) -> Lowered:
    """The graph in a certificate's operators. UnsupportedOpError for a node that they cannot say."""
    made, numbers = Lowered(), dict[Node, int]()
    made.add("input", [], graph.input.numel, size=graph.input.numel)
    graph = graph.resolved()
    for node in graph.nodes[1:]:
        lower = None if node.op is None else _LOWER.get(node.op)
        numbers.setdefault(graph.input, 0)
        number = None if lower is None else lower(made, node, [numbers[p] for p in node.inputs])
        if number is None:
            raise UnsupportedOpError(
                f"certificates have no operator for {node.op}",
                where=f"node {node.name}",
                cure="they serve dense, convolutional and residual networks of relu, sigmoid and tanh",
            )
        numbers[node] = number
    made.numbers.update({node.index: number for node, number in numbers.items()})
    last = numbers.get(graph.output, 0)
    if last != len(made.nodes) - 1:  # the output is the last node
        made.add("add", [last], made.sizes[last])
    return made


def _lower(*ops: Callable[..., Any]) -> Callable[[Lower], Lower]:
    def enter(function: Lower) -> Lower:
        _LOWER.update(dict.fromkeys(ops, function))
        return function

    return enter


def _constant(node: Node, position: int) -> NDArray[Any] | None:
    """The constant operand (a number or tensor) spread over one sample, flat; None where it is an input."""
    value = node.args[position]
    if isinstance(value, Slot):
        return None
    value = torch.as_tensor(value, dtype=torch.float64)
    return np.asarray(value.broadcast_to((1, *node.shape)).detach().cpu().reshape(-1).numpy())


@_lower(aten.linear.default)
def _linear(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    weight, bias = node.args[1], node.argument(2, "bias")
    if isinstance(weight, Slot):
        return None
    rows, (m, n) = node.numel // node.shape[-1], (int(size) for size in weight.shape)
    if rows == 1:
        return _affine(made, "linear", inputs, (weight, bias), size=n)
    # many rows by one map: a convolution with 1 x 1 kernels, rows as pixels
    image = made.pick(inputs[0], np.arange(rows * n).reshape(rows, n).T.reshape(-1))
    about = {"shape": [n, rows, 1], "stride": [1, 1], "padding": [0, 0, 0, 0]}
    image = _affine(made, "conv", [image], (weight[:, :, None, None], bias), places=rows, **about)
    return made.pick(image, np.arange(m * rows).reshape(m, rows).T.reshape(-1))


@_lower(aten.addmm.default)
def _addmm(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    if len(node.inputs) != 1 or not isinstance(node.args[1], Slot) or node.kwargs or node.args[0].dim() != 1:
        return None
    return _affine(made, "linear", inputs, (node.args[2].T, node.args[0]), size=int(node.args[2].shape[0]))


@_lower(aten.mm.default, aten.matmul.default)
def _matmul(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    if len(node.inputs) != 1 or not isinstance(node.args[0], Slot) or len(node.inputs[0].shape) != 1:
        return None
    return _affine(made, "linear", inputs, (node.args[1].T, None), size=int(node.args[1].shape[0]))


def _affine(
    made: Lowered, op: str, inputs: list[int], parts: tuple[Tensor, Tensor | None], **about: Any
) -> int:
    weight, bias = parts
    places = about.pop("places", 1)
    arrays = {"weight": narrow(weight), "bias": narrow(0.0 if bias is None else bias)}
    arrays["bias"] = np.broadcast_to(arrays["bias"], (len(weight),))
    return made.add(op, inputs, len(weight) * places, arrays, **about)


@_lower(aten.conv2d.default)
def _conv2d(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    weight, bias = node.args[1], node.argument(2, "bias")
    stride, padding = (_pair(node.argument(k, n, d)) for k, n, d in ((3, "stride", 1), (4, "padding", 0)))
    dilation, groups = _pair(node.argument(5, "dilation", 1)), int(node.argument(6, "groups", 1))
    if isinstance(weight, Slot) or stride is None or padding is None or dilation is None:
        return None
    out, part, *kernel = weight.shape
    whole = weight.new_zeros(
        out, part * groups, *(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    )
    for g in range(groups):
        rows = slice(g * out // groups, (g + 1) * out // groups)
        whole[rows, g * part : (g + 1) * part, :: dilation[0], :: dilation[1]] = weight[rows]
    return _convolved(made, node, inputs, (whole, bias), (stride, padding))


def _convolved(
    made: Lowered,
    node: Node,
    inputs: list[int],
    parts: tuple[Tensor, Tensor | None],
    steps: tuple[tuple[int, int], tuple[int, int]],
) -> int:
    (stride, (top, left)), shape = steps, list(node.inputs[0].shape)
    about = {"shape": shape, "stride": list(stride), "padding": [top, left, top, left]}
    return _affine(made, "conv", inputs, parts, places=node.shape[1] * node.shape[2], **about)


def _pair(value: Any) -> tuple[int, int] | None:
    if isinstance(value, str):
        return None
    numbers = [value] if isinstance(value, int) else list(value)
    return (int(numbers[0]), int(numbers[-1])) if 1 <= len(numbers) <= 2 else None


@_lower(aten.avg_pool2d.default)
def _avg_pool2d(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    kernel, padding = _pair(node.args[1]), _pair(node.argument(3, "padding", 0))
    stride = _pair(node.argument(2, "stride", []) or kernel)
    odd = node.argument(4, "ceil_mode", False) or node.argument(6, "divisor_override") is not None
    if odd or kernel is None or stride is None or padding is None or len(node.shape) != 3:
        return None
    if any(padding) and not node.argument(5, "count_include_pad", True):
        return None
    channels = node.shape[0]
    weight = torch.eye(channels, dtype=torch.float64)[:, :, None, None].repeat(1, 1, *kernel)
    number = _convolved(made, node, inputs, (weight, None), (stride, padding))
    return made.scale(number, 1.0 / (kernel[0] * kernel[1]))


@_lower(aten.adaptive_avg_pool2d.default, aten.mean.dim, aten.sum.dim_IntList)
def _matrix(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    """Means: the columns are the results on unit vectors, each entry rounded once."""
    size = node.inputs[0].numel
    if size * node.numel > 2**24:
        return None
    with torch.no_grad():
        units = torch.eye(size, dtype=torch.float64).reshape(size, *node.inputs[0].shape)
        weight = node.run(units).reshape(size, node.numel).T
    return _affine(made, "linear", inputs, (weight, None), size=size)


@_lower(aten.batch_norm.default)
def _batch_norm(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    gamma, beta, mean, variance = (None if v is None else v.detach().cpu().double() for v in node.args[1:5])
    channels, places = node.shape[0], node.numel // node.shape[0]
    if mean is None or variance is None:
        return None
    scale = 1.0 / (variance + float(node.argument(7, "eps", 1e-5))).sqrt()
    scale = scale if gamma is None else gamma * scale
    shift = torch.zeros(channels, dtype=torch.float64) if beta is None else beta
    centred = made.scale(inputs[0], bias=-mean.repeat_interleave(places))
    return made.scale(centred, scale.repeat_interleave(places), shift.repeat_interleave(places))


@_lower(aten.add.Tensor, aten.sub.Tensor, aten.add.Scalar, aten.sub.Scalar)
def _add(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    sign = 1.0 if node.op in (aten.add.Tensor, aten.add.Scalar) else -1.0
    factor = sign * float(node.kwargs.get("alpha", 1))
    if abs(factor) != 1 or any(p.shape != node.shape for p in node.inputs):
        return None
    first, second = _constant(node, 0), _constant(node, 1)
    if first is None and second is None:
        other = inputs[1] if factor == 1 else made.scale(inputs[1], -1.0)
        return made.add("add", [inputs[0], other], node.numel)
    if second is not None:
        return made.scale(inputs[0], bias=factor * second)
    return made.scale(inputs[0], factor, first)


@_lower(aten.mul.Tensor, aten.mul.Scalar)
def _mul(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    constant = _constant(node, 1) if isinstance(node.args[0], Slot) else _constant(node, 0)
    return None if constant is None or node.inputs[0].shape != node.shape else made.scale(inputs[0], constant)


@_lower(aten.div.Tensor, aten.div.Scalar)
def _div(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    constant = _constant(node, 1)
    if (
        constant is None
        or node.kwargs
        or not bool(np.all(constant != 0))
        or node.inputs[0].shape != node.shape
    ):
        return None
    return made.scale(inputs[0], 1.0 / constant)


@_lower(aten.neg.default)
def _neg(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    return made.scale(inputs[0], -1.0)


@_lower(aten.relu.default)
def _relu(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    return made.add("relu", inputs, node.numel, slope=0.0)


@_lower(aten.leaky_relu.default)
def _leaky_relu(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    slope = float(node.argument(1, "negative_slope", 0.01))
    return made.add("relu", inputs, node.numel, slope=slope) if 0.0 <= slope <= 1.0 else None


@_lower(aten.sigmoid.default)
def _sigmoid(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    return made.add("sigmoid", inputs, node.numel)


@_lower(aten.tanh.default)
def _tanh(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    """tanh(x) = 2 sigmoid(2 x) - 1."""
    half = made.add("sigmoid", [made.scale(inputs[0], 2.0)], node.numel)
    return made.scale(half, 2.0, -1.0)


_lower(aten.maximum.default)(maximum)
_lower(aten.max_pool2d.default, Piece(aten.max_pool2d_with_indices.default, 0))(max_pool2d)


@_lower(
    aten.reshape.default,
    aten.permute.default,
    aten.transpose.int,
    aten.slice.Tensor,
    aten.select.int,
    aten.narrow.default,
    aten.flip.default,
    aten.expand.default,
    aten.repeat.default,
    aten.index_select.default,
)
def _selection(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    """Operators that only move numbers: what they do to 0, 1, 2, ... tells what they do to all."""
    if len(node.inputs) != 1:
        return None
    numbers = torch.arange(node.inputs[0].numel, dtype=torch.float64).reshape(1, *node.inputs[0].shape)
    with torch.no_grad():
        index = node.run(numbers).reshape(-1).to(torch.int64).cpu().numpy()
    return made.pick(inputs[0], index)


@_lower(concatenate, aten.cat.default)
def _concatenation(made: Lowered, node: Node, inputs: list[int]) -> int | None:
    """A sum of the parts, each with zeros where the others are; constants are in the first one's bias."""
    zeros = [torch.zeros(1, *p.shape, dtype=torch.float64) for p in node.inputs]
    total: list[int] = []
    with torch.no_grad():
        base = node.run(*zeros).reshape(-1).cpu().numpy()
        for k, parent in enumerate(node.inputs):
            numbers = 1 + torch.arange(parent.numel, dtype=torch.float64).reshape(1, *parent.shape)
            moved = node.run(*zeros[:k], numbers, *zeros[k + 1 :]).reshape(-1).cpu().numpy() - base
            place = np.rint(moved).astype(np.int64)
            bias = base if k == 0 else 0.0
            total.append(made.pick(inputs[k], np.maximum(place - 1, 0), (place > 0).astype(np.float64), bias))
    return total[0] if len(total) == 1 else made.add("add", total, node.numel)

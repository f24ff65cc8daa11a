"""Convolutions and transposed convolutions in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from robustbench_local.errors import UnsupportedOpError

from ..adjoint import Geometry, pull_conv2d
from ..graph import Node, Slot
from ..interval import Interval
from ..moved_windows import Enlargement, pulled_enlargement
from ..rule import Affine, Boxes, Pulled, PulledWindows, contract, register
from ..spectral import convolution_norm_bound
from ..windows import WindowRows

aten = torch.ops.aten


def _bias_offset(a: Tensor, bias: Tensor | None) -> Tensor | None:
    """<a_k, bias on every position>: a (B, K, C, *space), bias (C,) -> (B, K)."""
    if bias is None:
        return None
    return contract(a.sum(tuple(range(3, a.dim()))), bias.unsqueeze(0))


def _pair(values: Sequence[int]) -> tuple[int, int]:
    first, second = values
    return first, second


class _Convolution(Affine):
    """What both directions share: interval by centre and radius, bias, checks."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def check(self, node: Node) -> None:
        if (
            not isinstance(node.args[0], Slot)
            or isinstance(node.args[1], Slot)
            or len(node.shape) != self.rank + 1
        ):
            raise UnsupportedOpError(
                "a convolution needs a batched perturbed input and constant weights",
                where=f"node {node.name}",
                cure="keep the batch axis and use a torch.nn convolution; where weights depend on the input, "
                "F.unfold and a matrix product",
            )

    def bias(self, node: Node) -> Tensor | None:
        """The bias (C_out,) or None."""
        bias: Tensor | None = node.argument(2, "bias")
        return bias

    def interval(self, node: Node, *inputs: Interval) -> Interval:
        mid, radius = inputs[0].mid_radius()
        centre = node.run(mid)
        spread = self._apply(node, radius, node.args[1].abs())
        return Interval.around(centre, spread)

    def tangent(self, node: Node, boxes: Boxes, tangents: tuple[Interval, ...]) -> Interval:
        rows = tangents[0].lower.shape[:2]
        weight: Tensor = node.args[1]
        mid, radius = (t.flatten(0, 1) for t in tangents[0].mid_radius())
        centre, spread = self._apply(node, mid, weight), self._apply(node, radius, weight.abs())
        return Interval.around(centre.unflatten(0, rows), spread.unflatten(0, rows))

    def cotangent(self, node: Node, boxes: Boxes, rows: Interval) -> tuple[Interval, ...]:
        mid, radius = rows.mid_radius()
        absolute = replace(node, args=(node.args[0], node.args[1].abs(), *node.args[2:]))
        centre, spread = self.backward(node, mid, boxes), self.backward(absolute, radius, boxes)
        return (Interval.around(centre.coefficients[0], spread.coefficients[0]),)

    def _apply(self, node: Node, x: Tensor, weight: Tensor) -> Tensor:
        """The operator without bias and with other weights."""
        args = list(node.args)
        args[0], args[1] = x, weight
        if len(args) > 2:
            args[2] = None
        kwargs = {k: (None if k == "bias" else v) for k, v in node.kwargs.items()}
        result: Tensor = node.op(*args, **kwargs)  # type: ignore[misc]
        return result

    def _ints(self, node: Node, position: int, name: str, default: int) -> tuple[int, ...]:
        value = node.argument(position, name, [default] * self.rank)
        values = [value] if isinstance(value, int) else list(value)
        return tuple(values * self.rank if len(values) == 1 else values)


class Convolution(_Convolution):
    """conv1d/2d/3d; the backward step is the transposed convolution with the same weights."""

    def __init__(self, rank: int, transpose: Callable[..., Tensor]) -> None:
        super().__init__(rank)
        self.transpose = transpose

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        weight: Tensor = node.args[1]
        stride = self._ints(node, 3, "stride", 1)
        dilation = self._ints(node, 5, "dilation", 1)
        groups: int = node.argument(6, "groups", 1)
        size, kernel = node.inputs[0].shape[1:], weight.shape[2:]
        before, total = self._padding(node, kernel, dilation)
        rows = a.flatten(0, 1)
        if any(total[i] != 2 * before[i] for i in range(self.rank)):
            # "same" padding of an even kernel pads one side more (stride is 1): pull unpadded, then crop
            pulled = self.transpose(rows, weight, None, stride, 0, 0, groups, dilation)
            for i in range(self.rank):
                pulled = pulled.narrow(2 + i, before[i], size[i])
        elif self.rank == 2:
            pulled = pull_conv2d(
                rows, weight, Geometry(_pair(size), _pair(stride), _pair(before), _pair(dilation), groups)
            )
        else:
            rest = [
                size[i] + total[i] - (node.shape[1 + i] - 1) * stride[i] - dilation[i] * (kernel[i] - 1) - 1
                for i in range(self.rank)
            ]
            pulled = self.transpose(rows, weight, None, stride, before, rest, groups, dilation)
        return Pulled((pulled.unflatten(0, a.shape[:2]),), _bias_offset(a, self.bias(node)))

    def spectral_norms(self, node: Node) -> tuple[float, ...] | None:
        stride, dilation = self._ints(node, 3, "stride", 1), self._ints(node, 5, "dilation", 1)
        size, groups = node.inputs[0].shape[1:], node.argument(6, "groups", 1)
        return (convolution_norm_bound(node.args[1], size, stride, dilation, groups),)

    def backward_windows(
        self, node: Node, rows: WindowRows, boxes: Boxes, free: Tensor | None = None
    ) -> PulledWindows | None:
        weight: Tensor = node.args[1]
        stride, dilation = (_pair(self._ints(node, i, n, 1)) for i, n in ((3, "stride"), (5, "dilation")))
        before, total = self._padding(node, weight.shape[2:], dilation)
        if self.rank != 2 or any(total[i] != 2 * before[i] for i in range(2)):
            return None
        rows = rows.cleaned()  # what lies on the padding reaches nothing
        offset = _bias_offset(rows.a, self.bias(node))
        channels, height, width = node.inputs[0].shape
        groups: int = node.argument(6, "groups", 1)
        pulled = rows.pulled(weight, stride, _pair(before), dilation, groups, (channels, height, width))
        return PulledWindows((pulled,), offset)

    def _padding(
        self, node: Node, kernel: torch.Size, dilation: tuple[int, ...]
    ) -> tuple[list[int], list[int]]:
        """Padding before, and before plus after, per axis."""
        value = node.argument(4, "padding", 0)
        if value == "valid":
            return [0] * self.rank, [0] * self.rank
        if value == "same":
            total = [dilation[i] * (kernel[i] - 1) for i in range(self.rank)]
            return [t // 2 for t in total], total
        before = list(self._ints(node, 4, "padding", 0))
        return before, [2 * p for p in before]


class TransposedConvolution(_Convolution):
    """conv_transpose1d/2d/3d; the backward step is the convolution with the same weights."""

    def __init__(self, rank: int, forward: Callable[..., Tensor]) -> None:
        super().__init__(rank)
        self.forward = forward

    def backward(self, node: Node, a: Tensor, boxes: Boxes, free: Tensor | None = None) -> Pulled:
        stride = self._ints(node, 3, "stride", 1)
        padding = self._ints(node, 4, "padding", 0)
        groups: int = node.argument(6, "groups", 1)
        dilation = self._ints(node, 7, "dilation", 1)
        rows = self.forward(a.flatten(0, 1), node.args[1], None, stride, padding, dilation, groups)
        size = node.inputs[0].shape[1:]
        for i in range(self.rank):
            rows = rows.narrow(2 + i, 0, size[i])  # output padding can leave room for one more window
        return Pulled((rows.unflatten(0, a.shape[:2]),), _bias_offset(a, self.bias(node)))

    def backward_windows(
        self, node: Node, rows: WindowRows, boxes: Boxes, free: Tensor | None = None
    ) -> PulledWindows | None:
        if self.rank != 2:
            return None
        rows = rows.cleaned()
        stride, padding, dilation = (
            _pair(self._ints(node, i, n, d))
            for i, n, d in ((3, "stride", 1), (4, "padding", 0), (7, "dilation", 1))
        )
        numbers = Enlargement(stride, padding, dilation, int(node.argument(6, "groups", 1)))
        channels, height, width = node.inputs[0].shape
        pulled = pulled_enlargement(rows, node.args[1], numbers, (channels, height, width))
        return PulledWindows((pulled,), _bias_offset(rows.a, self.bias(node)))

    def spectral_norms(self, node: Node) -> tuple[float, ...] | None:
        # the adjoint of the convolution with the same numbers has the same norm
        stride, dilation = self._ints(node, 3, "stride", 1), self._ints(node, 7, "dilation", 1)
        size, groups = node.shape[1:], node.argument(6, "groups", 1)
        return (convolution_norm_bound(node.args[1], size, stride, dilation, groups),)


register(aten.conv1d.default, aten.conv1d.padding)(Convolution(1, functional.conv_transpose1d))
register(aten.conv2d.default, aten.conv2d.padding)(Convolution(2, functional.conv_transpose2d))
register(aten.conv3d.default, aten.conv3d.padding)(Convolution(3, functional.conv_transpose3d))
register(aten.conv_transpose1d.default)(TransposedConvolution(1, functional.conv1d))
register(aten.conv_transpose2d.input)(TransposedConvolution(2, functional.conv2d))
register(aten.conv_transpose3d.input)(TransposedConvolution(3, functional.conv3d))

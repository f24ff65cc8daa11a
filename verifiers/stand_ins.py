"""Tensors that stand for a node's values while a graph is built: they tell shapes and dtypes.

A traced module has torch's compiler loaded, whose tensors without data serve. A file is read without it: it
costs a program up to two seconds at its start. There one number, repeated without storage, stands for a
batch of two, and operators that compute much or grow their input tell their shape by a formula.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

__all__ = ["Repeated", "StandIns", "WithoutData"]

aten = torch.ops.aten


class StandIns(Protocol):
    """How nodes and constants are represented, and what an operator makes of the representations."""

    def node(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """For a node whose batched tensor has this shape."""
        ...

    def constant(self, value: Tensor) -> Tensor:
        """For a constant."""
        ...

    def run(self, op: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The operator's result on representations."""
        ...


class WithoutData:
    """Tensors on torch's meta device."""

    def node(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """No data."""
        return torch.empty(shape, dtype=dtype, device="meta")

    def constant(self, value: Tensor) -> Tensor:
        """The data dropped."""
        return value.to("meta")

    def run(self, op: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The operator itself."""
        return op(*args, **kwargs)


class Repeated:
    """One zero, repeated without storage."""

    def node(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """All strides are zero."""
        return torch.zeros((), dtype=dtype).expand(shape)

    def constant(self, value: Tensor) -> Tensor:
        """Itself."""
        return value

    @torch.no_grad()
    def run(self, op: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A formula where there is one that fits, else the operator itself.

        RuntimeError and the like, from torch, where the operator does not take these arguments.
        """
        if not kwargs:
            if _is_pointwise(op):
                return self._pointwise(op, args)
            formula = _FORMULAS.get(op)
            shape = None if formula is None else formula(*args)
            if shape is not None:
                return self.node(tuple(shape), args[0].dtype)
        return op(*args, **kwargs)

    def _pointwise(self, op: Callable[..., Any], args: tuple[Any, ...]) -> Tensor:
        """The dtype of the result on single numbers, in the shape of all operands together."""
        tensors = [a for a in args if isinstance(a, Tensor)]
        shape = np.broadcast_shapes(*(t.shape for t in tensors))
        single = op(*(a[(slice(0, 1),) * a.dim()] if isinstance(a, Tensor) else a for a in args))
        return self.node(tuple(shape), single.dtype)


def _is_pointwise(op: Callable[..., Any]) -> bool:
    return isinstance(op, torch._ops.OpOverload) and torch.Tag.pointwise in op.tags


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Sequence[int] | None:
    fits = weight.dim() == 2 and x.dim() > 0 and x.shape[-1] == weight.shape[1]
    bias_fits = bias is None or bias.shape == weight.shape[:1]
    return (*x.shape[:-1], weight.shape[0]) if fits and bias_fits else None


def _matmul(a: Tensor, b: Tensor) -> Sequence[int] | None:
    if min(a.dim(), b.dim()) < 2 or a.shape[-1] != b.shape[-2]:
        return None
    return (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any) -> Sequence[int] | None:
    stride, padding, dilation, groups = settings
    if not _fits(x, weight, bias, weight.shape[0]) or x.shape[1] != weight.shape[1] * groups:
        return None
    rows = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    space = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in rows]
    sound = weight.shape[0] % groups == 0 and min(space) > 0
    return (x.shape[0], weight.shape[0], *space) if sound else None


def _conv_transpose(x: Tensor, weight: Tensor, bias: Tensor | None, *settings: Any) -> Sequence[int] | None:
    stride, padding, extra, groups, dilation = settings
    channels = weight.shape[1] * groups
    if not _fits(x, weight, bias, channels) or x.shape[1] != weight.shape[0]:
        return None
    rows = zip(x.shape[2:], weight.shape[2:], stride, padding, extra, dilation, strict=True)
    space = [(n - 1) * s - 2 * p + d * (k - 1) + e + 1 for n, k, s, p, e, d in rows]
    sound = all(e < max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)) and min(space) > 0
    return (x.shape[0], channels, *space) if sound and weight.shape[0] % groups == 0 else None


def _fits(x: Tensor, weight: Tensor, bias: Tensor | None, channels: int) -> bool:
    return x.dim() == weight.dim() > 2 and (bias is None or bias.shape == (channels,))


def _padded(x: Tensor, pads: Sequence[int], value: float = 0.0) -> Sequence[int] | None:
    shape = list(x.shape)
    for k in range(len(pads) // 2):
        shape[-1 - k] += pads[2 * k] + pads[2 * k + 1]
    return shape if min(shape) > 0 else None


def _repeated(x: Tensor, counts: Sequence[int]) -> Sequence[int] | None:
    if len(counts) != x.dim() or min(counts) < 1:
        return None
    return [n * c for n, c in zip(x.shape, counts, strict=True)]


def _selected(x: Tensor, dim: int, index: Tensor) -> Sequence[int]:
    shape = list(x.shape)
    shape[dim] = index.numel()
    return shape


#: The result's shape; None: the operator itself must say what is wrong, or right.
_FORMULAS: dict[Callable[..., Any], Callable[..., Sequence[int] | None]] = {
    aten.linear.default: _linear,
    aten.matmul.default: _matmul,
    aten.conv1d.default: _conv,
    aten.conv2d.default: _conv,
    aten.conv3d.default: _conv,
    aten.conv_transpose1d.default: _conv_transpose,
    aten.conv_transpose2d.input: _conv_transpose,
    aten.conv_transpose3d.input: _conv_transpose,
    aten.constant_pad_nd.default: _padded,
    aten.repeat.default: _repeated,
    aten.index_select.default: _selected,
}

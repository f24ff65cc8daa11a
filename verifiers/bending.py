"""Rows pulled through two lines: the step that backward propagation spends most of its time on.

As one operation of autograd it keeps few tensors of the rows' size and makes few passes over them.
No step of it selects by a mask: on a CPU `where` and comparisons cost as much as a matrix product
(800 and 200 microseconds on 600 x 256 numbers, where a clamp takes 40).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .interval import contract_rows

__all__ = ["bent"]


def bent(
    a: Tensor,
    lower_slope: Tensor,
    gap: Tensor,
    lower_offset: Tensor | None,
    upper_offset: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    """Rows a (B, K, *shape) through lines: positive coefficients take the lower line, others the upper.

    gap: the upper slope minus the lower one. Slopes and offsets are (B or 1, K or 1, *shape). Result: rows
    (B, K, *shape) and offsets (B, K) or None.
    """
    if not torch.is_grad_enabled():
        return _forward(a, lower_slope, gap, lower_offset, upper_offset)
    apply: Callable[..., tuple[Tensor, Tensor | None]] = _Bent.apply
    return apply(a, lower_slope, gap, lower_offset, upper_offset)


def _forward(
    a: Tensor,
    lower_slope: Tensor,
    gap: Tensor,
    lower_offset: Tensor | None,
    upper_offset: Tensor | None,
) -> tuple[Tensor, Tensor | None]:
    negative = a.clamp(max=0)
    rows = torch.addcmul(a * lower_slope, negative, gap)
    offset = None
    if upper_offset is not None:
        offset = contract_rows(negative, upper_offset)
    if lower_offset is not None:
        low = contract_rows(a - negative, lower_offset)
        offset = low if offset is None else offset + low
    return rows, offset


class _Bent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, *lines: Any) -> tuple[Tensor, Tensor | None]:
        ctx.save_for_backward(a, *lines)
        return _forward(a, *lines)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor | None, ...]:
        rows, offset = grad_outputs
        a, lower_slope, gap, low, high = ctx.saved_tensors
        wide = None if offset is None else offset.reshape(*offset.shape, *(1 for _ in a.shape[2:]))
        grads: list[Tensor | None] = [None] * 5
        if ctx.needs_input_grad[0]:
            # with coefficients below zero everything counts, above zero the upper line's part is taken back
            extra = rows * gap if high is None or wide is None else torch.addcmul(wide * high, rows, gap)
            taken = extra if low is None or wide is None else extra - wide * low
            below = torch.addcmul(extra, rows, lower_slope)
            grads[0] = below - torch.ops.aten.threshold_backward(taken, a, 0.0)
        for i, line in enumerate((lower_slope, gap, low, high)):
            upstream = rows if i < 2 else wide
            if ctx.needs_input_grad[1 + i] and upstream is not None and line is not None:
                part = a if i == 0 else a.clamp(min=0) if i == 2 else a.clamp(max=0)
                grads[1 + i] = _reduced(upstream * part, line.shape)
        return tuple(grads)


def _reduced(gradient: Tensor, shape: torch.Size) -> Tensor:
    """The gradient of a tensor that was broadcast from `shape`."""
    axes = [i for i, size in enumerate(shape) if size == 1 and gradient.shape[i] != 1]
    return gradient.sum(axes, keepdim=True) if axes else gradient

"""Products along an axis, as products of two: a tree for one result, doubling steps for running ones.

The factors of every product are products of different entries, so that intervals stay exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from robustbench_local.errors import UnsupportedOpError

from .registry import expansion

if TYPE_CHECKING:
    from ..builder import Build

__all__: list[str] = []

aten = torch.ops.aten


@expansion(aten.prod.dim_int)
def _prod(build: Build, x: Any, dim: int, keepdim: bool = False, *, dtype: torch.dtype | None = None) -> Any:
    shape = build.shape(x)
    axis, count = _axis(build, shape, dim), shape[dim]
    if count == 0 or dtype not in (None, build.dtype(x)):
        return None
    while count > 1:
        half = count // 2
        left, right, rest = (
            build.call(aten.slice.Tensor, x, axis, *ends)
            for ends in ((0, half), (half, 2 * half), (2 * half, count))
        )
        x = build.call(aten.mul.Tensor, left, right)
        if count % 2:
            x = build.call(aten.cat.default, [x, rest], axis)
        count = half + count % 2
    return x if keepdim else build.call(aten.select.int, x, axis, 0)


@expansion(aten.cumprod.default)
def _cumprod(build: Build, x: Any, dim: int, *, dtype: torch.dtype | None = None) -> Any:
    """After a step of size s every entry is the product of the last 2 s entries (Hillis and Steele 1986)."""
    shape = build.shape(x)
    axis, count = _axis(build, shape, dim), shape[dim]
    if dtype not in (None, build.dtype(x)):
        return None
    step = 1
    while step < count:
        done = build.call(aten.slice.Tensor, x, axis, 0, step)
        here = build.call(aten.slice.Tensor, x, axis, step, count)
        before = build.call(aten.slice.Tensor, x, axis, 0, count - step)
        x = build.call(aten.cat.default, [done, build.call(aten.mul.Tensor, here, before)], axis)
        step *= 2
    return x


def _axis(build: Build, shape: tuple[int, ...], dim: int) -> int:
    axis = dim % len(shape)
    if axis == 0:
        raise UnsupportedOpError(
            "a product along the batch axis", where=f"node {build.name}", cure="never mix samples in forward"
        )
    return axis

"""Gathering and scattering by constant indices, fills, differences: spelled so that any batch size runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..graph import Node, concatenate
from ..rules.filled import filled
from ..rules.indexing import GATHER, PUTS
from .registry import expansion

if TYPE_CHECKING:
    from ..builder import Build

__all__: list[str] = []

aten = torch.ops.aten


@expansion(aten.gather.default)
def _gather(build: Build, x: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Any:
    """By a constant index only; else left without a rule."""
    return None if isinstance(index, Node) else build.add(GATHER, (x, dim, index), {})


def _put(op: Any) -> None:
    batched = PUTS[op]

    @expansion(op)
    def put(build: Build, *args: Any, **kwargs: Any) -> Any:
        """Constants copied for every sample."""
        return build.add(batched, args, kwargs)


for _op in PUTS:
    _put(_op)


@expansion(aten.zeros_like.default, aten.new_zeros.default)
def _zeros(build: Build, x: Any, size: Sequence[int] | None = None, **kind: Any) -> Any:
    return _fill(build, x, size, 0.0)


@expansion(aten.ones_like.default, aten.new_ones.default)
def _ones(build: Build, x: Any, size: Sequence[int] | None = None, **kind: Any) -> Any:
    return _fill(build, x, size, 1.0)


@expansion(aten.full_like.default)
def _full_like(build: Build, x: Any, value: float, **kind: Any) -> Any:
    return _fill(build, x, None, value)


@expansion(aten.new_full.default)
def _new_full(build: Build, x: Any, size: Sequence[int], value: float, **kind: Any) -> Any:
    return _fill(build, x, size, value)


def _fill(build: Build, x: Any, size: Sequence[int] | None, value: float) -> Any:
    """A tensor of one number; None, which leaves it without a rule, where it is not of floating point."""
    if not build.dtype(x).is_floating_point:
        return None
    return build.call(
        filled, x, [int(s) for s in (build.shape(x) if size is None else size)[1:]], float(value)
    )


@expansion(aten.diff.default)
def _diff(build: Build, x: Any, n: int = 1, dim: int = -1, prepend: Any = None, append: Any = None) -> Any:
    """Differences of neighbours, n times; as slices, whose bounds are exact for n = 1."""
    parts = [p for p in (prepend, x, append) if p is not None]
    if len(parts) > 1:
        op = aten.cat.default if all(isinstance(p, Node) for p in parts) else concatenate
        x = build.call(op, parts, dim)
    axis = dim % len(build.shape(x))
    for _ in range(n):
        length = build.shape(x)[axis]
        later = build.call(aten.slice.Tensor, x, axis, 1, length)
        x = build.call(aten.sub.Tensor, later, build.call(aten.slice.Tensor, x, axis, 0, length - 1))
    return x


@expansion(aten.hstack.default)
def _hstack(build: Build, tensors: Sequence[Any]) -> Any:
    """Along axis 1, the first of a sample."""
    op = aten.cat.default if all(isinstance(t, Node) for t in tensors) else concatenate
    return build.call(op, list(tensors), 1)


@expansion(aten.clamp.Tensor, aten.clip.Tensor)
def _clamp(build: Build, x: Any, min: Any = None, max: Any = None) -> Any:
    """With bounds that depend on the input; constant bounds have a rule."""
    if not any(isinstance(t, Node) for t in (min, max)):
        return None
    x = x if min is None else build.call(aten.maximum.default, x, min)
    return x if max is None else build.call(aten.minimum.default, x, max)


@expansion(aten.clamp_min.Tensor)
def _clamp_min(build: Build, x: Any, min: Any) -> Any:
    return build.call(aten.maximum.default, x, min) if isinstance(min, Node) else None


@expansion(aten.clamp_max.Tensor)
def _clamp_max(build: Build, x: Any, max: Any) -> Any:
    return build.call(aten.minimum.default, x, max) if isinstance(max, Node) else None

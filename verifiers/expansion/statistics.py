"""Variance, standard deviation and cosine similarity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..rules.centred import centred
from .registry import expansion

if TYPE_CHECKING:
    from ..builder import Build

__all__: list[str] = []

aten = torch.ops.aten


@expansion(aten.var.correction)
def _variance(
    build: Build, x: Any, dim: Sequence[int] | None = None, *, correction: Any = None, keepdim: bool = False
) -> Any:
    rank = len(build.shape(x))
    axes = sorted({d % rank for d in (range(rank) if dim is None else dim)})
    squares = build.call(aten.square.default, build.call(centred, x, axes))
    mean = build.call(aten.mean.dim, squares, axes, keepdim)
    count = math.prod(build.shape(x)[a] for a in axes)
    divisor = count - (1 if correction is None else float(correction))
    return mean if divisor == count else build.call(aten.mul.Tensor, mean, count / divisor)


@expansion(aten.var.dim)
def _variance_along(
    build: Build, x: Any, dim: Sequence[int] | None, unbiased: bool = True, keepdim: bool = False
) -> Any:
    return _variance(build, x, dim, correction=int(unbiased), keepdim=keepdim)


@expansion(aten.std.correction)
def _deviation(
    build: Build, x: Any, dim: Any = None, *, correction: Any = None, keepdim: bool = False
) -> Any:
    return build.call(aten.sqrt.default, _variance(build, x, dim, correction=correction, keepdim=keepdim))


@expansion(aten.std.dim)
def _deviation_along(
    build: Build, x: Any, dim: Sequence[int] | None, unbiased: bool = True, keepdim: bool = False
) -> Any:
    return build.call(aten.sqrt.default, _variance_along(build, x, dim, unbiased, keepdim))


@expansion(aten.var_mean.dim)
def _variance_and_mean(
    build: Build, x: Any, dim: Sequence[int] | None, unbiased: bool = True, keepdim: bool = False
) -> Any:
    mean = build.call(aten.mean.dim, x, dim, keepdim)
    return _variance_along(build, x, dim, unbiased, keepdim), mean


@expansion(aten.var_mean.correction)
def _corrected_variance_and_mean(
    build: Build, x: Any, dim: Any = None, *, correction: Any = None, keepdim: bool = False
) -> Any:
    mean = build.call(aten.mean.dim, x, dim, keepdim)
    return _variance(build, x, dim, correction=correction, keepdim=keepdim), mean


@expansion(aten.std_mean.dim)
def _deviation_and_mean(
    build: Build, x: Any, dim: Sequence[int] | None, unbiased: bool = True, keepdim: bool = False
) -> Any:
    mean = build.call(aten.mean.dim, x, dim, keepdim)
    return _deviation_along(build, x, dim, unbiased, keepdim), mean


@expansion(aten.cosine_similarity.default)
def _cosine_similarity(build: Build, one: Any, other: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """<x, y> of unit vectors: each is divided by its norm, which counts as eps at least."""
    units = []
    for x in (one, other):
        norm = build.call(aten.linalg_vector_norm.default, x, 2.0, [dim], True)
        units.append(build.call(aten.div.Tensor, x, build.call(aten.clamp_min.default, norm, eps)))
    return build.call(aten.sum.dim_IntList, build.call(aten.mul.Tensor, *units), [dim])

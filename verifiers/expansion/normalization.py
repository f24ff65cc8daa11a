"""Layer, group, instance and root-mean-square normalisation: the deviation times one over its size.

All are d / sqrt(mean(d^2) + eps) with d = x - mean(x), or d = x for RMS normalisation (Ba et al. 2016, arXiv
1607.06450; Wu and He 2018, arXiv 1803.08494; Zhang and Sennrich 2019, arXiv 1910.07467). The last product
is the operator `normalised`, whose rule knows that its two factors depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from robustbench_local.errors import UnsupportedOpError

from ..rules.centred import centred
from ..rules.inverse_deviation import inverse_deviation
from ..rules.normalised import normalised
from .registry import expansion

if TYPE_CHECKING:
    from ..builder import Build

__all__: list[str] = []

aten = torch.ops.aten


@expansion(aten.layer_norm.default, aten.native_layer_norm.default)
def _layer_norm(
    build: Build,
    x: Any,
    normalized_shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    *rest: Any,
    eps: float = 1e-5,
) -> Any:
    eps = rest[0] if rest else eps  # after it only whether cuDNN may serve
    axes = _last(build, x, len(normalized_shape))
    return _affine(build, _normalised(build, build.call(centred, x, axes), axes, eps, True), weight, bias)


@expansion(aten.rms_norm.default)
def _rms_norm(
    build: Build, x: Any, normalized_shape: Sequence[int], weight: Any = None, eps: float | None = None
) -> Any:
    axes = _last(build, x, len(normalized_shape))
    small = torch.finfo(build.dtype(x)).eps if eps is None else eps
    return _affine(build, _normalised(build, x, axes, small, False), weight, None)


@expansion(aten.group_norm.default)
def _group_norm(
    build: Build,
    x: Any,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    *rest: Any,
    eps: float = 1e-5,
) -> Any:
    eps = rest[0] if rest else eps
    channels, *space = build.shape(x)[1:]
    grouped = build.call(aten.reshape.default, x, [-1, num_groups, channels // num_groups * math.prod(space)])
    y = _normalised(build, build.call(centred, grouped, [2]), [2], eps, True)
    y = build.call(aten.reshape.default, y, [-1, channels, *space])
    return _affine(build, y, *_per_channel(build, (weight, bias), len(space)))


@expansion(aten.instance_norm.default)
def _instance_norm(build: Build, x: Any, weight: Any, bias: Any, *rest: Any) -> Any:
    running_mean, running_var, use_input_stats, momentum, eps, _ = rest
    if not use_input_stats:
        statistics = (weight, bias, running_mean, running_var, False)
        return build.call(aten.batch_norm.default, x, *statistics, momentum, eps, False)
    axes = list(range(2, len(build.shape(x))))
    y = _normalised(build, build.call(centred, x, axes), axes, eps, True)
    return _affine(build, y, *_per_channel(build, (weight, bias), len(axes)))


@expansion(aten.batch_norm.default)
def _batch_norm(build: Build, *args: Any) -> None:
    """Refused in training mode, where samples depend on each other; else left to its rule."""
    if bool(args[5]) or args[3] is None:
        raise UnsupportedOpError(
            "batch norm by batch statistics makes samples depend on each other",
            where=f"node {build.name}",
            cure="use track_running_stats=True and evaluation mode",
        )


def _normalised(build: Build, d: Any, axes: list[int], eps: float, zero_sum: bool) -> Any:
    """d / sqrt(mean(d^2) + eps) along axes."""
    squares = build.call(aten.square.default, d)
    variance = build.call(aten.mean.dim, squares, axes, True)
    rate = build.call(inverse_deviation, variance, eps)
    return build.call(normalised, d, rate, axes, eps, zero_sum)


def _affine(build: Build, y: Any, weight: Any, bias: Any) -> Any:
    y = y if weight is None else build.call(aten.mul.Tensor, y, weight)
    return y if bias is None else build.call(aten.add.Tensor, y, bias)


def _per_channel(build: Build, constants: Sequence[Any], space: int) -> list[Any]:
    """Constants (C,) as (C, 1, ...), to broadcast over a sample."""
    return [
        None if c is None else build.call(aten.reshape.default, c, [-1, *(1 for _ in range(space))])
        for c in constants
    ]


def _last(build: Build, x: Any, count: int) -> list[int]:
    rank = len(build.shape(x))
    return list(range(rank - count, rank))

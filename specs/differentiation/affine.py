"""Derivatives of functions that are affine or bilinear in their arguments: layers, shapes, sums, products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .dual import Dual, by_sample, linear, primal, refused, rule, wide

Function = Callable[..., Any]

rule(
    *(torch.reshape, torch.squeeze, torch.unsqueeze, torch.transpose, torch.permute),
    *(torch.swapaxes, torch.movedim, torch.narrow, torch.select, torch.index_select, torch.flip, torch.roll),
    *(torch.sum, torch.mean, torch.chunk, torch.split, torch.unbind, torch.unflatten),
    *(Tensor.reshape, Tensor.view, Tensor.squeeze, Tensor.unsqueeze, Tensor.transpose),
    *(Tensor.permute, Tensor.expand, Tensor.narrow, Tensor.select),
    *(Tensor.index_select, Tensor.flip, Tensor.roll, Tensor.sum, Tensor.mean, Tensor.chunk),
    *(Tensor.split, Tensor.unbind, Tensor.unflatten),
)(linear)
rule(
    *(torch.neg, Tensor.neg, Tensor.contiguous, Tensor.clone, Tensor.to, Tensor.float, Tensor.double),
    *(F.avg_pool1d, F.avg_pool2d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d),
)(by_sample)


@rule(F.linear, F.conv1d, F.conv2d, F.conv_transpose1d, F.conv_transpose2d)
def _layer(
    function: Function, of: object, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
) -> Dual:
    if not isinstance(of, Dual) or isinstance(weight, Dual) or isinstance(bias, Dual):
        raise refused("a layer whose weights move")
    value = function(of.value, weight, bias, *args, **kwargs)
    return Dual(value, function(of.tangent, weight, None, *args, **kwargs))


@rule(torch.zeros_like, torch.ones_like, Tensor.new_zeros, Tensor.new_ones, Tensor.new_full)
def _constant(function: Function, of: Dual, *args: Any, **kwargs: Any) -> Tensor:
    made: Tensor = function(of.value, *args, **kwargs)
    return made


@rule(torch.flatten, Tensor.flatten)
def _flat(function: Function, of: Dual, start_dim: int = 0, end_dim: int = -1) -> Dual:
    tangent = of.tangent if start_dim > 0 else wide(of)
    return Dual(function(of.value, start_dim, end_dim), function(tangent, start_dim, end_dim))


@rule(torch.add, torch.sub, Tensor.add, Tensor.sub, Tensor.__add__, Tensor.__radd__, Tensor.__sub__)
def _sum(function: Function, left: object, right: object, *, alpha: float = 1) -> Dual:
    value = function(primal(left), primal(right), **({} if alpha == 1 else {"alpha": alpha}))
    factor = -alpha if function in (torch.sub, Tensor.sub, Tensor.__sub__) else alpha
    parts = [left.tangent] if isinstance(left, Dual) else []
    if isinstance(right, Dual):
        parts.append(right.tangent if factor == 1 else factor * right.tangent)
    return _spread(value, parts[0] if len(parts) == 1 else parts[0] + parts[1])


def _spread(value: Tensor, tangent: Tensor) -> Dual:
    """A derivative that an operand of fewer axes, or with axes of length 1, has spread out."""
    return Dual(value, tangent if tangent.shape[1:] == value.shape[1:] else tangent + 0 * value)


@rule(torch.rsub, Tensor.__rsub__)
def _reflected(function: Function, left: object, right: object) -> Dual:
    value = function(primal(left), primal(right))  # right - left
    parts = [-left.tangent] if isinstance(left, Dual) else []
    parts += [right.tangent] if isinstance(right, Dual) else []
    return _spread(value, parts[0] if len(parts) == 1 else parts[0] + parts[1])


def _tangent(of: Dual) -> Tensor:
    return of.tangent


@rule(torch.mul, torch.matmul, torch.bmm, torch.mm, Tensor.mul, Tensor.matmul, Tensor.__mul__,
      Tensor.__rmul__, Tensor.__matmul__, Tensor.bmm, Tensor.mm)  # fmt: skip
def _product(function: Function, left: object, right: object) -> Dual:
    a, b = primal(left), primal(right)
    shown = wide if function in (torch.bmm, Tensor.bmm) else _tangent  # other products broadcast
    parts = [function(shown(left), b)] if isinstance(left, Dual) else []
    parts += [function(a, shown(right))] if isinstance(right, Dual) else []
    return Dual(function(a, b), parts[0] if len(parts) == 1 else parts[0] + parts[1])


@rule(Tensor.__rmatmul__)
def _reflected_product(function: Function, left: object, right: object) -> Dual:
    del function
    return _product(torch.matmul, right, left)


@rule(torch.div, torch.true_divide, Tensor.div, Tensor.__truediv__)
def _quotient(function: Function, left: object, right: object) -> Dual:
    b, value = primal(right), function(primal(left), primal(right))
    parts = [wide(left) / b] if isinstance(left, Dual) else []
    parts += [-(value * wide(right) / b)] if isinstance(right, Dual) else []
    return Dual(value, parts[0] if len(parts) == 1 else parts[0] + parts[1])


@rule(torch.cat, torch.stack, torch.concat)
def _joined(function: Function, parts: Sequence[Any], dim: int = 0) -> Dual:
    tangents = [wide(p) if isinstance(p, Dual) else torch.zeros_like(p) for p in parts]
    return Dual(function([primal(p) for p in parts], dim), function(tangents, dim))


@rule(F.dropout)
def _dropout(
    function: Function, of: Dual, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Dual:
    del function, p, inplace
    if training:
        raise refused("dropout in training")
    return of


@rule(F.batch_norm)
def _batch_norm(
    function: Function, of: Dual, mean: Tensor | None, variance: Tensor | None, **settings: Any
) -> Dual:
    if settings.get("training") or mean is None or variance is None:
        raise refused("batch normalisation by the batch's own statistics")
    value = function(of.value, mean, variance, **settings)
    settings = {**settings, "bias": None}
    return Dual(value, function(of.tangent, torch.zeros_like(mean), variance, **settings))

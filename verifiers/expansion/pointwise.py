"""Functions of several tensors, coordinate by coordinate: gated units, fused products, interpolation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ..graph import Node
from .registry import expansion

if TYPE_CHECKING:
    from ..builder import Build

__all__: list[str] = []

aten = torch.ops.aten


@expansion(aten.glu.default)
def _glu(build: Build, x: Any, dim: int = -1) -> Any:
    """The first half times the sigmoid of the second (Dauphin et al. 2017, arXiv 1612.08083)."""
    shape = build.shape(x)
    axis = dim % len(shape)
    half = shape[axis] // 2
    value = build.call(aten.slice.Tensor, x, axis, 0, half)
    gate = build.call(aten.slice.Tensor, x, axis, half, 2 * half)
    return build.call(aten.mul.Tensor, value, build.call(aten.sigmoid.default, gate))


@expansion(aten.addcmul.default)
def _addcmul(build: Build, x: Any, one: Any, other: Any, *, value: float = 1) -> Any:
    product = _scaled(build, build.call(aten.mul.Tensor, one, other), value)
    return build.call(aten.add.Tensor, x, product)


@expansion(aten.addcdiv.default)
def _addcdiv(build: Build, x: Any, one: Any, other: Any, *, value: float = 1) -> Any:
    quotient = _scaled(build, build.call(aten.div.Tensor, one, other), value)
    return build.call(aten.add.Tensor, x, quotient)


@expansion(aten.lerp.Scalar)
def _lerp_by_number(build: Build, start: Any, end: Any, weight: float) -> Any:
    return build.call(
        aten.add.Tensor,
        build.call(aten.mul.Tensor, start, 1 - weight),
        build.call(aten.mul.Tensor, end, weight),
    )


@expansion(aten.lerp.Tensor)
def _lerp(build: Build, start: Any, end: Any, weight: Any) -> Any:
    """Left to its rule where all three depend on the input."""
    if all(isinstance(x, Node) for x in (start, end, weight)):
        return None
    gap = build.call(aten.sub.Tensor, end, start)
    return build.call(aten.add.Tensor, start, build.call(aten.mul.Tensor, weight, gap))


@expansion(aten.remainder.Tensor, aten.remainder.Scalar_Tensor)
def _remainder(build: Build, x: Any, divisor: Any) -> Any:
    """Left to its rule where the divisor is constant."""
    if not isinstance(divisor, Node):
        return None
    return _rest(build, x, divisor, aten.floor.default)


@expansion(aten.fmod.Tensor)
def _fmod(build: Build, x: Any, divisor: Any) -> Any:
    """Left to its rule where the divisor is constant."""
    if not isinstance(divisor, Node):
        return None
    return _rest(build, x, divisor, aten.trunc.default)


@expansion(aten.floor_divide.default, aten.floor_divide.Scalar)
def _floor_divide(build: Build, x: Any, divisor: Any) -> Any:
    return build.call(aten.floor.default, build.call(aten.div.Tensor, x, divisor))


@expansion(aten.div.Tensor_mode, aten.div.Scalar_mode)
def _rounded_quotient(build: Build, x: Any, divisor: Any, *, rounding_mode: str | None = None) -> Any:
    quotient = build.call(aten.div.Tensor, x, divisor)
    if rounding_mode is None:
        return quotient
    rounding = {"floor": aten.floor.default, "trunc": aten.trunc.default}[rounding_mode]
    return build.call(rounding, quotient)


@expansion(aten.select.int)
def _select(build: Build, x: Any, dim: int, index: int) -> Any:
    """One of the tensors that a stack puts side by side is that tensor; else left to its rule."""
    if x.op is not aten.stack.default:
        return None
    rank = len(x.shape) + 1
    along = (x.args[1] if len(x.args) > 1 else 0) % rank
    parts = x.args[0]
    if dim % rank != along or not all(not isinstance(p, (torch.Tensor,)) for p in parts):
        return None
    return x.inputs[index % len(parts)] if len(x.inputs) == len(parts) else None


def _rest(build: Build, x: Any, divisor: Any, whole: Any) -> Any:
    """x - divisor * whole(x / divisor)."""
    quotient = build.call(whole, build.call(aten.div.Tensor, x, divisor))
    return build.call(aten.sub.Tensor, x, build.call(aten.mul.Tensor, divisor, quotient))


def _scaled(build: Build, x: Any, factor: float) -> Any:
    return x if factor == 1 else build.call(aten.mul.Tensor, x, factor)

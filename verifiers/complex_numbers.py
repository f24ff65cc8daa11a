"""Fourier transforms without complex numbers: a complex tensor is a node with a last axis (real, imaginary).

A transform is linear in the real and imaginary parts, so it is one matrix product; `real`, `imag`, `abs` and
products with constants lead back to real tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from .builder import Build
from .graph import Node

__all__ = ["TRANSFORMS", "Complex", "complex_call", "transform"]

aten = torch.ops.aten

#: Transforms: along one axis (default -1) or several (default: see `_axes`).
TRANSFORMS = {
    aten.fft_fft.default: 1,
    aten.fft_ifft.default: 1,
    aten.fft_rfft.default: 1,
    aten.fft_irfft.default: 1,
    aten.fft_fft2.default: 2,
    aten.fft_ifft2.default: 2,
    aten.fft_rfft2.default: 2,
    aten.fft_irfft2.default: 2,
}


@dataclass(frozen=True, slots=True, eq=False)
class Complex:
    """A complex tensor; `parts` computes (B, *shape, 2)."""

    parts: Node


def transform(
    build: Build, op: Any, x: Node | Complex, args: Sequence[Any], kwargs: dict[str, Any]
) -> Node | Complex:
    """The transform of a real or complex tensor; a real tensor where the transform gives one."""
    length, dim, norm = (*args, None, None, None)[:3]
    length, norm = kwargs.get("n", kwargs.get("s", length)), kwargs.get("norm", norm)
    dim = kwargs.get("dim", dim)
    count = TRANSFORMS[op]
    node = x.parts if isinstance(x, Complex) else x
    rank = len(node.shape) + (0 if isinstance(x, Complex) else 1)
    dims = [-2, -1][-count:] if dim is None else [dim] if isinstance(dim, int) else list(dim)
    axes = [d % rank for d in dims]
    if 0 in axes or len(axes) != count:
        raise UnsupportedOpError(f"{op} along the axes {dims}", where=f"node {build.name}", cure=_CURE)
    rest = [a for a in range(rank) if a not in axes]
    inner = [*axes, rank] if isinstance(x, Complex) else axes
    sizes = [build.shape(node)[a] for a in inner]
    flat = build.call(aten.permute.default, node, [*rest, *inner])
    outer = [build.shape(node)[a] for a in rest[1:]]
    flat = build.call(aten.reshape.default, flat, [-1, *outer, math.prod(sizes)])
    matrix, shape, is_complex = _matrix(op, sizes, isinstance(x, Complex), length, norm, build.dtype(node))
    result = build.call(aten.linear.default, flat, matrix)
    result = build.call(aten.reshape.default, result, [-1, *outer, *shape])
    order = [(*rest, *axes).index(a) for a in range(rank)] + ([rank] if is_complex else [])
    result = build.call(aten.permute.default, result, order)
    return Complex(result) if is_complex else result


def complex_call(build: Build, op: Any, args: Sequence[Any]) -> Node | Complex:
    """An operator on complex tensors. UnsupportedOpError: not one of those known here."""
    first, second = (*args, None)[:2]
    if not isinstance(first, Complex):
        first, second = second, first
    if isinstance(first, Complex) and len(args) == 1:
        last = len(first.parts.shape)
        if op in _PARTS:
            part: Node = build.call(aten.select.int, first.parts, last, _PARTS[op])
            return part
        if op is aten.abs.default:
            size: Node = build.call(aten.linalg_vector_norm.default, first.parts, 2.0, [last])
            return size
        if op is aten.view_as_real.default:
            return first.parts
    if (
        op in (aten.add.Tensor, aten.sub.Tensor)
        and isinstance(first, Complex)
        and isinstance(second, Complex)
    ):
        return Complex(build.call(op, *(a.parts for a in args)))
    if op is aten.mul.Tensor and isinstance(first, Complex) and not isinstance(second, (Node, Complex)):
        return Complex(_scaled(build, first.parts, second))
    raise UnsupportedOpError(f"{op} of complex tensors", where=f"node {build.name}", cure=_CURE)


_PARTS = {aten.real.default: 0, aten.imag.default: 1}
_CURE = "transform sample axes; take real, imag or abs, add, or multiply by constants"


def _matrix(
    op: Any, sizes: list[int], from_complex: bool, length: Any, norm: Any, dtype: torch.dtype
) -> tuple[Tensor, list[int], bool]:
    """The transform as a matrix (out, in), the shape of its output, and whether that is complex."""
    count = math.prod(sizes)
    basis = torch.eye(count, dtype=torch.float64).reshape(count, *sizes)
    if from_complex:
        basis = torch.view_as_complex(basis)
    axes = list(range(1, basis.dim()))
    image: Tensor = op(basis, length, axes[0] if TRANSFORMS[op] == 1 else axes, norm)
    is_complex = image.is_complex()
    image = torch.view_as_real(image) if is_complex else image
    return image.flatten(1).T.to(dtype).contiguous(), list(image.shape[1:]), is_complex


def _scaled(build: Build, parts: Node, factor: Any) -> Any:
    """parts times a constant, real or complex."""
    if not isinstance(factor, (int, float, complex)):
        last = len(build.shape(factor))
        if not build.dtype(factor).is_complex:
            return build.call(aten.mul.Tensor, parts, build.call(aten.unsqueeze.default, factor, last))
        factor = build.call(aten.view_as_real.default, factor)
        re, im = (build.call(aten.select.int, factor, last, i) for i in (0, 1))
    elif isinstance(factor, complex):
        re, im = factor.real, factor.imag
    else:
        return build.call(aten.mul.Tensor, parts, factor)
    axis = len(parts.shape)
    a, b = (build.call(aten.select.int, parts, axis, i) for i in (0, 1))
    real = build.call(aten.sub.Tensor, *(build.call(aten.mul.Tensor, *p) for p in ((a, re), (b, im))))
    imag = build.call(aten.add.Tensor, *(build.call(aten.mul.Tensor, *p) for p in ((a, im), (b, re))))
    return build.call(aten.stack.default, [real, imag], axis)

"""Rounding with a direction, and exact comparisons of sums: what "lies in the set" rests on.

A set keeps the user's numbers in float64. Computing in float32 needs a cast that never shrinks the
set (verifiers) or never leaves it (attacks); nearest rounding does both wrong about half of the time.
TwoSum: D. Knuth, The Art of Computer Programming, vol. 2, section 4.2.2, theorem B.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["distance_at_most", "enclose_sum", "round_down", "round_up", "sign_of_dot"]


def round_up(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The smallest numbers of `dtype` that are not below x, elementwise; NaN stays NaN."""
    nearest = x.to(dtype)
    if dtype == x.dtype:
        return nearest
    return torch.where(nearest.to(x.dtype) < x, _next(nearest, math.inf), nearest)


def round_down(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The largest numbers of `dtype` that are not above x, elementwise; NaN stays NaN."""
    return -round_up(-x, dtype)


def enclose_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The largest floats not above and the smallest not below the real sum a + b; equal where it is exact."""
    total = a + b
    part = total - a
    error = (a - (total - part)) + (b - part)  # TwoSum: total + error is the real sum
    return (
        torch.where(error < 0, _next(total, -math.inf), total),
        torch.where(error > 0, _next(total, math.inf), total),
    )


def distance_at_most(x: Sequence[float], center: Sequence[float], radius: float, power: int) -> bool:
    """Whether sum |x_i - center_i|^power <= radius^power, decided in exact integer arithmetic.

    All numbers finite, power 1 or 2. Every float is an integer times a power of two, so one common
    scale turns the question into integers. Costs about a microsecond per coordinate.
    """
    scaled = _integers([radius, *x, *center])
    size = len(x)
    points, centers = scaled[1 : size + 1], scaled[size + 1 :]
    total = sum(abs(p - c) ** power for p, c in zip(points, centers, strict=True))
    return bool(total <= scaled[0] ** power)


def sign_of_dot(a: Sequence[float], x: Sequence[float]) -> int:
    """-1, 0 or 1: the sign of sum a_i x_i in exact integer arithmetic; all numbers finite."""
    total = sum(p * q for p, q in zip(_integers(a), _integers(x), strict=True))
    return (total > 0) - (total < 0)


def _next(x: Tensor, towards: float) -> Tensor:
    return torch.nextafter(x, torch.tensor(towards, dtype=x.dtype, device=x.device))


def _integers(values: Sequence[float]) -> list[int]:
    """The values times one common power of two that makes all of them integers."""
    pairs = [math.frexp(v) for v in values]
    lowest = min((e for m, e in pairs if m), default=0)
    return [int(math.ldexp(m, 53)) << (e - lowest) if m else 0 for m, e in pairs]

"""Rounding with a direction, and exact comparisons of sums: what "lies in the set" rests on.

A set keeps the user's numbers in float64. Computing in float32 needs a cast that never shrinks the
set (verifiers) or never leaves it (attacks); nearest rounding does both wrong about half of the time.
TwoSum: D. Knuth, The Art of Computer Programming, vol. 2, section 4.2.2, theorem B.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

__all__ = [
    "distance_at_most",
    "enclose_sum",
    "on_segment",
    "round_down",
    "round_up",
    "sign_of_dot",
    "weighted_distance_at_most",
]

_BITS = 256  # of fractions summed before exact rationals are asked


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


def weighted_distance_at_most(
    x: Sequence[float], center: Sequence[float], radius: Sequence[float], power: int
) -> bool:
    """Whether sum (|x_i - center_i| / radius_i)^power <= 1, decided exactly.

    All numbers finite, power 1 or 2; radius_i >= 0, and 0 asks for x_i = center_i. Sums of 256-bit
    fractions decide all but the closest cases, which are left to rational arithmetic.
    """
    size = len(x)
    scaled = _integers([*x, *center, *radius])
    points, centers, radii = scaled[:size], scaled[size : 2 * size], scaled[2 * size :]
    terms = []
    for p, c, r in zip(points, centers, radii, strict=True):
        if p != c and r == 0:
            return False
        if p != c:
            terms.append((abs(p - c) ** power, r**power))
    one, low, cut = 1 << _BITS, 0, 0
    for top, bottom in terms:
        whole, rest = divmod(top << _BITS, bottom)
        low, cut = low + whole, cut + (rest > 0)
    if low + cut <= one:  # the sum lies in [low, low + cut), or is low where nothing was cut
        return True
    return low < one and _total([Fraction(top, bottom) for top, bottom in terms]) <= 1


def on_segment(x: Sequence[float], first: Sequence[float], second: Sequence[float]) -> bool:
    """Whether x = first + t (second - first) for a real t in [0, 1], decided exactly; finite numbers."""
    steps = [Fraction(q) - Fraction(p) for p, q in zip(first, second, strict=True)]
    lead = max(range(len(steps)), key=lambda i: abs(steps[i]))
    if steps[lead] == 0:
        return all(v == p for v, p in zip(x, first, strict=True))
    t = (Fraction(x[lead]) - Fraction(first[lead])) / steps[lead]
    return 0 <= t <= 1 and all(
        Fraction(v) == Fraction(p) + t * step for v, p, step in zip(x, first, steps, strict=True)
    )


def _total(terms: Sequence[Fraction]) -> Fraction:
    """The sum, added in pairs: denominators then stay short for as long as possible."""
    if len(terms) < 2:
        return terms[0] if terms else Fraction(0)
    half = len(terms) // 2
    return _total(terms[:half]) + _total(terms[half:])


def _next(x: Tensor, towards: float) -> Tensor:
    return torch.nextafter(x, torch.tensor(towards, dtype=x.dtype, device=x.device))


def _integers(values: Sequence[float]) -> list[int]:
    """The values times one common power of two that makes all of them integers."""
    pairs = [math.frexp(v) for v in values]
    lowest = min((e for m, e in pairs if m), default=0)
    return [int(math.ldexp(m, 53)) << (e - lowest) if m else 0 for m, e in pairs]

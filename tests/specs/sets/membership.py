"""Membership by rational arithmetic, from the numbers a set was made of: one function per kind of set."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import singledispatch

from torch import Tensor

from robustbench_local.specs import Ball, Box, Coupled, CoupledBall, InputSet, Intersection, Polytope, Product


@singledispatch
def member(inputs: InputSet, x: Tensor, b: int) -> bool:
    """Whether x[b] lies in set b, for finite x."""
    raise TypeError(f"no oracle for {type(inputs).__name__}: register one here")


@member.register
def _box(inputs: Box, x: Tensor, b: int) -> bool:
    lower, upper = fractions(inputs.lower[b]), fractions(inputs.upper[b])
    return all(lo <= v <= hi for lo, v, hi in zip(lower, fractions(x[b]), upper, strict=True))


@member.register
def _ball(inputs: Ball, x: Tensor, b: int) -> bool:
    gaps = [abs(v - c) for v, c in zip(fractions(x[b]), fractions(inputs.center[b]), strict=True)]
    radius = Fraction(float(inputs.radius[b]))
    if math.isinf(inputs.p):
        return max(gaps) <= radius
    power = int(inputs.p)
    return sum(gap**power for gap in gaps) <= radius**power


@member.register
def _intersection(inputs: Intersection, x: Tensor, b: int) -> bool:
    return member(inputs.ball, x, b) and member(inputs.limits, x, b)


@member.register
def _polytope(inputs: Polytope, x: Tensor, b: int) -> bool:
    rows, point = inputs.rows, fractions(x[b])
    for i, strict in enumerate(rows.strict.tolist()):
        A = fractions(rows.A[b if rows.A.shape[0] > 1 else 0, i])
        left = sum((a * v for a, v in zip(A, point, strict=True)), Fraction(0))
        right = Fraction(float(rows.b[b, i]))
        if left > right or (strict and left == right):
            return False
    return member(inputs.limits, x, b)


@member.register
def _coupled(inputs: Coupled, x: Tensor, b: int) -> bool:
    first, second = inputs.split(x)
    gaps = [y - v for v, y in zip(fractions(first[b]), fractions(second[b]), strict=True)]
    low, high = (fractions(end[b]) for end in inputs.gap)
    close = all(lo <= gap <= hi for lo, gap, hi in zip(low, gaps, high, strict=True))
    return close and member(inputs.boxes[0], first, b) and member(inputs.boxes[1], second, b)


@member.register
def _coupled_ball(inputs: CoupledBall, x: Tensor, b: int) -> bool:
    first, second = inputs.split(x)
    power, radius = int(inputs.p), Fraction(float(inputs.radius[b]))
    gaps = [abs(y - v) for v, y in zip(fractions(first[b]), fractions(second[b]), strict=True)]
    close = sum(gap**power for gap in gaps) <= radius**power
    boxes = inputs.pairs.boxes
    return close and member(boxes[0], first, b) and member(boxes[1], second, b)


@member.register
def _product(inputs: Product, x: Tensor, b: int) -> bool:
    return all(member(block, part, b) for block, part in zip(inputs.blocks, inputs.split(x), strict=True))


def fractions(x: Tensor) -> list[Fraction]:
    """The elements as exact rationals, row-major."""
    return [Fraction(v) for v in x.flatten().tolist()]

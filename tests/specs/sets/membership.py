"""Membership by rational arithmetic, from the numbers a set was made of: one function per kind of set."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import singledispatch

import torch
from torch import Tensor

from robustbench_local.specs import (
    Ball,
    Box,
    Choice,
    Concatenation,
    Coupled,
    CoupledBall,
    InputSet,
    Intersection,
    Levels,
    Meet,
    Patch,
    Polytope,
    Product,
    Segment,
    SparseBall,
    TokenSet,
    Union,
    WeightedBall,
)


@singledispatch
def member(inputs: InputSet, x: Tensor, b: int) -> bool:
    """Whether x[b] lies in set b, for finite x."""
    raise TypeError(f"no oracle for {type(inputs).__name__}: register one here")


@member.register
def _box(inputs: Box, x: Tensor, b: int) -> bool:
    # faces that are no floats (of a linf ball) are kept rounded inward for membership
    lower, upper = (fractions(face[b]) for face in inputs.inner(torch.float64))
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
def _meet(inputs: Meet, x: Tensor, b: int) -> bool:
    return all(member(one, x, b) for one in inputs.sets)


@member.register
def _product(inputs: Product, x: Tensor, b: int) -> bool:
    return all(member(block, part, b) for block, part in zip(inputs.blocks, inputs.split(x), strict=True))


@member.register
def _sparse(inputs: SparseBall, x: Tensor, b: int) -> bool:
    groups = range(x[b].numel()) if inputs.groups is None else inputs.groups.flatten().tolist()
    pairs = zip(groups, fractions(x[b]), fractions(inputs.center[b]), strict=True)
    changed = {group for group, v, c in pairs if v != c}
    return len(changed) <= int(inputs.k[b]) and member(inputs.limits, x, b)


@member.register
def _weighted(inputs: WeightedBall, x: Tensor, b: int) -> bool:
    numbers = zip(fractions(x[b]), fractions(inputs.center[b]), fractions(inputs.radius[b]), strict=True)
    terms = [(abs(v - c), r) for v, c, r in numbers if v != c]
    if any(r == 0 for _, r in terms):
        return False
    inside = sum((gap / r) ** int(inputs.p) for gap, r in terms) <= 1
    return inside and (inputs.limits is None or member(inputs.limits, x, b))


@member.register
def _patch(inputs: Patch, x: Tensor, b: int) -> bool:
    changed = (x[b].double() != inputs.center[b]).reshape(-1, *x.shape[-2:]).any(0).nonzero().tolist()
    height, width = inputs.size
    covers = (
        all(row <= r < row + height and column <= c < column + width for r, c in changed)
        for row, column in inputs.places.tolist()
    )
    return any(covers) and member(inputs.limits, x, b)


@member.register
def _choice(inputs: Choice, x: Tensor, b: int) -> bool:
    points = zip(inputs.points[b], inputs.mask[b].tolist(), strict=True)
    return any(kept and fractions(x[b]) == fractions(point) for point, kept in points)


@member.register
def _levels(inputs: Levels, x: Tensor, b: int) -> bool:
    flat = x.flatten(1)
    return member(inputs.limits, x, b) and all(
        member(values, flat[:, index], b) for index, values in inputs.blocks
    )


@member.register
def _segment(inputs: Segment, x: Tensor, b: int) -> bool:
    first, second, point = (fractions(t[b]) for t in (inputs.first, inputs.second, x))
    if first == second:
        return point == first
    i = next(i for i, (p, q) in enumerate(zip(first, second, strict=True)) if p != q)
    t = (point[i] - first[i]) / (second[i] - first[i])
    return 0 <= t <= 1 and all(v == (1 - t) * p + t * q for v, p, q in zip(point, first, second, strict=True))


@member.register
def _union(inputs: Union, x: Tensor, b: int) -> bool:
    return any(member(part, x, b) for part in inputs.members)


@member.register
def _concatenation(inputs: Concatenation, x: Tensor, b: int) -> bool:
    part, place = next((m, p.tolist()) for m, p in zip(inputs.members, inputs.places, strict=True) if b in p)
    return member(part, x[place], place.index(b))


@member.register
def _tokens(inputs: TokenSet, x: Tensor, b: int) -> bool:
    changed = 0
    for t, row in enumerate(x[b]):
        rows = zip(inputs.candidates[b, t], inputs.mask[b, t].tolist(), strict=True)
        if not any(there and fractions(row) == fractions(candidate) for candidate, there in rows):
            return False
        changed += fractions(row) != fractions(inputs.candidates[b, t, int(inputs.original[b, t])])
    return changed <= int(inputs.swaps[b])


def fractions(x: Tensor) -> list[Fraction]:
    """The elements as exact rationals, row-major."""
    return [Fraction(v) for v in x.flatten().tolist()]

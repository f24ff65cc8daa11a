"""Points with few digits on A x = b: what floating point numbers can satisfy exactly.

Rounding a nearest point leaves every equality. Here the coordinates go to a coarse dyadic grid first, and
one pivot per equality is then solved for in rational arithmetic; on the grid it often has a float value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

__all__ = ["opposite_rows", "points_on"]

_Row = tuple[list[Fraction], Fraction]


def opposite_rows(A: Sequence[Sequence[float]], b: Sequence[float]) -> list[int]:
    """The first of each two rows of A x <= b that together say A_i x = b_i."""
    places: dict[tuple[float, ...], int] = {}
    found = []
    for i, (row, bound) in enumerate(zip(A, b, strict=True)):
        partner = places.get(tuple(0.0 - v for v in (*row, bound)))
        if partner is not None:
            found.append(partner)
        places.setdefault(tuple(0.0 + v for v in (*row, bound)), i)
    return found


def points_on(
    rows: Sequence[tuple[Sequence[float], float]],
    near: Sequence[float],
    faces: tuple[Sequence[float], Sequence[float]],
    digits: int,
) -> Iterator[list[float]]:
    """Points x near a point with A x = b exactly for the equality rows (A_i, b_i), finest grid first.

    digits: binary digits of the float type. The faces' own numbers may be taken; the points may
    lie outside of the faces or need more digits, which callers test.
    """
    solved = _eliminate([([Fraction(v) for v in row], Fraction(bound)) for row, bound in rows], faces)
    if solved is None:
        return
    largest = max((abs(v) for v in (*near, *faces[0], *faces[1])), default=0.0)
    top = math.frexp(largest)[1] if largest else 0
    for lost in range(1, digits, 2):
        step = Fraction(2) ** (top - digits + lost)
        exact = [_snap(v, low, high, step) for v, low, high in zip(near, *faces, strict=True)]
        for pivot, (row, bound) in solved.items():
            others = sum(
                a * v for j, (a, v) in enumerate(zip(row, exact, strict=True)) if a and j not in solved
            )
            exact[pivot] = bound - others
        point = [float(v) for v in exact]
        if all(Fraction(p) == v for p, v in zip(point, exact, strict=True)):
            yield point


def _eliminate(rows: list[_Row], faces: tuple[Sequence[float], Sequence[float]]) -> dict[int, _Row] | None:
    """Reduced rows by pivot (the pivot's coefficient is 1); None where they contradict each other."""
    free = [high > low for low, high in zip(*faces, strict=True)]
    solved: dict[int, _Row] = {}
    for given in rows:
        row, bound = given
        for pivot, (other, value) in solved.items():
            if row[pivot]:
                factor = row[pivot]
                row = [a - factor * o for a, o in zip(row, other, strict=True)]
                bound = bound - factor * value
        candidates = [j for j, a in enumerate(row) if a and free[j]] or [j for j, a in enumerate(row) if a]
        if not candidates:
            if bound:
                return None
            continue
        # a power of two divides without new digits; the widest coordinate is least likely to leave the box
        pivot = max(candidates, key=lambda j: (_plain(row[j]), faces[1][j] - faces[0][j]))
        scale = row[pivot]
        row, bound = [a / scale for a in row], bound / scale
        for place, (other, value) in solved.items():
            factor = other[pivot]
            if factor:
                changed = [o - factor * a for o, a in zip(other, row, strict=True)]
                solved[place] = changed, value - factor * bound
        solved[pivot] = row, bound
    return solved


def _plain(value: Fraction) -> bool:
    """Whether |value| is a power of two."""
    up, down = abs(value.numerator), value.denominator
    return up & (up - 1) == 0 and down & (down - 1) == 0


def _snap(value: float, low: float, high: float, step: Fraction) -> Fraction:
    """The multiple of step nearest to the value, or a face where that lies outside."""
    return min(max(round(Fraction(value) / step) * step, Fraction(low)), Fraction(high))

"""A flat property as lines of VNN-LIB 1.0, of the form that all tools read.

One statement a line, inputs first in their bounds, every clause an `and` inside one `or`:

    (declare-const X_0 Real)
    (assert (<= X_0 0.5))
    (assert (or
        (and (>= Y_0 Y_1))
        (and (<= Y_2 0.0))
    ))

Strict conditions become non-strict. Source of the form: the parser of the competition,
https://github.com/ChristopherBrix/vnncomp2024_results, SCORING/vnnlib_v1.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_local.errors import EmptySetError, SpecError

from ..decimals import at_least, at_most
from ..property import VnnlibProperty
from ..rows import Row
from ..source import coded

__all__ = ["version1_lines"]


def version1_lines(found: VnnlibProperty, grid: torch.dtype) -> Iterator[str]:
    """The lines of the file, bounds at numbers of a floating type.

    Raises SpecError (E-EXPORT) for conditions that 1.0 has no words for.
    """
    clauses = _clauses(found)  # first, so that nothing is written where it fails
    yield from (f"(declare-const X_{i} Real)" for i in range(found.inputs))
    yield from (f"(declare-const Y_{i} Real)" for i in range(found.outputs))
    lower, upper = (face.to(torch.float64).numpy() for face in found.boxes.cast(grid))
    common: NDArray[np.bool_] = np.stack([(face == face[:1]).all(axis=0) for face in (lower, upper)])
    yield from (f"(assert {bound})" for bound in _bounds(lower[0], upper[0], common))
    written: list[list[str]] = []
    for box, choices in clauses:
        bounds = list(_bounds(lower[box], upper[box], ~common))
        written.extend([*bounds, *choice] for choice in choices)
    if not all(written):  # a clause without a condition of its own: every input is unsafe
        return
    if len(written) == 1:
        yield from (f"(assert {literal})" for literal in written[0])
        return
    yield "(assert (or"
    yield from (f"    (and {' '.join(clause)})" for clause in written)
    yield "))"


def _bounds(
    lower: NDArray[np.float64], upper: NDArray[np.float64], chosen: NDArray[np.bool_]
) -> Iterator[str]:
    for i in np.flatnonzero(chosen.any(axis=0)).tolist():
        if chosen[0, i]:
            yield f"(>= X_{i} {at_most(float(lower[i]))})"
        if chosen[1, i]:
            yield f"(<= X_{i} {at_least(float(upper[i]))})"


def _clauses(found: VnnlibProperty) -> list[tuple[int, list[list[str]]]]:
    """The literals on outputs of every clause, by box."""
    result: list[tuple[int, list[list[str]]]] = []
    for box, clauses in found.by_box():
        choices = [_literals(clause.rows, found.name) for clause in clauses]
        result.append((box, [choice for choice in choices if choice is not None]))
    if not any(choices for _, choices in result):
        raise EmptySetError("the unsafe set is empty", where=found.name, cure="there is nothing to write")
    return result


def _literals(rows: Sequence[Row], where: str) -> list[str] | None:
    """The rows as literals; None where one of them is never true."""
    found: dict[str, None] = {}
    for row in rows:
        if not row.columns and not row.inputs:
            if row.constant < 0 or (row.constant == 0 and row.strict):
                return None
        else:
            found[_literal(row, where)] = None
    return list(found)


def _literal(row: Row, where: str) -> str:
    """A bound of one output, or an order of two."""
    if not row.inputs and len(row.columns) == 1:
        ((index,), (factor,)) = row.columns, row.coefficients
        limit = -Fraction(row.constant) / Fraction(factor)
        return f"(>= Y_{index} {at_most(limit)})" if factor > 0 else f"(<= Y_{index} {at_least(limit)})"
    if not row.inputs and len(row.columns) == 2 and not row.constant and sum(row.coefficients) == 0:
        first, second = row.columns if row.coefficients[0] > 0 else row.columns[::-1]
        return f"(>= Y_{first} Y_{second})"
    kind = (
        "inputs and outputs" if row.columns and row.inputs else "several inputs" if row.inputs else "outputs"
    )
    what = f"VNN-LIB 1.0 has no arithmetic, but a condition is linear in {kind}"
    cure = "write version 2.0, or append the sum to the network as an output"
    raise coded(SpecError(what, where=where, cure=cure), "E-EXPORT")

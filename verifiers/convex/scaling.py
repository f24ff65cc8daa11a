"""A program in units that suit a solver: powers of two per column and row, so that nothing is rounded.

Solvers have absolute tolerances (1e-9) and drop small coefficients. A network has neurons whose weights and
values are all of size 1e-9; written as they are, their rows would become false constraints on the other
columns (seen: optima beyond the true one by 0.5). So every column is measured in units of its own bound
(`FINEST` at least), every row divided by its largest coefficient. What is still smaller than `SMALL` is left
out and the row widened by what it could reach, and hidden columns' bounds move outward by `MARGIN`: both only
enlarge the set of solutions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .program import Array, Program
from .solver import Answer, Session, Solver

__all__ = ["FINEST", "MARGIN", "SMALL", "ScaledSession"]

FINEST = 2.0**-20
SMALL = 1e-8
MARGIN = 1e-7


@dataclass(frozen=True, slots=True, eq=False)
class ScaledSession:
    """A solver's session on the scaled program, spoken to in the program's own units.

    program: in its own units; scaled: what the solver works on; columns (n,), rows (r,): x = columns * scaled
    x, scaled row = rows * row.
    """

    program: Program
    solver: Solver
    scaled: Program
    columns: Array
    rows: Array
    session: Session

    @classmethod
    def open(cls, program: Program, solver: Solver) -> ScaledSession:
        """A session of the solver on the program in new units."""
        scaled, columns, rows = _scaled(program)
        return cls(program, solver, scaled, columns, rows, solver.open(scaled))

    def minimise(self, cost: Array, seconds: float, start: Array | None = None) -> Answer:
        """As `Session.minimise`."""
        begin = None if start is None else start / self.columns
        answer = self.session.minimise(cost * self.columns, seconds, begin)
        return replace(
            answer,
            point=None if answer.point is None else answer.point * self.columns,
            multipliers=None if answer.multipliers is None else answer.multipliers * self.rows,
        )


def _scaled(program: Program) -> tuple[Program, Array, Array]:
    from scipy import sparse

    reach = np.maximum(np.abs(program.lower), np.abs(program.upper))
    plain = program.integer | ~np.isfinite(reach)
    if program.cone:
        plain[: program.inputs_width] = True  # the solver's norm constraint is in the set's own units
    columns = _power(np.where(plain, 1.0, np.maximum(reach, FINEST)))
    matrix = program.matrix @ sparse.diags_array(columns)
    largest = (
        np.asarray(abs(matrix).max(axis=1).todense()).ravel() if matrix.nnz else np.zeros(matrix.shape[0])
    )
    rows = 1.0 / _power(np.where(largest > 0, largest, 1.0))
    matrix = (sparse.diags_array(rows) @ matrix).tocsr()
    # in new units columns reach as far as 2, those without bounds further: their entries stay
    bounded = np.isfinite(reach) & ~program.integer
    tiny = (np.abs(matrix.data) < SMALL) & bounded[matrix.indices]
    lost = matrix.copy()
    lost.data = np.where(tiny, np.abs(matrix.data), 0.0)
    span = lost @ np.where(np.isfinite(reach), 2.0 * reach / columns, 0.0)
    matrix.data = np.where(tiny, 0.0, matrix.data)
    matrix.eliminate_zeros()
    margin = np.where(plain, 0.0, MARGIN)
    margin[: program.inputs_width] = 0.0
    scaled = replace(
        program,
        matrix=matrix,
        row_lower=program.row_lower * rows - span,
        row_upper=program.row_upper * rows + span,
        slack=program.slack * rows,
        lower=program.lower / columns - margin,
        upper=program.upper / columns + margin,
    )
    return scaled, columns, rows


def _power(values: Array) -> Array:
    """The powers of two next below positive numbers."""
    return np.asarray(np.exp2(np.floor(np.log2(values))))

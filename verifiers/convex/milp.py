"""Mixed-integer programming: exact maxima of piecewise linear networks (Tjeng et al. 2019, arXiv 1711.07356).

Big-M constants are the boxes' ends, so only neurons whose sign (or piece) is open get an integer column.
Operators without an exact encoding enter as the planes of the linear relaxation; then the result is a bound
and no maximum.

What the bound rests on. A solver's lower bound D of a minimum is the least dual value of the leaves of its
search tree, each right up to the dual tolerance t: a reduced cost of the wrong sign, at most t, costs t times
the width of its column or row. Leaves cut off for an incumbent may lie below it by the gap. So

    minimum  >=  D - t (sum of the columns' widths + sum of the rows' widths) - gap - relative gap * |D|

in the scaled program, whose columns are about 2 wide. Leaves that are found infeasible, presolve and cuts are
trusted up to the feasibility tolerance: the real values of the network satisfy every row up to its slack,
which is far below that tolerance, so that a solver which keeps to it cuts none of them off. That is an
assumption about the solver, not a proof: unlike the bounds of `lp`, those of `milp` are as good as the
solver's word within its tolerances. No number is used without the pad.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from robustbench_local.specs import Query

from ..graph import Graph
from ..verifier import DEFAULT_BUDGET, Bounds, Budget, verifier
from .highs import Highs
from .solution import Solution
from .solver import Answer, Solver

if TYPE_CHECKING:
    from .program import Array
    from .scaling import ScaledSession

__all__ = ["MILP"]


@verifier("milp")
@dataclass(frozen=True, slots=True)
class MILP:
    """Exact upper bounds of piecewise linear networks by a mixed-integer solver, row by row.

    `solver`: Highs(), or CvxpySolver("GUROBI" | "SCIP" | "HIGHS"); MissingPackageError where it is not
    installed, SpecError where it solves no integer programs. `tighten`: hidden bounds by linear programs
    first. A row that runs into the time limit gets the solver's dual bound at that moment, and
    `Bounds.complete` is False. `solve` tells which rows are exact and where their maxima lie. l2 balls are
    replaced by their hull unless the solver knows cones. No gradients. Bounds are float64.
    """

    solver: Solver = field(default_factory=Highs)
    tighten: bool = False
    name: str = "milp"

    def __post_init__(self) -> None:
        self.solver.check(integers=True)

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Never above CROWN's bounds; `complete` tells that every row was solved within the time."""
        return self.solve(graph, query, budget).bounds

    def solve(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Solution:
        """The bounds, the maximisers, and which rows are exact (no operator relaxed, solved to the end)."""
        from .rows import RowMethod, solve_rows
        from .tightening import relaxed

        relax = partial(relaxed, (self.solver,), exact=True, tighten=self.tighten)
        return solve_rows(graph, query, budget, (self.solver,), RowMethod(relax, padded, exact=True))


def padded(session: ScaledSession, cost: Array, answer: Answer) -> float:
    """The solver's lower bound of the minimum less all that its tolerances may be worth."""
    if not math.isfinite(answer.bound):
        return -math.inf
    program, tolerances = session.scaled, session.solver.tolerances
    widths = program.upper - program.lower
    reach = np.maximum(np.abs(program.lower), np.abs(program.upper))
    rows = abs(program.matrix) @ (2 * reach)
    size = float(np.sum(widths) + np.sum(rows))
    pad = tolerances.dual * size + tolerances.gap + tolerances.relative_gap * abs(answer.bound)
    return answer.bound - pad

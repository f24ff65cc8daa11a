"""The linear programming bound: the planes of every nonlinear node jointly, for every row of the query.

With the triangle for ReLU (Ehlers 2017, arXiv 1705.01320) this is the tightest bound that relaxes each neuron
by itself (Salman et al. 2019, arXiv 1902.08722): CROWN and alpha-CROWN are feasible points of its dual. The
bound is computed from the solver's dual values by `safe`, so that it holds whatever the solver did.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from robustbench_local.specs import Query

from ..graph import Graph
from ..verifier import DEFAULT_BUDGET, Bounds, Budget, verifier
from .cvxpy_solver import CvxpySolver
from .highs import Highs
from .solution import Solution
from .solver import Answer, Solver

if TYPE_CHECKING:
    from .program import Array
    from .scaling import ScaledSession

__all__ = ["LP"]


@verifier("lp")
@dataclass(frozen=True, slots=True)
class LP:
    """Upper bounds by linear programming; one sample after another, all its rows in one session.

    `tighten` first bounds every undecided hidden neuron by two linear programs, layer by layer, within the
    budget. `solver` serves boxes and l1 balls; `cone_solver` sets with l2 balls. No gradients. Bounds are
    float64.
    """

    tighten: bool = False
    solver: Solver = field(default_factory=Highs)
    cone_solver: Solver = field(default_factory=CvxpySolver)
    name: str = "lp"

    def __post_init__(self) -> None:
        for solver in (self.solver, self.cone_solver):
            solver.check(integers=False)

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Never above CROWN's bounds; rows that the time or the solver left open keep those."""
        return self.solve(graph, query, budget).bounds

    def solve(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Solution:
        """The bounds with the points where the relaxation takes them."""
        from .rows import RowMethod, solve_rows
        from .tightening import relaxed

        solvers = (self.solver, self.cone_solver)
        relax = partial(relaxed, solvers, exact=False, tighten=self.tighten)
        return solve_rows(graph, query, budget, solvers, RowMethod(relax, proven, exact=False))


def proven(session: ScaledSession, cost: Array, answer: Answer) -> float:
    """The lower bound of the minimum that the answer's dual values prove; the solver's own number is not
    read.
    """
    from .safe import safe_minimum

    if answer.multipliers is None:
        return -math.inf
    return safe_minimum(session.program, cost, answer.multipliers)

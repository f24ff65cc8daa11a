"""Any solver that cvxpy reaches, on one problem with a parameter for the objective.

The problem is canonicalised once (it follows cvxpy's rules for parametrised problems); a following row only
puts new numbers into the compiled form. l2 balls become norm constraints. Gurobi and SCIP are used this way.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from robustbench_local.errors import SpecError, UnknownNameError
from robustbench_local.specs import Ball, InputSet, Intersection

from .solver import Answer, Session, Tolerances, missing_solver

if TYPE_CHECKING:
    from .program import Array, Program

__all__ = ["CvxpySolver", "limited"]

_PACKAGES = {
    "GUROBI": "gurobipy",
    "SCIP": "pyscipopt",
    "HIGHS": "highspy",
    "CLARABEL": "clarabel",
    "SCS": "scs",
}
_INTEGERS = {"GUROBI", "SCIP", "HIGHS"}
_CONES = {"GUROBI", "SCIP", "CLARABEL", "SCS"}


@dataclass(frozen=True, slots=True)
class CvxpySolver:
    """A solver by cvxpy's name of it: CLARABEL, SCS, HIGHS, SCIP or GUROBI; `options` are the solver's own.

    Raises UnknownNameError for another name.
    """

    name: str = "CLARABEL"
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in _PACKAGES:
            raise UnknownNameError.of("solver", self.name, _PACKAGES)

    @property
    def tolerances(self) -> Tolerances:
        """The solvers' defaults for integer programs, which `options` must not make larger."""
        return Tolerances(dual=1e-6, gap=1e-6, relative_gap=1e-4)

    def check(self, *, integers: bool) -> None:
        """Raise MissingPackageError where the solver is missing, SpecError where it does no integers."""
        if integers and self.name not in _INTEGERS:
            raise SpecError(
                f"{self.name} solves no integer programs",
                where="solver",
                cure=f"use Highs() or one of {', '.join(sorted(_INTEGERS))}",
            )
        if find_spec(_PACKAGES[self.name]) is None:
            raise missing_solver(self.name, _PACKAGES[self.name])

    def takes(self, program: Program) -> bool:
        """Polyhedra; l2 balls, and those cut by boxes, where the solver knows cones."""
        return not program.cone or (self.name in _CONES and _ball(program.inputs) is not None)

    def open(self, program: Program) -> Session:
        """A session; the problem is compiled at the first objective."""
        return _Session(program, self)


class _Session:
    """A cvxpy problem with the objective as its parameter."""

    def __init__(self, program: Program, settings: CvxpySolver) -> None:
        import cvxpy as package

        cvxpy: Any = package
        self.cvxpy = cvxpy
        self.settings, self.program = settings, program
        whole = np.flatnonzero(program.integer)
        self.real = np.flatnonzero(~program.integer)
        # cvxpy makes constraints of bounds where a solver has none
        self.x = cvxpy.Variable(len(self.real), bounds=[program.lower[self.real], program.upper[self.real]])
        self.z = cvxpy.Variable(max(1, len(whole)), integer=bool(len(whole)))
        self.cost = cvxpy.Parameter(len(self.real))
        low, high = program.row_lower, program.row_upper
        equal = np.flatnonzero(low == high)
        above = np.flatnonzero((low != high) & np.isfinite(low))
        under = np.flatnonzero((low != high) & np.isfinite(high))
        self.rows = [(equal, -1.0), (above, 1.0), (under, -1.0)]  # the sign of cvxpy's dual values
        A = program.matrix.tocsr()
        sums = [A[rows][:, self.real] @ self.x for rows, _ in self.rows]
        extra = []
        if len(whole):
            sums = [
                total + A[rows][:, whole] @ self.z for total, (rows, _) in zip(sums, self.rows, strict=True)
            ]
            extra += [self.z >= program.lower[whole], self.z <= program.upper[whole]]
        self.constraints = [sums[0] == low[equal], sums[1] >= low[above], sums[2] <= high[under]]
        ball = _ball(program.inputs) if program.cone else None
        if ball is not None and settings.name in _CONES:
            inputs = self.x[: program.inputs_width]  # the first columns
            extra += [cvxpy.norm(inputs - ball.center.flatten().numpy(), ball.p) <= float(ball.radius)]
        self.problem = cvxpy.Problem(cvxpy.Minimize(self.cost @ self.x), [*self.constraints, *extra])

    def minimise(self, cost: Array, seconds: float, start: Array | None = None) -> Answer:
        """As `Session.minimise`; `start` goes to the solvers that read cvxpy's initial values (Gurobi)."""
        self.cost.value = cost[self.real]
        if start is not None and self.program.integer.any():
            self.x.value, self.z.value = start[self.real], start[self.program.integer]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "may be inaccurate": every number is re-evaluated
                self.problem.solve(
                    solver=self.settings.name, warm_start=True, **limited(self.settings, seconds)
                )
        except self.cvxpy.SolverError:
            return Answer(None, None, -math.inf, False)
        return self._answer()

    def _answer(self) -> Answer:
        finished = self.problem.status == self.cvxpy.OPTIMAL
        point = None
        if self.x.value is not None:
            point = np.zeros(self.program.width)
            point[self.real] = self.x.value
            point[self.program.integer] = self.z.value if self.program.integer.any() else 0.0
        if self.program.integer.any():
            return Answer(point, None, _dual_bound(self.settings.name, self.problem), finished)
        multipliers = np.zeros(len(self.program.row_lower))
        for constraint, (rows, sign) in zip(self.constraints, self.rows, strict=True):
            if len(rows) and constraint.dual_value is None:
                return Answer(point, None, -math.inf, False)
            if len(rows):
                multipliers[rows] += sign * constraint.dual_value
        bound = float(self.problem.value) if finished else -math.inf
        return Answer(point, multipliers, bound, finished)


def _ball(inputs: InputSet | None) -> Ball | None:
    ball = inputs.ball if isinstance(inputs, Intersection) else inputs
    return ball if isinstance(ball, Ball) else None


def limited(settings: CvxpySolver, seconds: float) -> dict[str, Any]:
    """The solver's options with a time limit under the name that it has there."""
    options = dict(settings.options)
    if math.isinf(seconds):
        return options
    seconds = max(seconds, 1e-3)
    if settings.name == "SCIP":
        return {**options, "scip_params": {**options.get("scip_params", {}), "limits/time": seconds}}
    names = {"GUROBI": "TimeLimit", "SCS": "time_limit_secs"}
    return {**options, names.get(settings.name, "time_limit"): seconds}


def _dual_bound(name: str, problem: Any) -> float:
    """The bound that the solver reports of an integer program; -inf where it reports none."""
    stats = problem.solver_stats.extra_stats
    if stats is None:
        return -math.inf
    if name == "HIGHS":
        return float(stats.mip_dual_bound)
    return float(stats.ObjBound) if name == "GUROBI" else float(stats["model"].getDualbound())

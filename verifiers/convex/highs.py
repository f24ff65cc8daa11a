"""HiGHS (Huangfu and Hall 2018, Mathematical Programming Computation 10) kept open on one program.

This talks to highspy, the package behind cvxpy's HIGHS, and not through cvxpy: cvxpy starts a new HiGHS for
every objective and hands over no basis, so that each of a network's rows would cost a full solve. Here only
the cost vector changes, the last basis stays, and a following row takes a few pivots. Everything else goes
through `CvxpySolver`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from robustbench_local.errors import SpecError

from .solver import Answer, Session, Tolerances, missing_solver

if TYPE_CHECKING:
    from .program import Array, Program

__all__ = ["Highs"]

_ANY, _PRIMAL = 0, 4  # HiGHS' numbers of its own choice and of the primal simplex method


@dataclass(frozen=True, slots=True)
class Highs:
    """HiGHS with its feasibility and optimality `tolerance` (1e-10 to 1e-4) and `gap` of integer programs.

    The number of threads is left to HiGHS, which refuses to run where another part of the process chose
    another one.
    """

    tolerance: float = 1e-9
    gap: float = 1e-7

    def __post_init__(self) -> None:
        if not (1e-10 <= self.tolerance <= 1e-4 and self.gap >= 0):
            raise SpecError(
                f"HiGHS with tolerance {self.tolerance} and gap {self.gap}",
                cure="give a tolerance within [1e-10, 1e-4] and a gap >= 0",
            )

    @property
    def tolerances(self) -> Tolerances:
        """Of integer programs: the relative gap is switched off."""
        return Tolerances(self.tolerance, self.gap + self.tolerance, self.tolerance)

    def check(self, *, integers: bool) -> None:
        """Raise MissingPackageError without highspy."""
        if find_spec("highspy") is None:
            raise missing_solver("HiGHS", "highspy")

    def takes(self, program: Program) -> bool:
        """Only polyhedra."""
        return not program.cone

    def open(self, program: Program) -> Session:
        """A session; the model is passed once."""
        return _Session(program, self)


class _Session:
    """A HiGHS object that holds the model and the last basis."""

    def __init__(self, program: Program, settings: Highs) -> None:
        import highspy

        self.is_integer = bool(program.integer.any())
        self.width, self.height = program.width, len(program.row_lower)
        self.package: Any = highspy
        self.limit = highspy.HighsModelStatus.kTimeLimit
        # the class under highspy.Highs: the latter's callbacks are not needed, and it greets on standard
        # output
        base: Any = highspy.Highs.__base__
        self.solver: Any = base()
        for name, value in _options(settings).items():
            self.solver.setOptionValue(name, value)
        lp: Any = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = self.width, self.height
        lp.col_cost_ = np.zeros(self.width)
        lp.col_lower_, lp.col_upper_ = program.lower, program.upper
        lp.row_lower_, lp.row_upper_ = program.row_lower, program.row_upper
        matrix = program.matrix.tocsc()
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = (
            matrix.indptr,
            matrix.indices,
            matrix.data,
        )
        if self.is_integer:
            kinds = highspy.HighsVarType
            lp.integrality_ = [kinds.kInteger if i else kinds.kContinuous for i in program.integer]
        self.solver.passModel(lp)

    def minimise(self, cost: Array, seconds: float, start: Array | None = None) -> Answer:
        """As `Session.minimise`; the time that earlier objectives took does not count."""
        solver = self.solver
        solver.changeColsCost(self.width, np.arange(self.width, dtype=np.int32), cost)
        if self.is_integer:
            solver.clearSolver()
            if start is not None:
                solution = self.package.HighsSolution()
                solution.col_value = list(start)
                solver.setSolution(solution)
        limit = math.inf if math.isinf(seconds) else solver.getRunTime() + max(seconds, 1e-3)
        solver.setOptionValue("time_limit", limit)
        solver.run()
        answer = self._answer()
        if not answer.finished and not self.is_integer and solver.getModelStatus() != self.limit:
            # stuck on its last basis (status "unknown", seen on convolutions): once more from the start
            solver.clearSolver()
            solver.setOptionValue("simplex_strategy", _ANY)
            solver.run()
            again = self._answer()
            answer = again if again.finished or answer.multipliers is None else answer
        if answer.finished and not self.is_integer:
            # a new cost vector leaves the last basis primal feasible, so primal simplex is the faster one
            solver.setOptionValue("simplex_strategy", _PRIMAL)
        return answer

    def _answer(self) -> Answer:
        solution, info = self.solver.getSolution(), self.solver.getInfo()
        finished = self.solver.getModelStatus() == self.package.HighsModelStatus.kOptimal
        point = np.asarray(solution.col_value) if solution.value_valid else None
        if self.is_integer:
            return Answer(point, None, float(info.mip_dual_bound), finished)
        multipliers = np.asarray(solution.row_dual) if solution.dual_valid else None
        bound = float(info.objective_function_value) if finished else -math.inf
        return Answer(point, multipliers, bound, finished)


def _options(settings: Highs) -> dict[str, object]:
    t = settings.tolerance
    return {
        "output_flag": False,
        "primal_feasibility_tolerance": t,
        "dual_feasibility_tolerance": t,
        "mip_feasibility_tolerance": t,
        "mip_abs_gap": settings.gap,
        "mip_rel_gap": 0.0,
    }

"""What a solver is to the convex verifiers: a session on one program, for one objective after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from robustbench_local.errors import MissingPackageError

if TYPE_CHECKING:
    from .program import Array, Program

__all__ = ["Answer", "Session", "Solver", "Tolerances", "missing_solver"]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a solver said about one minimisation; nothing in it is to be trusted.

    point (n,): the best x, None where there is none. multipliers (r,): dual values of the rows, positive
    where the lower bound of a row holds the objective up; None for programs with integer columns. bound: the
    solver's own lower bound of the minimum, -inf where it has none. finished: the solver calls the answer
    optimal.
    """

    point: Array | None
    multipliers: Array | None
    bound: float
    finished: bool


@dataclass(frozen=True, slots=True)
class Tolerances:
    """What a solver's lower bound of an integer program may be off by: see `milp`."""

    dual: float
    gap: float
    relative_gap: float


class Session(Protocol):
    """One program, canonicalised once and kept with the last solution as a warm start."""

    def minimise(self, cost: Array, seconds: float, start: Array | None = None) -> Answer:
        """Minimises <cost, x> within `seconds` (inf: no limit), never raising for a failed solve.

        start (n,): a point to begin with, for programs with integer columns and solvers that take one.
        """
        ...


@runtime_checkable
class Solver(Protocol):
    """A solver with its settings: `Highs()`, `CvxpySolver("CLARABEL")`."""

    @property
    def tolerances(self) -> Tolerances:
        """Of integer programs."""
        ...

    def check(self, *, integers: bool) -> None:
        """Raise MissingPackageError where the solver is missing, SpecError where it does no integers."""
        ...

    def takes(self, program: Program) -> bool:
        """Whether the solver can keep x in the input set; else it works with the rows and the box."""
        ...

    def open(self, program: Program) -> Session:
        """A session on the program."""
        ...


def missing_solver(name: str, package: str) -> MissingPackageError:
    """The error for a solver that is not installed."""
    return MissingPackageError(
        f"the solver {name} is not installed", where="solver", cure=f"install it: pip install {package}"
    )

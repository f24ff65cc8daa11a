"""What an attack is, what it returns, and the registry of attacks by name.

An attack is a plain function of a query: it searches the input set for a point of large violation.
Its settings are keyword-only; fix them with `functools.partial(pgd, steps=100)`. To add an attack, drop
one file into this folder with a function under `@attack("name")`: `ATTACKS["name"]` finds it, and so do
the tests that hold for every attack.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor

from robustbench_local.errors import RobustBenchError, UnknownNameError
from robustbench_local.specs import Query

from .random_numbers import Ids

__all__ = ["ATTACKS", "Attack", "AttackRegistry", "AttackResult", "attack"]


@dataclass(frozen=True, slots=True, eq=False)
class AttackResult:
    """The best point found for each of B samples, and what finding it cost.

    points: (B, *shape), in the network's dtype; every one lies in its input set exactly.
    violation: (B,) float64, the query's violation at `points` on a clean forward pass in the network's dtype:
        a lower bound on the worst case. NaN where that pass gave no finite number.
    violated: (B,) bool, the property is false at `points` on that same forward pass.
    forwards, backwards: (B,) int64, evaluations of the network and of its gradient spent on the sample,
        the final clean pass included.
    finite: (B,) bool, False where any output or gradient met on the way was NaN or infinite.
    blind: (B,) bool, True where gradients were asked for and every one of them was zero: the walk was led by
        chance, and a network with steps (rounding, signs) or saturated scores may hide bad points.
    complete: (B,) bool, False where the deadline cut the search short.
    """

    points: Tensor
    violation: Tensor
    violated: Tensor
    forwards: Tensor
    backwards: Tensor
    finite: Tensor
    complete: Tensor
    blind: Tensor


class Attack(Protocol):
    """A search for the worst point of each of a query's input sets."""

    def __call__(
        self,
        query: Query,
        *,
        start: Tensor | None = None,
        seed: int = 0,
        ids: Ids | None = None,
        deadline: float | None = None,
    ) -> AttackResult:
        """Attack all B samples of `query`.

        start: (B, *shape) points to begin from, moved into the set where they lie outside; None: its centre.
        seed, ids: the random numbers of sample b depend on (seed, ids[b]) only; None: 0, 1, ..., B - 1.
        deadline: value of `time.monotonic()` after which no further search step begins.
        """
        ...


AttackT = TypeVar("AttackT", bound=Callable[..., AttackResult])


class AttackRegistry(dict[str, Attack]):
    """Attacks by name; an unknown name raises `UnknownNameError` with the nearest known ones."""

    def __missing__(self, name: str) -> Attack:
        raise UnknownNameError.of("attack", name, self)


ATTACKS = AttackRegistry()
"""Every attack of this folder, and every one registered since, by its name."""


def attack(name: str) -> Callable[[AttackT], AttackT]:
    """Decorator that registers a function as the attack `name`; a name that is taken raises."""

    def register(function: AttackT) -> AttackT:
        if name in ATTACKS:
            raise RobustBenchError(
                f"two attacks are named {name!r}",
                where=function.__module__,
                cure="give the new one another name",
            )
        ATTACKS[name] = function
        return function

    return register

"""How a search shares its time with attacks that start where it finds sub-problems hard to prove."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from robustbench_local.attacks import Attack, pgd
from robustbench_local.evaluation import Cases, Limits, Outcome, Subject, walk_from

__all__ = ["SEEDED", "Seeding", "Turn", "Walks", "slices"]

_FIRST = 2.0  # seconds of the first slice; every later one is as long as all before
_LEAST = 0.5  # of a slice's length: what is left of the time and shorter is added to the slice before


@dataclass(frozen=True, slots=True)
class Seeding:
    """An attack between slices: from `count` points of every problem, in a `share` of the slice's time."""

    attack: Attack
    count: int
    share: float
    name: str


@dataclass(frozen=True, slots=True)
class Turn:
    """One call of a method: its step ends at `deadline`, the call at `until` (time.monotonic), or after so
    many `domains`."""

    deadline: float
    until: float
    domains: int | None = None

    def limits(self, memory_bytes: int | None) -> Limits:
        """What the call may use from now on."""
        until, whole = (max(1e-3, end - time.monotonic()) for end in (self.until, self.deadline))
        return Limits(until, memory_bytes, self.domains, whole)


@dataclass(frozen=True, slots=True, eq=False)
class Walks:
    """An attack from given points (B, k, *in) of every problem."""

    attack: Attack
    starts: Tensor

    def run(self, subject: Subject, cases: Cases, seed: int, limits: Limits) -> Outcome:
        """The best walk of each of the B problems."""
        return walk_from(self.attack, subject, cases, self.starts, seed=seed, limits=limits)


SEEDED = Seeding(
    functools.partial(pgd, random_start=False, steps=50, momentum=0.5), count=8, share=0.1, name="pgd"
)
"""PGD from the worst open sub-problems: a tenth of the time, and less where it finds its end."""


def slices(deadline: float) -> Iterator[float]:
    """Ends of slices (time.monotonic) that double in length; the last is `deadline`."""
    length = _FIRST
    while True:
        until = time.monotonic() + length
        if deadline - until < _LEAST * length:
            yield deadline
            return
        yield until
        length *= 2

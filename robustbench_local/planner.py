"""Problems decided within a time limit by plans of their own: what `rbl.verify` and `rbl competition` call.

All batches take their first step before any takes its second, so that a batch that cannot be decided does not
keep the time from the others.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Protocol, TypeVar

from robustbench_local.evaluation import Cases, Subject
from robustbench_local.verifiers import GraphNetwork, TreeRecord

from .cascade import Cascade
from .plan import Plan, Step, plan_for, screening
from .resources import sparing
from .results import Result, together

__all__ = ["Keeper", "decide", "in_turn", "plans_of"]

Item = TypeVar("Item")


class Keeper(Protocol):
    """What keeps how far runs have got."""

    def load(self, runs: Sequence[Cascade]) -> None:
        """Makes new runs go on from what is kept, if anything is."""
        ...

    def save(self, runs: Sequence[Cascade]) -> None:
        """Keeps how far the runs are."""
        ...


def decide(
    batches: Sequence[Cases],
    *,
    timeout: float = 60.0,
    seed: int = 0,
    attacks: bool = True,
    first: bool = False,
    memory_bytes: int | None = None,
    steps: tuple[Step, ...] | None = None,
    keeper: Keeper | None = None,
    record: TreeRecord | None = None,
) -> Result:
    """The verdict on several batches of problems (at least one) together, and on every problem.

    Args:
        batches: problems; batches of one network share its graph.
        timeout: seconds of wall clock for everything; with 0 all is UNKNOWN (timeout).
        seed: of the attacks' random numbers.
        attacks: False runs verifiers only: what they prove must not rest on attacks.
        first: stop at the first problem that is violated, where one such decides what is asked.
        memory_bytes: for one step's intermediate results; None: what suits the device.
        steps: what to run instead of a plan.
        keeper: where runs go on from, and what gets to know after every round how far they are.
        record: of the trees of searches, where there is one batch.

    Raises SoundnessAlarm when an attack and a verifier contradict each other in float64 too.
    """
    return sparing(
        lambda: _decided(
            batches,
            timeout,
            seed=seed,
            attacks=attacks,
            first=first,
            memory_bytes=memory_bytes,
            steps=steps,
            keeper=keeper,
            record=record,
        ),
        lambda: sum(cases.query.batch for cases in batches),
    )


def _decided(
    batches: Sequence[Cases],
    timeout: float,
    *,
    seed: int,
    attacks: bool,
    first: bool,
    memory_bytes: int | None,
    steps: tuple[Step, ...] | None,
    keeper: Keeper | None,
    record: TreeRecord | None,
) -> Result:
    if not all(isinstance(cases.network, GraphNetwork) for cases in batches):
        import_module("torch.export._trace")  # takes seconds: before the time runs, where networks are traced
    deadline = time.monotonic() + timeout
    subjects: dict[int, Subject] = {}
    runs: list[Cascade] = []
    for cases in batches:
        subject = subjects.setdefault(id(cases.network), Subject.of(cases))
        runs.append(Cascade(cases, subject, seed=seed, memory_bytes=memory_bytes, record=record))
    if keeper is not None:
        keeper.load(runs)
    if attacks and steps is None:
        _round(runs, [screening()] * len(runs), deadline, first)
    plans: list[tuple[Step, ...]] = []
    for run in runs:
        wanted = len(run.known.open) > 0 and time.monotonic() < deadline and not (first and run.known.refuted)
        chosen = _planned(run, attacks) if wanted and steps is None else steps or ()
        plans.append(chosen if wanted else ())
    for number in range(max(len(plan) for plan in plans)):
        _round(runs, [plan[number] if number < len(plan) else None for plan in plans], deadline, first)
        if keeper is not None:
            keeper.save(runs)
    if keeper is not None:
        keeper.save(runs)
    return together(tuple(case for run in runs for case in run.known.result().cases))


def _planned(run: Cascade, attacks: bool) -> tuple[Step, ...]:
    part = run.cases.query.select(run.known.open.to(run.cases.query.inputs.device))
    return plan_for(run.subject, part, attacks=attacks, memory_bytes=run.memory_bytes).steps


def _round(runs: Sequence[Cascade], steps: Sequence[Step | None], deadline: float, first: bool) -> None:
    """One step of every run that has problems open, with fair parts of the time."""
    active = [
        (run, step) for run, step in zip(runs, steps, strict=True) if step is not None and len(run.known.open)
    ]
    for k, (run, step) in enumerate(active):
        if first and any(other.known.refuted for other in runs):
            return
        now = time.monotonic()
        run.step(step, now + step.share * max(0.0, deadline - now) / (len(active) - k))


def plans_of(batches: Sequence[Cases], *, attacks: bool = True) -> list[Plan]:
    """The plans that `decide` would make, without running them."""
    subjects: dict[int, Subject] = {}
    return [
        plan_for(subjects.setdefault(id(c.network), Subject.of(c)), c.query, attacks=attacks) for c in batches
    ]


def in_turn(
    items: Sequence[Item], decide_one: Callable[[Item, float], Result], deadline: float
) -> list[Result]:
    """The results of items one after the other, each with a fair part of the time until `deadline`.

    deadline: of time.monotonic(). What an item leaves of its part goes to the later ones.
    """
    results = []
    for k, item in enumerate(items):
        left = max(0.0, deadline - time.monotonic())
        results.append(decide_one(item, left / (len(items) - k)))
    return results

"""One verdict per problem: methods from cheap to dear, each on the problems that are still open.

A problem leaves as soon as a counterexample replays or a bound holds; its bracket keeps the best lower and
upper bound of every step it went through. Which steps there are is the plan's business (`plan`, `planner`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from robustbench_local.attacks import ATTACKS
from robustbench_local.errors import SpecError, UnknownNameError
from robustbench_local.evaluation import (
    Cases,
    Limits,
    Outcome,
    Subject,
    confirm,
    cross_check,
    failed,
    fits_one_batch,
    is_out_of_memory,
    run_attack,
    run_search,
    run_verifier,
)
from robustbench_local.verifiers import (
    SMOOTHERS,
    VERIFIERS,
    Budget,
    Resumable,
    Smoothing,
    TreeRecord,
    Verifier,
)

from .knowledge import Knowledge
from .plan import Method, Step, steps_of
from .progress import Standing
from .resources import sparing
from .results import Result, together
from .slices import Turn, Walks, slices

__all__ = [
    "DEFAULT_STAGES",
    "Cascade",
    "Method",
    "Result",
    "cascade",
    "cascade_all",
    "find_any_method",
    "find_method",
    "find_methods",
]

DEFAULT_STAGES = ("pgd", "ibp", "crown-ibp", "crown", "alpha-crown")
"""Names of cheap methods, in order: what is run where a plan would be too dear."""

_LEAST_MEMORY = 2**20
"""Bytes for one batch below which a method that ran out of memory is not tried again."""


def find_method(name: str) -> Method:
    """The attack or verifier of this name.

    Raises UnknownNameError with the nearest known names, SpecError for one that gives no verdicts.
    """
    if name in SMOOTHERS:
        raise SpecError(
            f"{name!r} certifies the smoothed classifier, not the network, and proves nothing for sure",
            where="method",
            cure="use `rbl evaluate --method smoothing`, or Smoothing.certify in Python",
        )
    if name in VERIFIERS:
        return VERIFIERS[name]
    if name in ATTACKS:
        return ATTACKS[name]
    raise UnknownNameError.of("method", name, [*ATTACKS, *VERIFIERS])


def find_any_method(name: str) -> Method | Smoothing:
    """The attack, verifier or smoothing of this name, for `evaluate`. Raises UnknownNameError."""
    if name in SMOOTHERS:
        return SMOOTHERS[name]
    if name in VERIFIERS or name in ATTACKS:
        return find_method(name)
    raise UnknownNameError.of("method", name, [*ATTACKS, *VERIFIERS, *SMOOTHERS])


def find_methods(names: tuple[str, ...]) -> dict[str, Method]:
    """The methods of these names, in order. Raises UnknownNameError for an unknown one."""
    return {name: find_method(name) for name in names}


def cascade(
    cases: Cases,
    stages: Mapping[str, Method],
    *,
    timeout: float = 60.0,
    seed: int = 0,
    memory_bytes: int | None = None,
    record: TreeRecord | None = None,
) -> Result:
    """The verdict on the cases, together and one by one, after the stages in order.

    Args:
        cases: B >= 1 problems of one network.
        stages: name -> attack or verifier, cheap ones first.
        timeout: seconds of wall clock for all problems and stages together.
        seed: of the attacks' random numbers.
        memory_bytes: for one stage's intermediate results; None: what suits the device.
        record: of the trees of searches, for a certificate.

    Raises SoundnessAlarm when an attack and a verifier contradict each other in float64 too.
    """
    steps = steps_of(dict(stages))
    run = Cascade(cases, Subject.of(cases), seed=seed, memory_bytes=memory_bytes, record=record)
    deadline = time.monotonic() + timeout
    for step in (*steps, Step("members", None, 1.0, members=steps)):
        run.step(step, deadline)
    return run.known.result()


def cascade_all(
    batches: Sequence[Cases],
    stages: Mapping[str, Method],
    *,
    timeout: float = 60.0,
    seed: int = 0,
    record: TreeRecord | None = None,
) -> Result:
    """The verdict on several batches (at least one) together, in order, within one timeout; as `cascade`.

    record: of the trees of searches, where there is one batch.
    """
    deadline = time.monotonic() + timeout
    results = [
        sparing(
            lambda cases=cases: cascade(  # type: ignore[misc]
                cases, stages, timeout=max(0.0, deadline - time.monotonic()), seed=seed, record=record
            ),
            lambda cases=cases: cases.query.batch,  # type: ignore[misc]
        )
        for cases in batches
    ]
    return together(tuple(case for result in results for case in result.cases))


class Cascade:
    """The state of one cascade: what is known of each problem, and which problems are open.

    `searches`: where searches stopped, by step. `done`: steps that had all the time they wanted; those in
    `skipped`, done by an earlier run, are left out. `record`: what trees are kept in, where they are wanted.
    """

    def __init__(
        self,
        cases: Cases,
        subject: Subject,
        *,
        seed: int = 0,
        memory_bytes: int | None = None,
        record: TreeRecord | None = None,
    ) -> None:
        self.cases, self.subject, self.record = cases, subject, record
        self.seed, self.memory_bytes = seed, memory_bytes
        self.known = Knowledge(cases.query)
        self.found: dict[str, tuple[Tensor, Outcome]] = {}  # attack -> positions in the whole batch, outcome
        self.searches: dict[str, Standing] = {}
        self.done: set[str] = set()
        self.skipped: frozenset[str] = frozenset()

    def step(self, step: Step, deadline: float) -> None:
        """Runs a step on the open problems until `deadline` (time.monotonic) at the latest."""
        if len(self.known.open) == 0 or time.monotonic() >= deadline or step.name in self.skipped:
            return
        try:
            if step.method is None:
                self._divide(step, deadline)
            elif isinstance(step.method, Resumable):
                self._search(step, step.method, deadline)
            else:
                self._stage(step.name, step.method, Turn(deadline, deadline))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self.known.short_of_memory(error)
        if step.method is not None and not self.known.cut_short:
            self.done.add(step.name)

    def _search(self, step: Step, method: Resumable, deadline: float) -> None:
        """A search in slices, with walks from its open sub-problems in between.

        The bounds at the root are not cut short: how long they take is not known before, and they would have
        to begin anew.
        """
        if step.name not in self.searches:
            self._stage(step.name, method, Turn(deadline, deadline, domains=1))
            if step.name not in self.searches or not self.known.cut_short:
                return
        for until in slices(deadline):
            if len(self.known.open) == 0:
                return
            start = time.monotonic()
            self._stage(step.name, method, Turn(deadline, until))
            standing, now = self.searches.get(step.name), time.monotonic()
            if len(self.known.open) == 0 or standing is None or until >= deadline or not self.known.cut_short:
                return
            state = standing.select(self.known.open)
            if step.seeding is not None and state is not None:
                part = self.cases.query.select(self.known.open.to(self.cases.query.inputs.device))
                walks = Walks(step.seeding.attack, state.starts(part, step.seeding.count))
                late = min(deadline, now + step.seeding.share * (now - start))
                self._stage(f"{step.name}: {step.seeding.name}", walks, Turn(late, late))

    def _stage(self, name: str, method: Method | Walks, turn: Turn) -> None:
        """Runs one method on the open problems and takes over what it found."""
        start = time.perf_counter()
        rows, memory = self.known.open, self.memory_bytes
        while True:
            outcome, short = self._attempt(name, method, turn, memory)
            if not short or time.monotonic() >= turn.deadline:
                break
            memory = Budget(memory_bytes=memory).memory(self.subject.device) // 4
            if memory < _LEAST_MEMORY:
                break
        self.known.seconds[rows] += (time.perf_counter() - start) / len(rows)
        if not isinstance(method, Verifier):
            self.found[name] = (rows, outcome)
        self.known.take(name, outcome)

    def _attempt(
        self, name: str, method: Method | Walks, turn: Turn, memory: int | None
    ) -> tuple[Outcome, bool]:
        """What the method says of the open problems, and whether it ran out of memory. A second look may take
        as long as the step.
        """
        try:
            part, deadline = self.cases.select(self.known.open), turn.deadline
            limits = turn.limits(memory)
            if isinstance(method, Walks):
                return method.run(self.subject, part, self.seed, limits), False
            if not isinstance(method, Verifier):
                return run_attack(method, self.subject, part, seed=self.seed, limits=limits), False
            outcome = self._bounded(name, method, part, limits, deadline)
            budget = Budget(max(1e-3, deadline - time.monotonic()), memory)
            confirm(method, self.subject, part.query, outcome, budget)
            self._compare(part, name, method, outcome, budget)
            return outcome, False
        except Exception as error:
            kind = "verifier" if isinstance(method, Verifier) else "attack"
            return failed(kind, len(self.known.open), error), is_out_of_memory(error)

    def _bounded(self, name: str, method: Verifier, part: Cases, limits: Limits, deadline: float) -> Outcome:
        """The verifier's outcome on the open problems; a search goes on where it stopped."""
        if not isinstance(method, Resumable):
            return run_verifier(method, self.subject, part.query, limits=limits)
        standing = self.searches.get(name)
        state = None if standing is None else standing.select(self.known.open)
        left = Limits(max(1e-3, deadline - time.monotonic()), limits.memory_bytes)
        if state is None and not fits_one_batch(self.subject, part.query, limits=limits):
            return run_verifier(method, self.subject, part.query, limits=left)  # in batches, each anew
        search = method if self.record is None else self.record.keeping(method)
        try:
            outcome, after = run_search(search, self.subject, part.query, state, limits=limits)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            left = Limits(max(1e-3, deadline - time.monotonic()), limits.memory_bytes)
            return run_verifier(method, self.subject, part.query, limits=left)
        self.searches.pop(name, None)
        if after is not None:
            self.searches[name] = Standing(self.known.open, after)
            if self.record is not None:
                self.record.take(self.subject.graph(), self.known.open, after)
        return outcome

    def _divide(self, step: Step, deadline: float) -> None:
        """Runs steps on the members of the open problems' sets, where these have members: a member is
        bounded more tightly than the whole, and a problem holds where all of them do.
        """
        rows = self.known.open.tolist()
        for k, b in enumerate(rows):
            now = time.monotonic()
            if now >= deadline:
                break
            part = self.cases.select(torch.tensor([b]))
            found = part.query.parts()
            if found is not None:
                ids = [f"{part.ids[0]}.{i}" for i in range(found[0].batch)]
                members = replace(part, query=found[0], ids=ids, origins=None)
                until = now + (deadline - now) / (len(rows) - k)
                whole = self._decided(members, step.members, until)
                self.known.take_result(b, f"members: {whole.stage}", whole)
        self.known.look()

    def _decided(self, members: Cases, steps: tuple[Step, ...], deadline: float) -> Result:
        run = Cascade(members, self.subject, seed=self.seed, memory_bytes=self.memory_bytes)
        for step in steps:
            now = time.monotonic()
            run.step(step, now + step.share * (deadline - now))
        return run.known.result()

    def _compare(self, part: Cases, name: str, verifier: Verifier, bound: Outcome, budget: Budget) -> None:
        if not self.found:  # a verifier's own points may not lie above its bound, either
            cross_check(part, self.subject, {name: bound}, {name: verifier}, budget=budget, folder=None)
        for attack, (positions, found) in self.found.items():
            same = found.select(torch.isin(positions, self.known.open))
            outcomes = {attack: same, name: bound}
            cross_check(part, self.subject, outcomes, {name: verifier}, budget=budget, folder=None)

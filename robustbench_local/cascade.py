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
    is_out_of_memory,
    run_attack,
    run_verifier,
)
from robustbench_local.specs import Verdict
from robustbench_local.verifiers import SMOOTHERS, VERIFIERS, Budget, Smoothing, Verifier

from .plan import Method, Step, steps_of
from .resources import sparing, words_of
from .results import Result, together

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

_WEAKER = frozenset({"bound", "search"})
"""What a later step says of a problem does not hide that an earlier one lacked memory."""


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
) -> Result:
    """The verdict on the cases, together and one by one, after the stages in order.

    Args:
        cases: B >= 1 problems of one network.
        stages: name -> attack or verifier, cheap ones first.
        timeout: seconds of wall clock for all problems and stages together.
        seed: of the attacks' random numbers.
        memory_bytes: for one stage's intermediate results; None: what suits the device.

    Raises SoundnessAlarm when an attack and a verifier contradict each other in float64 too.
    """
    steps = steps_of(dict(stages))
    run = Cascade(cases, Subject.of(cases), seed=seed, memory_bytes=memory_bytes)
    deadline = time.monotonic() + timeout
    for step in (*steps, Step("members", None, 1.0, members=steps)):
        run.step(step, deadline)
    return run.result()


def cascade_all(
    batches: Sequence[Cases], stages: Mapping[str, Method], *, timeout: float = 60.0, seed: int = 0
) -> Result:
    """The verdict on several batches (at least one) together, in order, within one timeout; as `cascade`."""
    deadline = time.monotonic() + timeout
    results = [
        sparing(
            lambda cases=cases: cascade(  # type: ignore[misc]
                cases, stages, timeout=max(0.0, deadline - time.monotonic()), seed=seed
            ),
            lambda cases=cases: cases.query.batch,  # type: ignore[misc]
        )
        for cases in batches
    ]
    return together(tuple(case for result in results for case in result.cases))


class Cascade:
    """The state of one cascade: what is known of each problem, and which problems are open."""

    def __init__(
        self,
        cases: Cases,
        subject: Subject,
        *,
        seed: int = 0,
        memory_bytes: int | None = None,
    ) -> None:
        batch = cases.query.batch
        self.cases, self.subject = cases, subject
        self.seed, self.memory_bytes = seed, memory_bytes
        self.open = torch.arange(batch)
        self.lower = torch.full((batch,), -torch.inf, dtype=torch.float64)
        self.upper = torch.full((batch,), torch.inf, dtype=torch.float64)
        self.seconds = torch.zeros(batch, dtype=torch.float64)
        self.proved = torch.zeros(batch, dtype=torch.float64)
        self.verdict = [Verdict.UNKNOWN] * batch
        self.stage_of, self.reason, self.error = [""] * batch, ["timeout"] * batch, [""] * batch
        self.witness: list[Tensor | None] = [None] * batch
        self.found: dict[str, tuple[Tensor, Outcome]] = {}  # attack -> positions in the whole batch, outcome

    @property
    def refuted(self) -> bool:
        """Whether some problem has a verdict that decides all of them together."""
        return Verdict.VIOLATED in self.verdict

    def step(self, step: Step, deadline: float) -> None:
        """Runs a step on the open problems until `deadline` (time.monotonic) at the latest."""
        if len(self.open) == 0 or time.monotonic() >= deadline:
            return
        try:
            if step.method is None:
                self._divide(step, deadline)
            else:
                self._stage(step.name, step.method, deadline)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._short_of_memory(error)

    def _short_of_memory(self, error: Exception) -> None:
        """What has a verdict keeps it; all else stays open."""
        rows = [b for b, verdict in enumerate(self.verdict) if verdict is Verdict.UNKNOWN]
        self.open = torch.tensor(rows, dtype=torch.int64)
        for b in rows:
            self.reason[b], self.error[b] = "resources", words_of(error)

    def _stage(self, name: str, method: Method, deadline: float) -> None:
        """Runs one method on the open problems and takes over what it found."""
        start = time.perf_counter()
        rows, memory = self.open, self.memory_bytes
        while True:
            outcome, short = self._attempt(name, method, deadline, memory)
            if not short or time.monotonic() >= deadline:
                break
            memory = Budget(memory_bytes=memory).memory(self.subject.device) // 4
            if memory < _LEAST_MEMORY:
                break
        self.seconds[rows] += (time.perf_counter() - start) / len(rows)
        if not isinstance(method, Verifier):
            self.found[name] = (rows, outcome)
        self._take(name, outcome)

    def _attempt(
        self, name: str, method: Method, deadline: float, memory: int | None
    ) -> tuple[Outcome, bool]:
        """What the method says of the open problems, and whether it ran out of memory."""
        try:
            part = self.cases.select(self.open)
            limits = Limits(max(1e-3, deadline - time.monotonic()), memory)
            if not isinstance(method, Verifier):
                return run_attack(method, self.subject, part, seed=self.seed, limits=limits), False
            outcome = run_verifier(method, self.subject, part.query, limits=limits)
            budget = Budget(max(1e-3, deadline - time.monotonic()), memory)
            confirm(method, self.subject, part.query, outcome, budget)
            self._compare(part, name, method, outcome, budget)
            return outcome, False
        except Exception as error:
            kind = "verifier" if isinstance(method, Verifier) else "attack"
            return failed(kind, len(self.open), error), is_out_of_memory(error)

    def _divide(self, step: Step, deadline: float) -> None:
        """Runs steps on the members of the open problems' sets, where these have members: a member is
        bounded more tightly than the whole, and a problem holds where all of them do.
        """
        rows = self.open.tolist()
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
                self._take_members(b, self._decided(members, step.members, until))
        self.open = torch.tensor([b for b in rows if self.verdict[b] is Verdict.UNKNOWN], dtype=torch.int64)

    def _decided(self, members: Cases, steps: tuple[Step, ...], deadline: float) -> Result:
        run = Cascade(members, self.subject, seed=self.seed, memory_bytes=self.memory_bytes)
        for step in steps:
            now = time.monotonic()
            run.step(step, now + step.share * (deadline - now))
        return run.result()

    def _take_members(self, b: int, whole: Result) -> None:
        self.lower[b] = max(float(self.lower[b]), whole.lower)
        self.upper[b] = min(float(self.upper[b]), whole.upper)
        self.seconds[b] += whole.seconds
        self.verdict[b], self.witness[b] = whole.verdict, whole.witness
        self.stage_of[b], self.reason[b] = f"members: {whole.stage}", whole.reason
        self.error[b] = whole.error or self.error[b]

    def result(self) -> Result:
        """The results of all problems, and the one over them."""
        cases = tuple(
            Result(
                self.verdict[b],
                float(self.lower[b]),
                float(self.upper[b]),
                float(self.seconds[b]),
                self.stage_of[b],
                self.reason[b],
                self.witness[b],
                error=self.error[b],
                proved=1.0 if self.verdict[b] is Verdict.HOLDS else float(self.proved[b]),
            )
            for b in range(len(self.verdict))
        )
        return together(cases)

    def _compare(self, part: Cases, name: str, verifier: Verifier, bound: Outcome, budget: Budget) -> None:
        if not self.found:  # a verifier's own points may not lie above its bound, either
            cross_check(part, self.subject, {name: bound}, {name: verifier}, budget=budget, folder=None)
        for attack, (positions, found) in self.found.items():
            same = found.select(torch.isin(positions, self.open))
            outcomes = {attack: same, name: bound}
            cross_check(part, self.subject, outcomes, {name: verifier}, budget=budget, folder=None)

    def _take(self, name: str, outcome: Outcome) -> None:
        rows = self.open
        self.lower[rows] = torch.fmax(self.lower[rows], outcome.lower)  # fmax, fmin: NaN is "no bound"
        self.upper[rows] = torch.fmin(self.upper[rows], outcome.upper)
        if outcome.proved is not None:
            self.proved[rows] = torch.fmax(self.proved[rows], outcome.proved.clamp(0.0, 1.0))
        points, held = outcome.points, outcome.holds.tolist()
        for k, (b, bad) in enumerate(zip(rows.tolist(), outcome.violated.tolist(), strict=True)):
            self.stage_of[b] = name
            if self.reason[b] != "resources" or outcome.reason[k] not in _WEAKER:
                self.reason[b] = outcome.reason[k]
            self.error[b] = outcome.error or self.error[b]
            found = points is not None and bad
            if found and points is not None:
                self.witness[b] = points[k].cpu()  # before the verdict, which has none without it
            self.verdict[b] = self.cases.query.verdict(held[k], found)
        self.open = rows[~(outcome.holds | outcome.violated)]

"""One verdict per problem: methods from cheap to dear, each on the problems that are still open.

The default order is attack, IBP, CROWN-IBP, CROWN, alpha-CROWN. A problem leaves as soon as a
counterexample replays or a bound holds; its bracket keeps the best lower and upper bound of every stage
it went through.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from robustbench_local.attacks import ATTACKS, Attack
from robustbench_local.errors import SpecError, UnknownNameError
from robustbench_local.evaluation import (
    Cases,
    Limits,
    Outcome,
    Subject,
    confirm,
    cross_check,
    failed,
    run_attack,
    run_verifier,
)
from robustbench_local.specs import Verdict
from robustbench_local.verifiers import SMOOTHERS, VERIFIERS, Budget, Smoothing, Verifier

__all__ = [
    "DEFAULT_STAGES",
    "Method",
    "Result",
    "cascade",
    "cascade_all",
    "find_any_method",
    "find_method",
    "find_methods",
]

Method = Attack | Verifier

DEFAULT_STAGES = ("pgd", "ibp", "crown-ibp", "crown", "alpha-crown")
"""Names of the methods of a verification, in order."""


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What is known about a property: the verdict and the bracket [lower, upper] of its worst violation.

    Of a property of `exists`: the bracket of the best margin by which a point satisfies it.

    A result over several problems (images of a data set, say) is about all of them together: HOLDS if
    every one holds, VIOLATED if one is violated, bounds of the largest violation; `cases` has them one by
    one.

    Attributes:
        verdict: HOLDS, VIOLATED or UNKNOWN.
        lower: violation at the worst point found, -inf if there is none.
        upper: upper bound of the violation, +inf if there is none. Violation > 0 is bad.
        seconds: wall-clock time; of a single problem, its share of the batches it was part of.
        stage: the method that decided, or the last one that ran.
        reason: why the verdict is UNKNOWN: bound, timeout, op, resources, boundary or non-finite; else "".
        witness: the input (*in) that breaks the property, for VIOLATED; for HOLDS of `exists`, proves it.
        certificate: file that proves HOLDS to an independent checker; None, as no method here writes one yet.
        error: message of the last method that failed, "" if none did.
        cases: the results of the single problems, in order; empty in those themselves.
    """

    verdict: Verdict
    lower: float
    upper: float
    seconds: float
    stage: str
    reason: str = ""
    witness: Tensor | None = field(default=None, repr=False)
    certificate: str | None = None
    error: str = ""
    cases: tuple[Result, ...] = field(default=(), repr=False)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON-ready fields; an infinite bound is None, the witness nested lists."""
        return {
            "verdict": self.verdict.value,
            "lower": _finite(self.lower),
            "upper": _finite(self.upper),
            "seconds": self.seconds,
            "stage": self.stage,
            "reason": self.reason,
            "witness": None if self.witness is None else self.witness.tolist(),
            "certificate": self.certificate,
            "error": self.error,
        }


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
    deadline = time.monotonic() + timeout
    run = _Cascade(cases, seed, deadline, memory_bytes)
    for name, method in stages.items():
        if len(run.open) and not run.late():
            run.stage(name, method)
    if len(run.open) and not run.late():
        run.divide(stages)
    return run.result()


def cascade_all(
    batches: Sequence[Cases], stages: Mapping[str, Method], *, timeout: float = 60.0, seed: int = 0
) -> Result:
    """The verdict on several batches (at least one) together, in order, within one timeout; as `cascade`."""
    deadline = time.monotonic() + timeout
    results = [
        cascade(cases, stages, timeout=max(0.0, deadline - time.monotonic()), seed=seed) for cases in batches
    ]
    return _together(tuple(case for result in results for case in result.cases))


class _Cascade:
    """The state of one cascade: what is known of each problem, and which problems are open."""

    def __init__(self, cases: Cases, seed: int, deadline: float, memory_bytes: int | None) -> None:
        batch = cases.query.batch
        self.cases, self.seed, self.deadline, self.memory_bytes = cases, seed, deadline, memory_bytes
        self.subject = Subject.of(cases)
        self.open = torch.arange(batch)
        self.lower = torch.full((batch,), -torch.inf, dtype=torch.float64)
        self.upper = torch.full((batch,), torch.inf, dtype=torch.float64)
        self.seconds = torch.zeros(batch, dtype=torch.float64)
        self.verdict = [Verdict.UNKNOWN] * batch
        self.stage_of, self.reason, self.error = [""] * batch, ["timeout"] * batch, [""] * batch
        self.witness: list[Tensor | None] = [None] * batch
        self.found: dict[str, tuple[Tensor, Outcome]] = {}  # attack -> positions in the whole batch, outcome

    def late(self) -> bool:
        return time.monotonic() >= self.deadline

    def stage(self, name: str, method: Method) -> None:
        """Runs one method on the open problems and takes over what it found."""
        start = time.perf_counter()
        part = self.cases.select(self.open)
        limits = Limits(max(1e-3, self.deadline - time.monotonic()), self.memory_bytes)
        try:
            if isinstance(method, Verifier):
                outcome = run_verifier(method, self.subject, part.query, limits=limits)
                confirm(method, self.subject, part.query, outcome, self._budget())
            else:
                outcome = run_attack(method, self.subject, part, seed=self.seed, limits=limits)
        except Exception as error:
            outcome = failed("verifier" if isinstance(method, Verifier) else "attack", len(self.open), error)
        if isinstance(method, Verifier):
            self._compare(part, name, method, outcome)
        else:
            self.found[name] = (self.open, outcome)
        self.seconds[self.open] += (time.perf_counter() - start) / len(self.open)
        self._take(name, outcome)

    def divide(self, stages: Mapping[str, Method]) -> None:
        """Runs the stages on the members of the open problems' sets, where these have members: a member is
        bounded more tightly than the whole, and a problem holds where all of them do.
        """
        part = self.cases.select(self.open)
        found = part.query.parts()
        if found is None:
            return
        query, owner = found
        ids = [f"{part.ids[b]}.{k}" for k, b in enumerate(owner.tolist())]
        members = replace(part, query=query, ids=ids, origins=None)
        left = max(1e-3, self.deadline - time.monotonic())
        result = cascade(members, stages, timeout=left, seed=self.seed, memory_bytes=self.memory_bytes)
        for k, b in enumerate(self.open.tolist()):
            own = [case for case, o in zip(result.cases, owner.tolist(), strict=True) if o == k]
            whole = _together(tuple(own))
            self.lower[b] = max(float(self.lower[b]), whole.lower)
            self.upper[b] = min(float(self.upper[b]), whole.upper)
            self.seconds[b] += whole.seconds
            self.verdict[b], self.witness[b] = whole.verdict, whole.witness
            self.stage_of[b], self.reason[b] = f"members: {whole.stage}", whole.reason
            self.error[b] = whole.error or self.error[b]
        self.open = self.open[torch.tensor([self.verdict[b] is Verdict.UNKNOWN for b in self.open.tolist()])]

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
            )
            for b in range(len(self.verdict))
        )
        return _together(cases)

    def _budget(self) -> Budget:
        return Budget(seconds=max(1e-3, self.deadline - time.monotonic()), memory_bytes=self.memory_bytes)

    def _compare(self, part: Cases, name: str, verifier: Verifier, bound: Outcome) -> None:
        for attack, (positions, found) in self.found.items():
            same = found.select(torch.isin(positions, self.open))
            outcomes = {attack: same, name: bound}
            cross_check(part, self.subject, outcomes, {name: verifier}, budget=self._budget(), folder=None)

    def _take(self, name: str, outcome: Outcome) -> None:
        rows = self.open
        self.lower[rows] = torch.fmax(self.lower[rows], outcome.lower)  # fmax, fmin: NaN is "no bound"
        self.upper[rows] = torch.fmin(self.upper[rows], outcome.upper)
        for k, b in enumerate(rows.tolist()):
            self.stage_of[b], self.reason[b] = name, outcome.reason[k]
            self.error[b] = outcome.error or self.error[b]
            found = bool(outcome.violated[k]) and outcome.points is not None
            self.verdict[b] = self.cases.query.verdict(bool(outcome.holds[k]), found)
            if found and outcome.points is not None:
                self.witness[b] = outcome.points[k].cpu()
        self.open = rows[~(outcome.holds | outcome.violated)]


def _together(cases: tuple[Result, ...]) -> Result:
    """One result that is about every case: the first violated or undecided one speaks for all."""
    worst = next((c for c in cases if c.verdict is Verdict.VIOLATED), None)
    worst = worst or next((c for c in cases if c.verdict is Verdict.UNKNOWN), cases[-1])
    return replace(
        worst,
        lower=max(c.lower for c in cases),
        upper=max(c.upper for c in cases),
        seconds=sum(c.seconds for c in cases),
        cases=cases,
    )


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None

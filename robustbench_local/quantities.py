"""Brackets of quantities: the worst value of a term, and the largest radius for which a property holds."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustbench_local.attacks import Attack, pgd
from robustbench_local.errors import NonFiniteError, RadiusError
from robustbench_local.evaluation import Cases, Limits, Subject, failed, run_attack, run_verifier
from robustbench_local.specs import Verdict
from robustbench_local.verifiers import VERIFIERS, Verifier

from .results import Result

__all__ = ["Bracket", "RadiusBracket", "measure_all", "radius_all"]

_VERIFIERS = ("ibp", "crown-ibp", "crown", "alpha-crown")
_SEARCH = functools.partial(pgd, early_stop=False, restarts=8)

Decide = Callable[[Tensor, Tensor], tuple[Result, ...]]
"""Problems (k,) and their radii (k,) -> the results of these problems."""


@dataclass(frozen=True, slots=True, eq=False)
class Bracket:
    """lower <= worst value <= upper. `point` (*in) attains lower, the method `stage` gave upper.

    `error`: message of the last method that failed, "" if none did.
    """

    lower: float
    upper: float
    point: Tensor | None = field(default=None, repr=False)
    stage: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class RadiusBracket:
    """The property holds at `holds` (NaN: at no radius tried) and is violated at `violated` (inf: at none).

    For a property that only gets harder with the radius, the largest radius at which it holds lies between.
    `queries` counts the verdicts that were asked for.
    """

    holds: float
    violated: float
    queries: int


def measure_all(
    cases: Cases,
    *,
    timeout: float = 60.0,
    seed: int = 0,
    methods: Mapping[str, Attack | Verifier] | None = None,
) -> list[Bracket]:
    """The bracket of the violation of every problem, by all methods: attacks that go on after a verdict, and
    verifiers that give their best numbers. By default PGD with restarts, and IBP up to alpha-CROWN.
    """
    chosen = methods or {"pgd": _SEARCH, **{name: VERIFIERS[name] for name in _VERIFIERS}}
    deadline = time.monotonic() + timeout
    subject, query = Subject.of(cases), cases.query
    lower = torch.full((query.batch,), -torch.inf, dtype=torch.float64)
    upper, stage = -lower, [""] * query.batch
    points: list[Tensor | None] = [None] * query.batch
    message = ""
    for name, method in chosen.items():
        limits = Limits(max(1e-3, deadline - time.monotonic()))
        try:
            if isinstance(method, Verifier):
                found = run_verifier(method, subject, query, limits=limits, tighten=True)
                for b in (found.upper < upper).nonzero().flatten().tolist():
                    upper[b], stage[b] = found.upper[b], name
            else:
                outcome = run_attack(method, subject, cases, seed=seed, limits=limits)
                _keep_better(cases, outcome.points, lower, points)
        except Exception as problem:  # only what a method may fail with is passed over
            kind = "verifier" if isinstance(method, Verifier) else "attack"
            message = f"{name}: {failed(kind, query.batch, problem).error}"
    return [
        Bracket(float(lower[b]), float(upper[b]), points[b], stage[b], message) for b in range(query.batch)
    ]


@torch.no_grad()
def _keep_better(cases: Cases, found: Tensor | None, lower: Tensor, points: list[Tensor | None]) -> None:
    if found is None:
        return
    values = cases.query.violation(found).to("cpu", torch.float64)
    inside = cases.query.inputs.contains(found).cpu()
    for b in (inside & (values > lower)).nonzero().flatten().tolist():
        lower[b], points[b] = values[b], found[b].cpu()


def radius_all(
    decide: Decide, batch: int, *, low: float, high: float, tolerance: float, timeout: float
) -> list[RadiusBracket]:
    """Both ends of the largest radius, by bisection, for all problems at once.

    Radii in [low, high] are tried until the ends are within `tolerance` of what the methods can tell: the
    largest radius that they prove, and the smallest that they refute.
    """
    if not 0 <= low < high < float("inf"):
        raise RadiusError(f"radii from {low!r} to {high!r}", cure="give 0 <= low < high")
    if not tolerance > 0:
        raise NonFiniteError(f"tolerance {tolerance!r} is not above 0")
    search = _Search(decide, batch, low, high)
    deadline = time.monotonic() + timeout
    search.ask(torch.arange(batch), torch.full((batch,), high, dtype=torch.float64))
    search.ask(torch.arange(batch), torch.full((batch,), low, dtype=torch.float64))
    for upward in (True, False):
        while time.monotonic() < deadline:
            bottom, top = search.gap(upward)
            rows = (top - bottom > tolerance).nonzero().flatten()
            if len(rows) == 0:
                break
            search.ask(rows, (bottom[rows] + top[rows]) / 2)
    return search.brackets()


class _Search:
    """What is known of each problem's radii: the largest proved, the smallest and largest open, the smallest
    refuted."""

    def __init__(self, decide: Decide, batch: int, low: float, high: float) -> None:
        self.decide, self.low, self.high = decide, low, high
        self.holds = torch.full((batch,), -torch.inf, dtype=torch.float64)
        self.violated = torch.full((batch,), torch.inf, dtype=torch.float64)
        self.open_low, self.open_high = self.violated.clone(), self.holds.clone()
        self.queries = torch.zeros(batch, dtype=torch.int64)

    def ask(self, rows: Tensor, radii: Tensor) -> None:
        """Decides the problems `rows` (k,) at radii (k,)."""
        # nothing is asked twice: beyond a refuted radius, or below a proved one, the answer is known
        new = (radii > self.holds[rows]) & (radii < self.violated[rows])
        rows, radii = rows[new], radii[new]
        if len(rows) == 0:
            return
        self.queries[rows] += 1
        for b, radius, result in zip(rows.tolist(), radii.tolist(), self.decide(rows, radii), strict=True):
            if result.verdict is Verdict.HOLDS:
                self.holds[b] = max(float(self.holds[b]), radius)
            elif result.verdict is Verdict.VIOLATED:
                self.violated[b] = min(float(self.violated[b]), radius)
            else:
                self.open_low[b] = min(float(self.open_low[b]), radius)
                self.open_high[b] = max(float(self.open_high[b]), radius)

    def gap(self, upward: bool) -> tuple[Tensor, Tensor]:
        """The interval in which the largest provable radius (`upward`) or the smallest refutable one lies."""
        if upward:
            bottom, top = self.holds, torch.minimum(self.open_low, self.violated)
        else:
            bottom, top = torch.maximum(self.open_high, self.holds), self.violated
        known = torch.isfinite(bottom) & torch.isfinite(top)
        return torch.where(known, bottom, 0.0), torch.where(known, top, 0.0)

    def brackets(self) -> list[RadiusBracket]:
        """The brackets found so far."""
        holds = torch.where(torch.isfinite(self.holds), self.holds, torch.nan)
        return [
            RadiusBracket(h, v, n)
            for h, v, n in zip(holds.tolist(), self.violated.tolist(), self.queries.tolist(), strict=True)
        ]

"""Brackets of the worst value of a term."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from robustbench_local.attacks import Attack, pgd
from robustbench_local.evaluation import Cases, Limits, Subject, failed, run_attack, run_verifier
from robustbench_local.verifiers import VERIFIERS, Verifier

__all__ = ["Bracket", "measure_all"]

_VERIFIERS = ("ibp", "crown-ibp", "crown", "alpha-crown")
_SEARCH = functools.partial(pgd, early_stop=False, restarts=8)


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

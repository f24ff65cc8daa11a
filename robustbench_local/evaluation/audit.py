"""Second looks: float64 re-bounds of verdicts, and the alarm when two methods contradict each other.

Bounds are statements over the reals, computed in the network's dtype. Every HOLDS, and every attack value
above a verifier's bound, is therefore computed again in float64 before it is believed. What still contradicts
itself then is a wrong program, and stops the run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from robustbench_local.atomic import write_atomically
from robustbench_local.errors import SoundnessAlarm
from robustbench_local.specs import Query
from robustbench_local.verifiers import Budget, Graph, Verifier, problem_bytes, rounding_of

from .cases import Cases
from .chunks import in_chunks
from .methods import Outcome, bounds_of
from .subject import Subject

__all__ = ["confirm", "cross_check"]

_EXACT_ROUNDING = 1e-9
"""Relative to the largest output: by less than this a float64 point may lie above a float64 bound."""


def confirm(verifier: Verifier, subject: Subject, query: Query, outcome: Outcome, budget: Budget) -> None:
    """Computes every HOLDS of `outcome` once more, in float64; updates it in place.

    A bound in float64 must leave room for its own rounding error (`verifiers.rounding_of`), or be zero, as
    the first one was, where the property allows that: so are bounds of what is true by construction, such
    as relu(x) >= 0, whatever is rounded. Where it does not, the problem becomes UNKNOWN: boundary, or timeout
    where the time ran out. Methods that look again in float64 themselves (`Bounds.confirmed`) need not be run
    again; their bounds may have lost half of that room since.
    """
    rows = torch.nonzero(outcome.holds).flatten()
    if len(rows) == 0:
        return
    some = query.select(rows.to(query.inputs.device))
    wide = subject.dtype == torch.float64
    zero, complete = outcome.upper[rows] == 0, True
    if not wide and not outcome.confirmed:
        outcome.upper[rows], outcome.holds[rows], complete = _exact_bound(verifier, subject, some, budget)
    graph = subject.graph() if wide or outcome.confirmed else subject.exact()[1]
    room = _room(graph, some, budget) * (0.5 if outcome.confirmed else 1.0)
    upper = outcome.upper[rows]
    outcome.holds[rows] &= (upper <= -room) | (zero & (upper == 0))
    for row in rows[~outcome.holds[rows]].tolist():
        outcome.reason[row] = "boundary" if complete else "timeout"


def cross_check(
    cases: Cases,
    subject: Subject,
    outcomes: Mapping[str, Outcome],
    verifiers: Mapping[str, Verifier],
    *,
    budget: Budget,
    folder: Path | None,
) -> None:
    """Compares every attack with every verifier of the same problems; updates the outcomes in place.

    An attack's value above a verifier's bound, or a VIOLATED beside a HOLDS, is replayed and re-bounded in
    float64. If they agree there, the float64 numbers are kept, and a verdict that rests on rounding alone
    becomes UNKNOWN (boundary). If they do not, the case is saved to `folder` and SoundnessAlarm is raised.
    """
    for attack_name, found in outcomes.items():
        if found.points is None:
            continue
        for name, verifier in verifiers.items():
            bound = outcomes[name]
            clash = (found.lower > bound.upper) | (found.violated & bound.holds)
            rows = torch.nonzero(clash).flatten()
            if len(rows):
                pair = _Pair(cases, subject, (attack_name, found), (name, verifier, bound), rows)
                pair.settle(budget, folder)


class _Pair:
    """An attack's and a verifier's outcomes that contradict each other in some rows."""

    def __init__(
        self,
        cases: Cases,
        subject: Subject,
        attack: tuple[str, Outcome],
        verifier: tuple[str, Verifier, Outcome],
        rows: Tensor,
    ) -> None:
        self.cases, self.subject, self.rows = cases, subject, rows
        self.attack_name, self.found = attack
        self.verifier_name, self.verifier, self.bound = verifier
        self.query = cases.query.select(rows.to(cases.query.inputs.device))
        assert self.found.points is not None
        self.points = self.found.points[rows.to(self.found.points.device)]

    def settle(self, budget: Budget, folder: Path | None) -> None:
        network, _ = self.subject.exact()
        with torch.inference_mode():
            exact_query = self.query.with_network(network)
            lower = exact_query.violation(self.points.double()).cpu()
        upper, holds, _ = _exact_bound(self.verifier, self.subject, self.query, budget)
        slack = _EXACT_ROUNDING * _scale(self.subject, self.query)
        broken = torch.nonzero(lower > upper + slack).flatten()
        if len(broken):
            self._alarm(int(broken[0]), lower, upper, folder)
        self.found.lower[self.rows] = torch.minimum(lower, upper)
        self.bound.upper[self.rows] = upper
        self.bound.holds[self.rows] = holds
        for row in self.rows[self.found.violated[self.rows] & holds].tolist():
            self.found.violated[row] = False  # broken by rounding only: true of the reals, false in float32
            self.found.reason[row] = "boundary"
            self.bound.holds[row] = False
        for row in self.rows[~self.bound.holds[self.rows]].tolist():
            self.bound.reason[row] = self.bound.reason[row] or "boundary"

    def _alarm(self, k: int, lower: Tensor, upper: Tensor, folder: Path | None) -> None:
        case = str(self.cases.ids[int(self.rows[k])])
        facts = {
            "model": self.cases.model,
            "model_hash": self.cases.model_hash,
            "case": case,
            "spec": self.cases.spec,
            "spec_text": self.query.text,
            "eps": repr(self.cases.eps),
            "attack": self.attack_name,
            "verifier": self.verifier_name,
            "lower": repr(float(lower[k])),
            "upper": repr(float(upper[k])),
        }
        one = self.query.select(torch.tensor([k], device=self.query.inputs.device))
        box = one.inputs.box()
        tensors = {
            "point": self.points[k].cpu(),
            "box.lower": box.lower[0].cpu(),
            "box.upper": box.upper[0].cpu(),
            "C": one.C[0].cpu(),
            "d": one.d[0].cpu(),
        }
        saved = "not saved, give a folder" if folder is None else str(_save(folder, facts, tensors))
        raise SoundnessAlarm(
            f"{self.attack_name} finds violation {facts['lower']} above the bound {facts['upper']}"
            f" of {self.verifier_name}",
            where=f"{self.cases.model}, case {case}, eps {self.cases.eps:g}; case file: {saved}",
            cure="one of the two is wrong: do not use either until the cause is known",
        )


def _exact_bound(
    verifier: Verifier, subject: Subject, query: Query, budget: Budget
) -> tuple[Tensor, Tensor, bool]:
    """The verifier's bound and its verdict in float64, (b,) each, on the CPU, +inf where it gives none; and
    whether it had the time it wanted.
    """
    network, graph = subject.exact()
    exact_query = query.with_network(network)
    parts = bounds_of(verifier, graph, exact_query, budget)
    with torch.inference_mode():
        raw = torch.cat([part.upper for part in parts])
        upper = raw.to("cpu", torch.float64, copy=True)
        holds = exact_query.holds(raw).cpu() & upper.isfinite()
    return torch.where(upper.isfinite(), upper, torch.inf), holds, all(part.complete for part in parts)


def _room(graph: Graph, query: Query, budget: Budget) -> Tensor:
    """What rounding may cost a float64 bound of every problem, (B,) on the CPU, in batches that fit."""

    def run(index: Tensor) -> Tensor:
        return rounding_of(graph, query.select(index.to(query.inputs.device)).inputs).cpu()

    return torch.cat(in_chunks(run, query.batch, budget.memory(query.inputs.device) // problem_bytes(graph)))


def _scale(subject: Subject, query: Query) -> float:
    """The largest output at the centres, at least 1: what rounding errors are measured against."""
    with torch.inference_mode():
        outputs = subject.network(query.inputs.centre().to(subject.dtype))
    return max(1.0, float(outputs.abs().nan_to_num(nan=0.0).max()))


def _save(folder: Path, facts: Mapping[str, str], tensors: Mapping[str, Tensor]) -> Path:
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    held = {key: value.detach().contiguous() for key, value in tensors.items()}
    return write_atomically(
        folder / f"alarm-{name}.safetensors", lambda path: save_file(held, path, dict(facts))
    )

"""Second looks: float64 re-bounds of verdicts, and the alarm when two methods contradict each other.

Bounds are statements over the reals, computed in the network's dtype. Every HOLDS, and every attack value
above a verifier's bound, is therefore computed again in float64 before it is believed, outward wherever the
network's operators allow that. What still contradicts
itself then is a wrong program, and stops the run.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from robustbench_local.atomic import write_atomically
from robustbench_local.errors import SoundnessAlarm, UnsupportedOpError
from robustbench_local.specs import Query
from robustbench_local.verifiers import IBP, Budget, Graph, Verifier, outward, problem_bytes, rounding_of

from .cases import Cases
from .chunks import in_chunks
from .methods import Outcome, bounds_of
from .subject import Subject

__all__ = ["confirm", "cross_check"]

OUTWARD = "outward"
"""In `Outcome.audit`: the bound accounts for every rounding error."""

_SHARE = 0.75  # of the time, for the outward bound; the rest is for the one with slack

LOOSE = "the outward bound is too loose"

_EXACT_ROUNDING = 1e-9
"""Relative to the largest output: by less than this a float64 point may lie above a float64 bound."""


def confirm(verifier: Verifier, subject: Subject, query: Query, outcome: Outcome, budget: Budget) -> None:
    """Bounds every HOLDS of `outcome` once more before it counts; updates it in place, its `audit` says how.

    First by the verifier's outward counterpart, which accounts for every rounding error of its own. Where
    there is none, an operator's rounding is not known or that bound is too loose, by a bound in float64
    that leaves room for what rounding is believed to take (`verifiers.rounding_of`). A bound of exactly
    zero is for the outward one alone, as long as it knows the operators. What neither confirms becomes
    UNKNOWN: boundary, or timeout where the time ran out. Methods that look again in float64 themselves
    (`Bounds.confirmed`) need not be run again; their bounds may have lost half of that room since.
    """
    rows = torch.nonzero(outcome.holds).flatten()
    if outcome.rounding is not None:  # such bounds have paid already
        outcome.audit = dict.fromkeys(rows.tolist(), OUTWARD)
        return
    zero = outcome.upper[rows] == 0
    counterparts = [(outward(verifier), rows[~zero]), (outward(verifier) or outward(IBP()), rows[zero])]
    outcome.rounding = torch.full_like(outcome.upper, torch.nan)
    for counterpart, some in counterparts:
        deadline = budget.deadline()
        why = f"{verifier.name} has no outward bounds"
        if counterpart is not None and len(some):
            why = _by_outward(counterpart, subject, query, outcome, (some, budget))
        left = some[[b not in outcome.audit for b in some.tolist()]] if len(some) else some
        if len(left):
            rest = replace(budget, seconds=max(1e-3, deadline - time.monotonic()))
            _by_float64(verifier, subject, query, outcome, (left, rest, why))


def _by_outward(
    counterpart: Verifier, subject: Subject, query: Query, outcome: Outcome, some: tuple[Tensor, Budget]
) -> str:
    """Takes what the outward bounds of these rows prove; or why they do not."""
    rows, budget = some
    most = None if budget.seconds is None else _SHARE * budget.seconds
    network, graph = subject.exact()
    part = query.select(rows.to(query.inputs.device)).with_network(network)
    try:
        parts = bounds_of(counterpart, graph, part, replace(budget, seconds=most))
    except UnsupportedOpError as error:
        return f"{error.what}, {error.where}" if error.where else error.what
    with torch.inference_mode():
        upper = torch.cat([one.upper for one in parts])
        paid = torch.cat([torch.as_tensor(one.rounding) for one in parts])  # outward bounds tell it
        proved = part.holds(upper).cpu()
    assert outcome.rounding is not None  # see `confirm`
    outcome.upper[rows[proved]] = upper.to("cpu", torch.float64)[proved]
    outcome.rounding[rows[proved]] = paid.to("cpu", torch.float64)[proved]
    outcome.audit.update(dict.fromkeys(rows[proved].tolist(), OUTWARD))
    return LOOSE


def _by_float64(
    verifier: Verifier, subject: Subject, query: Query, outcome: Outcome, some: tuple[Tensor, Budget, str]
) -> None:
    """Keeps of these rows what a float64 bound with room for rounding confirms; the last of `some` says why
    there is no outward bound.
    """
    rows, budget, why = some
    part = query.select(rows.to(query.inputs.device))
    wide = subject.dtype == torch.float64
    zero, complete = outcome.upper[rows] == 0, True
    if not wide and not outcome.confirmed:
        outcome.upper[rows], outcome.holds[rows], complete = _exact_bound(verifier, subject, part, budget)
    graph = subject.graph() if wide or outcome.confirmed else subject.exact()[1]
    room = _room(graph, part, budget) * (0.5 if outcome.confirmed else 1.0)
    upper = outcome.upper[rows]
    if why == LOOSE:
        zero = torch.zeros_like(zero)
    outcome.holds[rows] &= (upper <= -room) | (zero & (upper == 0))
    for row in rows.tolist():
        if outcome.holds[row]:
            outcome.audit[row] = f"float64 with slack: {why}"
        else:
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

"""`diagnose`: every diagnostic on one batch of cases."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from robustbench_local.attacks import Attack, scaled
from robustbench_local.errors import DataError, SpecError, UnknownNameError
from robustbench_local.evaluation import Cases, Subject
from robustbench_local.specs import Ball, Intersection, Query

from .curves import curves_of
from .examination import Effort, Examination, Network
from .finding import Curves, Diagnosis, Finding
from .registry import DIAGNOSTICS, Diagnostic
from .watching import Meter, Tally

__all__ = ["AtRadius", "Progress", "diagnose", "nothing_to_examine", "ordered"]

AtRadius = Callable[[float], Query]
"""The same problems at another radius, in the units of `Cases.eps`."""

Progress = Callable[[Diagnostic], None]
"""Called with each diagnostic just before it runs."""

_POWERS = {"linf": 0.0, "l2": 0.5, "l1": 1.0}
"""Norm -> the power of the number of coordinates that is the length of the unit box's diagonal."""


def ordered(codes: Sequence[str] | None = None) -> list[Diagnostic]:
    """The diagnostics of these codes, or all, in the order of their numbers. Raises UnknownNameError."""
    for code in codes or ():
        if code not in DIAGNOSTICS:
            raise UnknownNameError.of("diagnostic", code, DIAGNOSTICS)
    chosen = DIAGNOSTICS.values() if codes is None else [DIAGNOSTICS[code] for code in dict.fromkeys(codes)]
    return sorted(chosen, key=lambda one: (len(one.code), one.code))


def diagnose(
    cases: Cases,
    *,
    at_radius: AtRadius | None = None,
    attack: Attack | None = None,
    effort: Effort | None = None,
    surrogates: Sequence[Network] = (),
    codes: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Diagnosis:
    """Whether an attack's failure to break the cases can be believed: the findings of all diagnostics.

    Args:
        cases: the problems; those that are broken at their start are left out.
        at_radius: the B problems at another radius, for D9 and D10. Without it D9 shrinks the sets about
            their origins, where that is possible, and D10 does not apply.
        attack: the one whose results are examined; None: `effort.white_box()`.
        effort: what may be spent; None: the defaults of `Effort`.
        surrogates: networks with the inputs and outputs of the attacked one, along whose gradients D7 walks
            too, besides those of one that it trains on the attacked one's outputs.
        codes: only these diagnostics; None: all.
        seed: of all random numbers; a network that draws its own from torch's generators is run with this
            seed too, and the generators are given back as they were.

    Raises DataError where every case is broken at its start, UnknownNameError for a code that there is not,
    and whatever the network raises.
    """
    begin, chosen = time.perf_counter(), ordered(codes)
    devices = [d for d in {cases.query.inputs.device} if d.type == "cuda"]
    # A stochastic network draws from the global generators: these are seeded for it, and restored.
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        settings = {"attack": attack, "effort": effort or Effort(), "seed": seed, "surrogates": surrogates}
        examination = _examination(cases, at_radius, settings)
        findings = []
        for one in chosen:
            if progress is not None:
                progress(one)
            findings.append(one.run(examination))
        curves = _curves(examination, findings)
    return Diagnosis(
        model=cases.model,
        spec=cases.spec,
        norm=cases.norm,
        eps=cases.eps,
        cases=tuple(str(i) for i in cases.ids),
        examined=examination.names,
        findings=tuple(findings),
        curves=curves,
        seconds=time.perf_counter() - begin,
    )


def nothing_to_examine(cases: Cases) -> Diagnosis:
    """The diagnosis of cases that are all broken at their start: no alarm, nothing examined."""
    ids = tuple(str(i) for i in cases.ids)
    return Diagnosis(cases.model, cases.spec, cases.norm, cases.eps, ids, (), (), Curves(), 0.0)


def _examination(cases: Cases, at_radius: AtRadius | None, settings: Mapping[str, Any]) -> Examination:
    tally = Tally()
    query = _metered(cases.query, tally)
    start = cases.starts().to(Subject.of(cases).dtype)
    kept = (~query.violated(start)).nonzero().flatten()
    if not len(kept):
        raise DataError(
            "every case is broken at its start: there is no attack's failure to examine",
            where=f"{cases.model}, {cases.spec}",
            cure="take other images, or a model that is right about some of them",
        )
    names = tuple(str(cases.ids[b]) for b in kept.tolist())
    radii = (0.0 if math.isnan(cases.eps) else cases.eps, _widest(cases))
    if at_radius is None:
        at_radius, radii = _shrunk(cases.query), (1.0, 1.0)

    def elsewhere(radius: float) -> Query:
        assert at_radius is not None
        return _metered(at_radius(radius), tally).select(kept)

    return Examination(
        query.select(kept),
        start[kept.to(start.device)],
        names,
        at_radius=None if at_radius is None else elsewhere,
        radii=radii,
        tally=tally,
        **settings,
    )


def _shrunk(query: Query) -> AtRadius | None:
    """The problems with sets scaled by a factor about their origins; None where that is not possible."""

    def at(factor: float) -> Query:
        return replace(query, inputs=scaled(query.inputs, torch.full((query.batch,), factor)))

    try:
        at(0.5)
    except SpecError:
        return None
    return at


def _metered(query: Query, tally: Tally) -> Query:
    return replace(query, network=Meter(query.network, tally))


def _widest(cases: Cases) -> float:
    """The radius at which a ball around a corner of the unit box holds the box."""
    inputs = cases.query.inputs
    ball = inputs.ball if isinstance(inputs, Intersection) else inputs
    norm = cases.norm or (f"l{ball.p:g}" if isinstance(ball, Ball) else "linf")
    return float(inputs.centre()[0].numel() ** _POWERS.get(norm, 0.0))


def _curves(examination: Examination, findings: Sequence[Finding]) -> Curves:
    """The plane lies around a case that an alarm names, where there is one."""
    named = {case for finding in findings if finding.fired for case in finding.cases}
    suspects: Tensor = torch.tensor([name in named for name in examination.names])
    return curves_of(examination, suspects)

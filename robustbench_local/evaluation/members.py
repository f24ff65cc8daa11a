"""Sets that are unions of simpler ones: a verifier's second look, at their members one by one."""

from __future__ import annotations

import time
from dataclasses import replace

import torch

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query
from robustbench_local.verifiers import Budget, Verifier

from .audit import confirm
from .methods import Limits, Outcome, failed, run_verifier
from .subject import Subject

__all__ = ["bounded"]

_WHOLE = 0.3  # of the time, for sets that have members: as in `rbl.verify`, the whole comes first


def bounded(verifier: Verifier, subject: Subject, query: Query, limits: Limits) -> Outcome:
    """What the verifier proves, each HOLDS confirmed: of the sets, then of the members of what stays open."""
    start, parted = time.monotonic(), _divisible(query)
    first = replace(limits, seconds=_WHOLE * limits.seconds) if parted else limits
    outcome = run_verifier(verifier, subject, query, limits=first)
    confirm(verifier, subject, query, outcome, Budget(first.seconds, limits.memory_bytes))
    if parted:
        left = limits.seconds - (time.monotonic() - start)
        _look_at_members(verifier, subject, query, outcome, replace(limits, seconds=left))
    return outcome


def _divisible(query: Query) -> bool:
    """Whether the sets have members that are worth bounding one by one."""
    return query.batch > 0 and query.select(torch.tensor([0], device=query.inputs.device)).parts() is not None


def _look_at_members(
    verifier: Verifier, subject: Subject, query: Query, outcome: Outcome, limits: Limits
) -> None:
    """Bounds the open problems of `outcome` by the members of their sets, and updates it in place.

    A problem holds where all its members do, each confirmed as any HOLDS is, and is violated where one of
    them is. Each problem gets its part of the time that is left; one that a member's error stops stays open.
    """
    deadline = time.monotonic() + limits.seconds
    rows = torch.nonzero(~(outcome.holds | outcome.violated)).flatten().tolist()
    for k, b in enumerate(rows):
        left = (deadline - time.monotonic()) / (len(rows) - k)
        if left <= 0:
            break
        found = query.select(torch.tensor([b], device=query.inputs.device)).parts()
        if found is None or found[0].batch == 0:
            continue
        members = found[0]
        try:
            of_members = run_verifier(verifier, subject, members, limits=replace(limits, seconds=left))
            confirm(verifier, subject, members, of_members, Budget(left, limits.memory_bytes))
        except (RobustBenchError, RuntimeError, MemoryError) as error:
            outcome.reason[b] = failed(outcome.kind, 1, error).reason[0]
            continue
        _take(outcome, b, of_members, query)


def _take(outcome: Outcome, b: int, members: Outcome, query: Query) -> None:
    """What the members say of problem b together."""
    worst = int(members.upper.argmax())
    outcome.upper[b] = torch.minimum(outcome.upper[b], members.upper[worst])
    if bool(members.violated.any()) and members.points is not None:
        first = int(members.violated.to(torch.int8).argmax())
        if outcome.points is None:
            outcome.points = query.inputs.centre().to(members.points)
            outcome.lower = torch.full_like(outcome.upper, torch.nan)
        outcome.points[b] = members.points[first]
        outcome.lower[b] = members.lower[first]
        outcome.violated[b], outcome.reason[b] = True, ""
    elif bool(members.holds.all()):
        outcome.holds[b], outcome.reason[b] = True, ""
        outcome.audit[b] = f"each of {members.batch} members: {members.audit.get(worst, '')}"
        if outcome.rounding is not None and members.rounding is not None:
            outcome.rounding[b] = members.rounding[worst]

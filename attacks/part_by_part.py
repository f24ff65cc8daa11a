"""Sets that are unions, searched member by member: the places of a patch, the pixels of an l0 ball, choices.

A gradient tells which member to move to only near the present point. Here every member gets a short walk of
its own, and the more promising a member is, the longer its walk (successive halving: Z. Karnin, T. Koren,
O. Somekh, "Almost optimal exploration in multi-armed bandits", ICML 2013).
"""

from __future__ import annotations

import time
from functools import partial

import torch
from torch import Tensor

from robustbench_local.errors import EmptySetError
from robustbench_local.specs import Query

from .attack import AttackResult, attack
from .ensemble import merged
from .gradient_free import random_search
from .pgd import pgd
from .random_numbers import Ids, derive_seed, sample_ids

__all__ = ["part_by_part"]

_STAGES = ((3, 1.0), (10, 0.25), (40, 1 / 16))  # steps of a walk, and the share of the members that get it
_BLIND = 32  # random points and corners of each member, where no gradient led anywhere


@attack("parts")
def part_by_part(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 40,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """`pgd` on the whole set, then, of samples left, on each member of their sets, longest on the likeliest.

    Where gradients are zero, random points of every member follow.
    Members are those of `Query.parts`, at most 4096 for each sample; of sets without, it is `pgd` alone.
    steps: of the walk on the whole set. Other arguments, and errors, as for `pgd`.
    """
    numbers = sample_ids(ids, query.batch, query.inputs.device)
    result = pgd(query, start=start, steps=steps, seed=seed, ids=numbers, deadline=deadline)
    for row in (~result.violated).nonzero().flatten():
        one = row.reshape(1)
        if deadline is not None and time.monotonic() >= deadline:
            result.complete[(~result.violated) & (torch.arange(query.batch, device=row.device) >= row)] = (
                False
            )
            break
        found = _members(query.select(one), derive_seed(seed, "parts", int(numbers[row])), deadline)
        if found is not None:
            result = merged(result, one, found)
    return result


def _members(query: Query, seed: int, deadline: float | None) -> AttackResult | None:
    """The best point of one problem by walks on the members of its set, None where there are none."""
    divided = query.parts()
    if divided is None:
        return None
    members = divided[0]
    number, points = torch.arange(members.batch, device=members.inputs.device), None
    best: AttackResult | None = None
    for stage, (steps, _) in enumerate(_STAGES):
        walk = partial(pgd, steps=steps, random_start=stage == 0, step_size=0.5 if stage == 0 else 0.2)
        try:
            found = walk(members, start=points, seed=derive_seed(seed, stage), ids=number, deadline=deadline)
        except EmptySetError:  # a member without a point of the network's dtype
            return best
        rank = torch.where(found.violated, torch.inf, found.violation.nan_to_num(nan=-torch.inf))
        top = _row(found, rank.argmax())
        zero = torch.zeros(1, dtype=torch.int64, device=rank.device)
        best = top if best is None else merged(best, zero, top)
        if bool(best.violated) or stage + 1 == len(_STAGES):
            break
        keep = rank.topk(max(1, round(divided[0].batch * _STAGES[stage + 1][1]))).indices
        members, number, points = members.select(keep), number[keep], found.points[keep]
    if best is not None and bool(best.blind & ~best.violated):  # no walk told members apart: all once more
        whole = divided[0]
        number = torch.arange(whole.batch, device=whole.inputs.device)
        found = random_search(whole, queries=_BLIND, seed=seed, ids=number, deadline=deadline)
        rank = torch.where(found.violated, torch.inf, found.violation.nan_to_num(nan=-torch.inf))
        best = merged(best, torch.zeros(1, dtype=torch.int64, device=rank.device), _row(found, rank.argmax()))
    return best


def _row(found: AttackResult, row: Tensor) -> AttackResult:
    """The result at one row, which pays for all."""
    one = row.reshape(1)
    return AttackResult(
        points=found.points[one],
        violation=found.violation[one],
        violated=found.violated[one],
        forwards=found.forwards.sum().reshape(1),
        backwards=found.backwards.sum().reshape(1),
        finite=found.finite.all().reshape(1),
        complete=found.complete.all().reshape(1),
        blind=found.blind.all().reshape(1),
    )

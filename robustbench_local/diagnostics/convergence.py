"""D11 and D12: whether an attack has ended where it could have gone on, or has lost what it had."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from robustbench_local.attacks import pgd

from .examination import Examination
from .random_points import replays
from .registry import Measured, NotApplicable, diagnostic, share

__all__ = ["not_converged", "silent_success"]

_LAST = 10  # steps
_RISE = 0.05  # of the whole rise of the loss


@diagnostic(
    "D11",
    "not converged",
    meaning="share of the cases that twice the steps and restarts break, or whose loss still rose at the end",
    threshold=0.005,
    remedy="more steps and restarts (apgd, autoattack) until nothing changes any more",
    source="N. Carlini et al., arXiv 1902.06705, section 5; M. Pintor et al., arXiv 2106.09947 (rise of "
    "the best loss over the last 10 steps, over 0.05 of all)",
)
def not_converged(examination: Examination) -> Measured:
    """PGD with twice the steps and restarts; and the best loss of the walk in its last ten steps."""
    steps = examination.effort.steps
    once, seen = examination.walk
    twice = examination.attacked(partial(pgd, steps=2 * steps, restarts=2))
    if once is None or twice is None:
        raise NotApplicable("the network passes no gradient on, see D2")
    robust = examination.left_robust
    more = (robust & twice.violated.cpu()) | robust.new_zeros(robust.shape)
    whole = steps + 2  # the start, every step's end, and the replay: a walk that ends in a cycle is shorter
    rising = torch.tensor([_still_rising(trace[:-1]) and len(trace) >= whole for trace in seen.traces])
    rising &= ~twice.violated.cpu() & ~once.violated.cpu()
    where = more | rising
    return Measured(
        share(where), where, f"twice the effort breaks {int(more.sum())}, {int(rising.sum())} still rose"
    )


def _still_rising(trace: list[float]) -> bool:
    best = np.maximum.accumulate(np.nan_to_num(np.array(trace), nan=-np.inf))
    if len(best) <= _LAST or not best[-1] > best[0]:
        return False
    return bool(best[-1] - best[-1 - _LAST] > _RISE * (best[-1] - best[0]))


@diagnostic(
    "D12",
    "silent success",
    meaning="share of the cases whose walk met a point that breaks the property, which the result does "
    "not say",
    threshold=0.0,
    remedy="the attack forgets: keep the worst of all points that it evaluates, not the last one",
    source="M. Pintor et al., arXiv 2106.09947 (implementation failure: the last iterate is returned)",
)
def silent_success(examination: Examination) -> Measured:
    """Every point that the examined attack evaluated, replayed, against what it returned."""
    found, seen = examination.examined
    if found is None:
        raise NotApplicable("the network passes no gradient on, see D2")
    where = torch.zeros(examination.query.batch, dtype=torch.bool)
    for row, point in seen.first.items():
        if not found.violated[row]:
            index = torch.tensor([row])
            one = examination.query.select(index.to(examination.query.inputs.device))
            where[row] = bool(replays(one, point.unsqueeze(0))[0])
    return Measured(share(where), where)

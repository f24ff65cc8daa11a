"""Targeted Auto-PGD: one adaptive walk towards each of the clauses that are nearest to being violated.

APGD-T with the targeted difference-of-logits ratio of F. Croce and M. Hein, ICML 2020, arXiv 2003.01690, for
any property: what a wrong class is to robustness, a clause of the disjunctive normal form is to a property.
Walks can begin where a short one in a larger set led: radii that shrink help in F. Croce and M. Hein, ICML
2021, arXiv 2103.01208, section 3.3, in l1 balls; here in every set that can be scaled.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .apgd import ascend
from .attack import AttackResult, attack
from .clauses import clause_lists, clause_ranking, clause_values
from .further import from_further
from .losses import Loss
from .prospects import PATIENCE, checked_patience
from .random_numbers import Ids
from .search import Search
from .step_rules import Dense, step_rule

__all__ = ["apgd_targeted"]

_TINY = 1e-12


@attack("apgd-t")
def apgd_targeted(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 100,
    targets: int = 9,
    restarts: int = 1,
    reach: float = 1.0,
    patience: float = PATIENCE,
    early_stop: bool = True,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """The best of all points met on one walk of `steps` steps towards each of up to `targets` clauses.

    The clauses are those of largest violation at `start`, in that order: for robustness the likeliest wrong
    classes. Unlike the published attack it works for any number of classes, and for a property without
    alternatives, where all there is to aim at is the one clause.
    restarts: number of walks towards each. reach: >= 1; above 1 walks begin at the nearest points of the sets
        to where `steps // 5` steps in sets of `reach` times the size led. Sets that cannot be scaled (see
        `scaled`) are searched from random points as with 1.
    Other arguments as for `apgd`.
    Raises `GraphError` for a network without a gradient, `RobustBenchError` for settings out of range.
    """
    numbers = {"steps": steps, "targets": targets, "restarts": restarts, "reach": reach}
    for name, value in numbers.items():
        if not 1 <= value < math.inf:
            raise RobustBenchError(f"{name} is {value}", where=name, cure="give a number that is 1 or more")
    search = Search(
        query, name="apgd-t", start=start, seed=seed, ids=ids, deadline=deadline, early_stop=early_stop
    )
    if search.expired():
        return search.result()
    clauses = clause_lists(query)
    ranking = clause_ranking(clauses, search.look(search.start)[1], targets)
    search.drop_broken()
    rule = step_rule(query.inputs, Dense())
    hope = checked_patience(patience, early_stop)
    for walk in range(restarts * ranking.shape[1]):
        search.resume()
        if search.done or search.expired():
            break
        loss = _towards(search, clauses, ranking[:, walk % ranking.shape[1]])
        begin = from_further(search, walk, reach, steps // 5)
        ascend(search, walk, loss, rule, steps, patience=hope, begin=begin)
    return search.result()


def _towards(search: Search, clauses: list[list[int]], target: Tensor) -> Loss:
    """The loss of walks towards one clause per sample, target (B,): its value over the spread of scores.

    The spread of the scores (atoms and 0) is the largest less the mean of the third and the fourth, or less
    the smallest where there are fewer than four.
    """

    def loss(query: Query, atoms: Tensor) -> Tensor:
        del query
        aimed = clause_values(clauses, atoms).gather(1, target[search.rows].unsqueeze(1)).squeeze(1)
        scores = torch.cat([atoms, torch.zeros_like(atoms[:, :1])], 1)
        top = scores.topk(min(4, scores.shape[1]), 1).values
        low = top[:, 2:].mean(1) if top.shape[1] == 4 else top[:, -1]
        return aimed / (top[:, 0] - low + _TINY)

    return loss

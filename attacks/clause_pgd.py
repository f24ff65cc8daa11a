"""PGD with many walks of every sample in one batch: some towards each clause of the property.

PGD: A. Madry et al., ICLR 2018, arXiv 1706.06083; the Adam steps: D. Kingma and J. Ba, "Adam: a method for
stochastic optimization", ICLR 2015, arXiv 1412.6980. A walk aims at one clause of the disjunctive normal
form, as in targeted attacks, so that a clause that is far from being violated at the start is tried. Walks
start at the given point, at random points and at corners, where the worst points of piecewise linear
networks are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import InputSet, Query

from .attack import AttackResult, attack
from .clauses import clause_lists, clause_loss, clause_ranking
from .ensemble import merged
from .losses import Loss
from .random_numbers import Ids, sample_ids
from .search import Search

__all__ = ["clause_pgd"]

_GOLDEN = -0x61C8864680B583EB  # 2**64 over the golden ratio, as a signed number: spreads the walks' names
_FIRST, _LAST = 0.5, 0.005  # step sizes, as fractions of the set's own size
_RATE = 0.3  # Adam's first rate, in half widths of the set's hull
_KEEP, _SQUARES = 0.9, 0.99  # Adam's averages


@attack("clause-pgd")
def clause_pgd(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 50,
    walks: int = 16,
    early_stop: bool = True,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """The best of all points met on `walks` walks of `steps` steps each, all in one batch.

    Walks take turns over the clauses, the one nearest to being violated at `start` first; over where they
    begin (a corner or a random point; the first one at `start`); and over how they step (steepest ascent with
    falling sizes, or Adam). A sample whose property is broken on one of its walks leaves with all of them.
    start, seed, ids, deadline: as for `Attack`. Raises `GraphError` for a network without gradient,
    `RobustBenchError` for settings out of range.
    """
    for name, value in (("steps", steps), ("walks", walks)):
        if value < 1:
            raise RobustBenchError(f"{name} is {value}", where=name, cure="give a number that is 1 or more")
    numbers = sample_ids(ids, query.batch, query.inputs.device)
    settings: Mapping[str, Any] = {"seed": seed, "deadline": deadline, "early_stop": early_stop}
    first = Search(query, name="clause-pgd", start=start, ids=numbers, **settings)
    if first.expired():
        return first.result()
    clauses = clause_lists(query)
    ranking = clause_ranking(clauses, first.look(first.start)[1], walks)
    begin = first.start
    first.drop_broken()
    left, result = first.rows, first.result()
    if left.numel() == 0:
        return result
    owner = left.repeat_interleave(walks)
    number = torch.arange(walks, device=owner.device).repeat(left.shape[0])
    search = Search(
        query.select(owner),
        name="clause-pgd",
        start=begin[owner],
        ids=numbers[owner] * _GOLDEN + number,
        **settings,
    )
    target = ranking[owner, number % ranking.shape[1]]
    _Walks(search, owner, number, clause_loss(search, clauses, target)).run(steps)
    return merged(result, left, _best(search.result(), walks))


@dataclass(frozen=True, slots=True)
class _Walks:
    """All walks of one call: of sample owner (n,), by its number (n,)."""

    search: Search
    owner: Tensor
    number: Tensor
    loss: Loss

    def run(self, steps: int) -> None:
        search = self.search
        x = self._begin()
        mean, square = torch.zeros_like(x), torch.zeros_like(x)
        for step in range(steps):
            if search.expired():
                return
            gradient = search.gradient(x, self.loss)
            keep = search.drop_broken(self.owner)
            if search.done:
                return
            if keep is not None:
                x, gradient, mean, square = x[keep], gradient[keep], mean[keep], square[keep]
            gradient = _scaled(gradient, search, step)
            mean = _KEEP * mean + (1 - _KEEP) * gradient
            square = _SQUARES * square + (1 - _SQUARES) * gradient**2
            share = (_LAST / _FIRST) ** (step / max(1, steps - 1))
            inputs = search.query.inputs
            lean = (mean / (1 - _KEEP ** (step + 1))) / (
                (square / (1 - _SQUARES ** (step + 1))).sqrt() + 1e-8
            )
            moved = torch.where(
                _along(self.number[search.rows] // 2 % 2 == 0, x),
                _FIRST * share * inputs.steepest(gradient),
                _RATE * share * lean.clamp(-1, 1) * _half_widths(inputs, x),
            )
            x = inputs.project(x + moved)
        search.evaluate(x)
        search.drop_broken(self.owner)

    def _begin(self) -> Tensor:
        search = self.search
        inputs = search.query.inputs
        way = 2 * search.uniform(restart=0, step=-2) - 1
        corner = inputs.project(inputs.centre().to(way) + inputs.steepest(way))
        random = search.random_points(0)
        x = torch.where(_along(self.number % 2 == 0, random), corner, random)
        return torch.where(_along(self.number == 0, x), search.start, x)


def _half_widths(inputs: InputSet, like: Tensor) -> Tensor:
    box = inputs.box()
    return ((box.upper - box.lower) / 2).to(like)


def _scaled(gradient: Tensor, search: Search, step: int) -> Tensor:
    """The gradient over its largest entry per walk; a random direction where it is zero."""
    flat = gradient.flatten(1)
    largest = flat.abs().amax(1, keepdim=True)
    lost = largest == 0
    if bool(lost.any()):
        flat = torch.where(lost, 2 * search.uniform(restart=0, step=step).flatten(1) - 1, flat)
        largest = flat.abs().amax(1, keepdim=True)
    return (flat / largest).reshape(gradient.shape)


def _best(found: AttackResult, walks: int) -> AttackResult:
    """Of every sample the best walk: one that breaks the property, then the largest violation."""
    rank = torch.where(found.violated, torch.inf, found.violation.nan_to_num(nan=-torch.inf))
    place = rank.reshape(-1, walks).argmax(1)
    row = torch.arange(place.shape[0], device=place.device) * walks + place
    return AttackResult(
        points=found.points[row],
        violation=found.violation[row],
        violated=found.violated[row],
        forwards=found.forwards.reshape(-1, walks).sum(1),
        backwards=found.backwards.reshape(-1, walks).sum(1),
        finite=found.finite.reshape(-1, walks).all(1),
        blind=(found.blind | (found.backwards == 0)).reshape(-1, walks).all(1)
        & found.blind.reshape(-1, walks).any(1),
        complete=found.complete.reshape(-1, walks).all(1),
    )


def _along(mask: Tensor, like: Tensor) -> Tensor:
    return mask.reshape(-1, *(1,) * (like.ndim - 1))

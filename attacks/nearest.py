"""The frame of minimum-norm attacks: they look for the nearest bad point, wherever it lies.

An attack of this kind walks outside the set as well; what it finds there breaks nothing, but is kept as the
nearest bad point so far. Within a set of fixed size the walk is an attack like any other (`approach`): points
count once they lie in the set. Without (`smallest_scale`) the result is the factor by which the set must
be scaled about its origin until it holds a bad point: an upper bound of the true one, replayed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor
from typing_extensions import Unpack

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .attack import AttackResult
from .clauses import clause_lists, clause_ranking, clause_values
from .gauge import Gauge, scaled
from .passes import along, replay
from .prospects import PATIENCE, checked_patience
from .random_numbers import Ids
from .search import Search

__all__ = ["Chase", "Common", "Look", "Nearest", "Walk", "approach", "smallest_scale"]

_BISECTIONS = 12


class Look(NamedTuple):
    """What a look at displacements u (b, n) says, gradients in units of the sets."""

    gradients: Tensor  # (b, k, n)
    values: Tensor  # (b, k)
    bad: Tensor  # (b,) bool, the property is violated there

    def select(self, keep: Tensor) -> Look:
        """The samples at a mask (b,)."""
        return Look(*(part[keep] for part in self))


class Chase:
    """One run of a minimum-norm attack on the b samples that are left of B.

    search: the ledger. gauge: their sets as unit balls. clauses, ranking (B, T): what targeted walks aim at.
    patience: for walks whose only aim is the set itself; inf where nearer points count as well.
    """

    def __init__(self, search: Search, targets: int, patience: float = math.inf) -> None:
        """Looks at the start, and lets samples leave that are broken there."""
        self.search, self.patience = search, patience
        self._gauge = self.gauge = Gauge.of(search.query.inputs, search.start.dtype)
        self.clauses = clause_lists(search.query)
        violation, atoms = search.look(search.start)
        self.ranking = clause_ranking(self.clauses, atoms, targets)
        self._best = self.start()
        self._share = torch.full_like(self._best[:, 0], torch.inf)
        self._keep(self._best, violation > 0)
        self.drop()

    @property
    def share(self) -> Tensor:
        """The factors (b,) that scale the sets to the nearest bad points, inf before any."""
        return self._share[self.search.rows]

    @property
    def best(self) -> Tensor:
        """The displacements (b, n) of the nearest bad points."""
        return self._best[self.search.rows]

    @property
    def whole(self) -> tuple[Gauge, Tensor, Tensor]:
        """Gauge, nearest bad displacements (B, n) and factors (B,) of the whole batch."""
        return self._gauge, self._best, self._share

    @property
    def done(self) -> bool:
        """Whether nothing is left to do: all samples are broken, or the deadline has passed."""
        return self.search.done or self.search.expired()

    @property
    def size(self) -> Tensor:
        """The l2 size (b, 1) of a set in its own units: of linf balls the root of the coordinates' number."""
        n = self.best.shape[1]
        size = n**0.5 if self.gauge.distance.p == torch.inf else 1.0
        return torch.full_like(self.share, size).unsqueeze(1)

    def start(self, restart: int = 0) -> Tensor:
        """Displacements (b, n) to begin from: the given start, then random ones, half as far as the best."""
        search, gauge = self.search, self.gauge
        if restart == 0:
            return gauge.displacements(search.start)
        u = gauge.displacements(search.random_points(restart))
        half = self.share.clamp(max=1.0) * gauge.reach / 2
        return gauge.distance.shrink(u, torch.maximum(half, gauge.reach.clamp(max=1.0) / 2))

    def look(self, u: Tensor, values: Callable[[Query, Tensor], Tensor]) -> Look:
        """Objectives (b, k) with their gradients at displacements u (b, n); bad ones are kept."""
        gauge, search = self.gauge, self.search
        x = gauge.points(u, search.query.inputs)
        found = search.explore(x, values)
        bad = found.violation > 0
        self._keep(u if gauge.free else gauge.displacements(x), bad)
        return Look(found.gradients.flatten(2) * gauge.unit.unsqueeze(1), found.values, bad)

    def test(self, u: Tensor) -> Tensor:
        """Whether displacements u (b, n) are bad, (b,); those are kept."""
        bad = self.search.probe(self.gauge.points(u, self.search.query.inputs)) > 0
        self._keep(u, bad)
        return bad

    def drop(self) -> Tensor | None:
        """Lets broken samples leave; the mask (b,) of those that stay, None if all do."""
        return self._kept(self.search.drop_broken())

    def park(self, gone: Tensor) -> Tensor | None:
        """Lets the samples of a mask (b,) rest until the next walk; as `drop`."""
        return self._kept(self.search.park(gone))

    def resume(self) -> None:
        """Brings back the samples that rest."""
        self.search.resume()
        self.gauge = self._gauge.select(self.search.rows)

    def towards(self, rank: int) -> Callable[[Query, Tensor], Tensor]:
        """The value (b, 1) of the clause that is `rank`-th nearest to being violated at the start."""

        def values(query: Query, atoms: Tensor) -> Tensor:
            del query
            return clause_values(self.clauses, atoms).gather(
                1, self.ranking[self.search.rows, rank : rank + 1]
            )

        return values

    def each(self, query: Query, atoms: Tensor) -> Tensor:
        """The values (b, T) of all clauses that are aimed at."""
        del query
        return clause_values(self.clauses, atoms).gather(1, self.ranking[self.search.rows])

    def violation(self, query: Query, atoms: Tensor) -> Tensor:
        """The violation (b, 1)."""
        return query.combine(atoms).unsqueeze(1)

    def tighten(self, rounds: int = _BISECTIONS) -> None:
        """Bisects between the origin and the nearest bad point, for one that is nearer still."""
        self.resume()
        low, high = torch.zeros_like(self.share), torch.ones_like(self.share)
        end = self.best
        for _ in range(rounds):
            if self.done:
                return
            middle = (low + high) / 2
            bad = self.test(middle.unsqueeze(1) * end)
            low, high = torch.where(bad, low, middle), torch.where(bad, middle, high)

    def finish(self) -> None:
        """Pulls the nearest bad points into their sets, and looks there: some still are bad."""
        search = self.search
        if search.expired():
            return
        self.park(~torch.isfinite(self.share) | (self.share <= 1))
        if not search.done:
            search.evaluate(search.query.inputs.project(self.gauge.points(self.best, search.query.inputs)))
            self.drop()

    def _kept(self, keep: Tensor | None) -> Tensor | None:
        if keep is not None:
            self.gauge = self.gauge.select(keep)
        return keep

    def _keep(self, u: Tensor, bad: Tensor) -> None:
        share, rows = self.gauge.share(u), self.search.rows
        nearer = bad & (share < self._share[rows])
        self._best[rows[nearer]], self._share[rows[nearer]] = u[nearer], share[nearer]


Walk = Callable[[Chase, int], None]
"""walk(chase, restart): one walk of all samples; it returns when the chase is done."""


class Common(TypedDict, total=False):
    """What all minimum-norm attacks take, as `pgd` does; targets: the clauses that a walk may aim at.

    patience: as for `apgd`, of walks that look for it (FAB's), in how near to the set they have come.
    """

    start: Tensor | None
    seed: int
    ids: Ids | None
    deadline: float | None
    early_stop: bool
    restarts: int
    targets: int
    patience: float


def approach(query: Query, walk: Walk, *, name: str, **common: Unpack[Common]) -> AttackResult:
    """The attack within the sets of `query` that a minimum-norm walk makes.

    Raises `GraphError` for a network without gradient, `RobustBenchError` for settings out of range.
    """
    search = Search(
        query,
        name=name,
        start=common.get("start"),
        seed=common.get("seed", 0),
        ids=common.get("ids"),
        deadline=common.get("deadline"),
        early_stop=common.get("early_stop", True),
    )
    patience = checked_patience(common.get("patience", PATIENCE), common.get("early_stop", True))
    _run(search, walk, common.get("targets", 9), common.get("restarts", 1), patience=patience)
    return search.result()


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The nearest bad points found for B samples.

    scale: (B,) float64; the set, scaled by this about its origin, holds the point and by replay the property
        is violated there: an upper bound of the true factor. inf where none was found.
    result: points, violation and costs as an attack on the scaled sets gives them; where none was found,
        those of the best point inside the unscaled set.
    """

    scale: Tensor
    result: AttackResult


def smallest_scale(
    query: Query,
    walk: Walk,
    *,
    name: str = "nearest",
    targets: int = 9,
    restarts: int = 1,
    start: Tensor | None = None,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> Nearest:
    """The smallest factor found by which the sets must be scaled to hold a bad point, for each sample.

    walk: settings of a minimum-norm attack, for example `FAB(steps=50)`. A ball of radius 1 makes the factor
    the distance; one cut by a box keeps to the box. Raises SpecError for sets without a radius.
    """
    scaled(query.inputs, torch.ones(query.batch, dtype=torch.float64))  # sets without a radius fail here
    settings: dict[str, Any] = {"start": start, "seed": seed, "ids": ids, "deadline": deadline}
    search = Search(query, name=name, early_stop=False, **settings)
    chase = _run(search, walk, targets, restarts)
    if chase is None:
        return Nearest(torch.full((query.batch,), torch.inf, dtype=torch.float64), search.result())
    chase.tighten()
    return _replayed(query, chase, search.result())


def _run(
    search: Search, walk: Walk, targets: int, restarts: int, *, patience: float = math.inf
) -> Chase | None:
    for name, value in (("targets", targets), ("restarts", restarts)):
        if value < 1:
            raise RobustBenchError(f"{name} is {value}", where=name, cure="give a number that is 1 or more")
    if search.expired():
        return None
    chase = Chase(search, targets, patience)
    for restart in range(restarts):
        if chase.done:
            break
        walk(chase, restart)
        chase.resume()
    if not search.done:
        chase.finish()
    return chase


def _replayed(query: Query, chase: Chase, result: AttackResult) -> Nearest:
    """The nearest points that a clean pass confirms, in sets scaled by just enough to hold them."""
    gauge, best, reached = chase.whole
    share = reached.to(torch.float64)
    shape = query.inputs.shape
    found = torch.isfinite(share)
    eps = torch.finfo(result.points.dtype).eps
    counts = gauge.distance.p == 0
    factor = torch.where(found, share, 1.0)
    raw = (gauge.origin + gauge.unit * best).reshape(-1, *shape)
    points = torch.where(along(found, raw), raw, result.points)
    wide, inside = factor, torch.zeros_like(found)
    for step in range(8):  # the point's own rounding may ask for a slightly larger set
        more = 4.0 ** (step + 1) * eps
        wide = factor if counts else torch.where(found, factor * (1 + more) + 1e-3 * more, 1.0)
        inside = scaled(query.inputs, wide).contains(points)
        if bool((inside | ~found).all()):
            break
    final = replace(query, inputs=scaled(query.inputs, wide))
    violation, violated, passes = replay(final, points)
    good = found & violated & inside
    return Nearest(
        scale=torch.where(good, wide, torch.inf),
        result=replace(
            result,
            points=points,
            violation=violation,
            violated=violated,
            forwards=result.forwards + passes,
            finite=result.finite & violation.isfinite(),
        ),
    )

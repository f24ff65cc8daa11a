"""Search on a grid that closes in on its best point: for sets of few parameters, such as angles and shifts.

L. Engstrom, B. Tran, D. Tsipras, L. Schmidt, A. Madry, "Exploring the landscape of spatial robustness", ICML
2019, arXiv 1712.02779, where a grid over rotations and translations beat gradient ascent; the finer grids
around the best point are added here. No gradient is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .attack import AttackResult, attack
from .random_numbers import Ids
from .search import Search

__all__ = ["grid"]

_LEVELS = 4


@attack("grid")
def grid(
    query: Query,
    *,
    start: Tensor | None = None,
    queries: int = 1000,
    early_stop: bool = True,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """The best of `queries` points in all: `start`, a grid over the set, and three finer ones in turn.

    A grid has as many points on each axis as a quarter of the queries allows, the ends included; each next
    one lies around the best point so far and reaches to its neighbours. Coordinates that do not vary have no
    axis. Where two points per axis are too many, and where queries are left over, points are random; the next
    grid then reaches half as far. Points outside are moved into the set. Other arguments as for `pgd`. Raises
    `RobustBenchError` for queries < 1.
    """
    if queries < 1:
        raise RobustBenchError(f"queries is {queries}", where="queries", cure="give 1 or more")
    search = Search(
        query, name="grid", start=start, seed=seed, ids=ids, deadline=deadline, early_stop=early_stop
    )
    if not search.expired():
        search.evaluate(search.start)
        search.drop_broken()
    box = query.inputs.box()
    axes = _Axes.of(box.lower.to(search.start.dtype), box.upper.to(search.start.dtype))
    reach = torch.ones_like(axes.count, dtype=axes.low.dtype)
    for level in range(_LEVELS):
        budget = (queries - 1) // _LEVELS + (level < (queries - 1) % _LEVELS)
        ticks = axes.ticks(budget)
        centre = (axes.low + (axes.high - axes.low) / 2)[search.rows]
        if level:
            centre = search.best[0].flatten(1)
        for number in range(budget):
            if search.done or search.expired():
                return search.result()
            rows = search.rows
            noise = search.uniform(restart=level, step=number).flatten(1)
            place = axes.select(rows).place(number, ticks[rows], noise)
            x = centre + reach[rows].unsqueeze(1) * (axes.high - axes.low)[rows] / 2 * place
            x = torch.minimum(torch.maximum(x, axes.low[rows]), axes.high[rows])
            search.evaluate(search.query.inputs.project(x.reshape(search.start.shape)))
            keep = search.drop_broken()
            if keep is not None:
                centre = centre[keep]
        reach = reach * torch.where(ticks > 2, 2 / (ticks - 1).clamp(min=1), 0.5)
    return search.result()


@dataclass(frozen=True, slots=True, eq=False)
class _Axes:
    """The box around each set, flat, and which of its coordinates vary."""

    low: Tensor  # (b, n)
    high: Tensor  # (b, n)
    rank: Tensor  # (b, n) int64: of each coordinate among those that vary
    count: Tensor  # (b,) int64, how many those are

    @classmethod
    def of(cls, lower: Tensor, upper: Tensor) -> _Axes:
        """The axes of boxes lower, upper (b, *shape)."""
        low, high = lower.flatten(1), upper.flatten(1)
        varies = (high > low).to(torch.int64)
        return cls(low, high, (varies.cumsum(1) - 1).clamp(min=0), varies.sum(1))

    def select(self, rows: Tensor) -> _Axes:
        """Those of some sets."""
        return _Axes(self.low[rows], self.high[rows], self.rank[rows], self.count[rows])

    def ticks(self, budget: int) -> Tensor:
        """How many points each axis gets if there are `budget` in all, (b,) int64; 0 for fewer than two."""
        found = torch.zeros_like(self.count)
        for axes in self.count.unique().tolist():
            most = 1
            while axes and (most + 1) ** axes <= budget:
                most += 1
            found[self.count == axes] = most if most > 1 else 0
        return found

    def place(self, number: int, ticks: Tensor, noise: Tensor) -> Tensor:
        """Point `number` of the grid (b, n) in [-1, 1]; beyond the last one that of noise (b, n)."""
        base = ticks.clamp(min=2).unsqueeze(1)
        last = base.squeeze(1).double() ** self.count.double()
        on_grid = (ticks > 0) & (number < last)
        power = base ** torch.where(on_grid.unsqueeze(1), self.rank, 0)
        digit = number // power % base
        grid_point = 2 * digit.to(noise.dtype) / (base - 1) - 1
        return torch.where(on_grid.unsqueeze(1), grid_point, 2 * noise - 1)

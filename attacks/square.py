"""Square attack: random search that moves one square of the image at a time, without gradients.

M. Andriushchenko, F. Croce, N. Flammarion, M. Hein, "Square attack: a query-efficient black-box adversarial
attack via random search", ECCV 2020, arXiv 1912.00049 (algorithms 1 and 2). Here a square is a block of the
last axes of any input (an interval for inputs with one axis), its place is drawn per sample, and the set
decides what is possible: steps are projected, so that other sets than linf balls work as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .attack import AttackResult, attack
from .prospects import PATIENCE, Prospects, checked_patience
from .random_numbers import Ids
from .search import Search

__all__ = ["square"]

_WINDOWS = 10  # between looks at whether there is hope
_SHORTEST = 100  # queries of a window: fewer gain by luck
_HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of the share, after these queries of 10,000


@attack("square")
def square(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 5000,
    share: float = 0.8,
    restarts: int = 1,
    patience: float = PATIENCE,
    early_stop: bool = True,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """The best point of `restarts` random searches of `steps` queries each; it uses no gradient.

    share: in (0, 1]; of the coordinates in the first squares. It is halved as the search goes on.
    patience: a search ends at a tenth of its queries (at least 100) if its violation would stay negative even
        if every tenth to come raised it by this many times as much as the last one; inf: never.
    Each search begins with stripes: for every column, as far as the set allows to one side or the other.
    start: evaluated first. Other arguments as for `pgd`. Raises `RobustBenchError` for settings out of range.
    """
    for name, value in (("steps", steps), ("restarts", restarts)):
        if value < 1:
            raise RobustBenchError(f"{name} is {value}", where=name, cure="give a number that is 1 or more")
    if not 0 < share <= 1:
        raise RobustBenchError(f"share is {share}", where="share", cure="give a number in (0, 1]")
    search = Search(
        query, name="square", start=start, seed=seed, ids=ids, deadline=deadline, early_stop=early_stop
    )
    if not search.expired():
        search.evaluate(search.start)
        search.drop_broken()
    hope = checked_patience(patience, early_stop)
    for restart in range(restarts):
        search.resume()
        if search.done or search.expired():
            break
        _search(search, _Grid.of(query.inputs.shape), restart, share, (steps, hope))
    return search.result()


def _search(search: Search, grid: _Grid, restart: int, share: float, effort: tuple[int, float]) -> None:
    """One random search of all samples: a proposal is kept where it raises the violation.

    effort: the number of queries, and the patience.
    """
    steps, patience = effort
    window = max(_SHORTEST, steps // _WINDOWS)
    x = _stripes(search, grid, restart)
    prospects = Prospects.begin(x).saw(search.evaluate(x))
    for step in range(steps - 1):
        keep = search.drop_broken()
        if search.done or search.expired():
            return
        if keep is not None:
            x, prospects = x[keep], prospects.select(keep)
        if step and step % window == 0:
            stay = search.park(prospects.hopeless((steps - step) // window, patience))
            prospects = prospects.checkpoint()
            if search.done:
                return
            if stay is not None:
                x, prospects = x[stay], prospects.select(stay)
        side = grid.side(share / 2 ** sum(step > halving for halving in _HALVINGS))
        proposal = _proposal(search, grid, x, side, restart, step)
        found = search.evaluate(proposal)
        better = found > prospects.best
        x = torch.where(better.reshape(-1, *(1,) * (x.ndim - 1)), proposal, x)
        prospects = prospects.saw(found)
    search.drop_broken()


def _stripes(search: Search, grid: _Grid, restart: int) -> Tensor:
    """Points (b, *shape) whose columns lie as far as the set allows to a random side each."""
    shape = (grid.channels, 1, grid.width)
    sides = _signs(search.uniform(restart=restart, step=-1, shape=shape)).expand(-1, -1, grid.height, -1)
    return _pushed(search, search.query.inputs.centre().to(search.start.dtype), sides)


def _proposal(search: Search, grid: _Grid, x: Tensor, side: int, restart: int, step: int) -> Tensor:
    """The points x (b, *shape) with one square of each pushed to a random side per channel."""
    numbers = search.uniform(restart=restart, step=step, shape=(2 + grid.channels,))
    tall, wide = min(side, grid.height), min(side, grid.width)
    top = (numbers[:, 0] * (grid.height - tall + 1)).long().unsqueeze(1)
    left = (numbers[:, 1] * (grid.width - wide + 1)).long().unsqueeze(1)
    rows = torch.arange(grid.height, device=x.device)
    columns = torch.arange(grid.width, device=x.device)
    inside = ((rows >= top) & (rows < top + tall)).unsqueeze(2) & (
        (columns >= left) & (columns < left + wide)
    ).unsqueeze(1)
    sides = _signs(numbers[:, 2:]).reshape(-1, grid.channels, 1, 1) * inside.unsqueeze(1)
    return _pushed(search, x, sides)


def _pushed(search: Search, x: Tensor, sides: Tensor) -> Tensor:
    """x (b, *shape) moved by two sizes of the set to the sides -1, 0, 1 (b, c, h, w), and back into the set.

    Two sizes reach the far face of a box from anywhere inside.
    """
    inputs = search.query.inputs
    return inputs.project(x + 2 * inputs.steepest(sides.to(x.dtype).reshape(x.shape)))


def _signs(numbers: Tensor) -> Tensor:
    """-1 or 1 from numbers in [0, 1)."""
    return torch.where(numbers < 0.5, -1.0, 1.0).to(numbers.dtype)


@dataclass(frozen=True, slots=True)
class _Grid:
    """How the coordinates of a point lie in squares: (channels, height, width)."""

    channels: int
    height: int
    width: int

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> _Grid:
        """The last two axes are the picture; inputs with one axis are a row of pixels."""
        width = shape[-1] if shape else 1
        height = shape[-2] if len(shape) > 1 else 1
        return cls(math.prod(shape[:-2]), height, width)

    def side(self, share: float) -> int:
        """The side of a square that holds this share of the picture, at least 1."""
        area = share * self.height * self.width
        return max(1, round(area if self.height == 1 else math.sqrt(area)))

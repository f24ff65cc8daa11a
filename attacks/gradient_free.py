"""Attacks that see the network's outputs only: random points, and ascent on estimated gradients (NES, SPSA).

NES: A. Ilyas, L. Engstrom, A. Athalye, J. Lin, "Black-box adversarial attacks with limited queries and
information", ICML 2018, arXiv 1804.08598. SPSA: J. Uesato, B. O'Donoghue, A. van den Oord, P. Kohli,
"Adversarial risk and the dangers of evaluating against weak attacks", ICML 2018, arXiv 1802.05666; there with
Adam, here with steps along the set's steepest direction, as NES. No gradient is ever asked for.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .attack import AttackResult, attack
from .random_numbers import Ids
from .search import Search

__all__ = ["nes", "random_search", "spsa"]

_PROBE = 0.05  # how far estimates look to either side, in sizes of the set
_FIRST, _LAST = 0.5, 0.05  # lengths of ascent steps, in sizes of the set


@attack("random")
def random_search(
    query: Query,
    *,
    start: Tensor | None = None,
    queries: int = 1000,
    early_stop: bool = True,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """The best of `queries` points: random ones of the set and random corners in turn, `start` first.

    A baseline: whatever else fails where this succeeds is broken. Arguments as for `pgd`. Raises
    `RobustBenchError` for settings out of range.
    """
    _require(queries=queries)
    search = Search(
        query, name="random", start=start, seed=seed, ids=ids, deadline=deadline, early_stop=early_stop
    )
    if not search.expired():
        search.evaluate(search.start)
        search.drop_broken()
    for number in range(1, queries):
        if search.done or search.expired():
            break
        inputs = search.query.inputs
        if number % 2:
            x = search.random_points(number)
        else:
            side = 2 * search.uniform(restart=number, step=0) - 1
            x = inputs.project(inputs.centre().to(side) + inputs.steepest(side))
        search.evaluate(x)
        search.drop_broken()
    return search.result()


@attack("nes")
def nes(
    query: Query,
    *,
    start: Tensor | None = None,
    queries: int = 1000,
    pairs: int = 5,
    early_stop: bool = True,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """Ascent on gradients estimated from `pairs` of points to either side, along Gaussian directions.

    queries: forward passes in all, 2 * pairs for each step. Other arguments as for `pgd`. Raises
    `RobustBenchError` for settings out of range.
    """
    settings: dict[str, Any] = {"start": start, "seed": seed, "ids": ids, "deadline": deadline}
    search = Search(query, name="nes", early_stop=early_stop, **settings)
    return _ascent(search, queries, pairs, gaussian=True)


@attack("spsa")
def spsa(
    query: Query,
    *,
    start: Tensor | None = None,
    queries: int = 1000,
    pairs: int = 5,
    early_stop: bool = True,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """`nes` along directions of random signs."""
    settings: dict[str, Any] = {"start": start, "seed": seed, "ids": ids, "deadline": deadline}
    search = Search(query, name="spsa", early_stop=early_stop, **settings)
    return _ascent(search, queries, pairs, gaussian=False)


def _ascent(search: Search, queries: int, pairs: int, *, gaussian: bool) -> AttackResult:
    _require(queries=queries, pairs=pairs)
    if not search.expired():
        search.evaluate(search.start)
        search.drop_broken()
    x, left = search.start, queries - 1
    step = 0
    while left > 0 and not search.done and not search.expired():
        estimate, share_left = torch.zeros_like(x), left / queries
        for pair in range(min(pairs, max(1, left // 2))):
            if search.expired():
                return search.result()
            way = _direction(search, step, pair, gaussian)
            gain = _slope(search, x, way)
            estimate = estimate + gain.reshape(-1, *(1,) * (x.ndim - 1)).to(x.dtype) * way
            left -= 2
            keep = search.drop_broken()
            if search.done:
                return search.result()
            if keep is not None:
                x, estimate = x[keep], estimate[keep]
        size = _LAST + (_FIRST - _LAST) * share_left
        x = search.query.inputs.project(x + size * search.query.inputs.steepest(estimate))
        step += 1
    if not search.done and not search.expired():
        search.evaluate(x)
        search.drop_broken()
    return search.result()


def _slope(search: Search, x: Tensor, way: Tensor) -> Tensor:
    """The difference (b,) of the violation between the points of the sets to either side of x (b, *shape)."""
    inputs = search.query.inputs
    half = _PROBE * _half_widths(search, x) * way
    up, down = search.evaluate(inputs.project(x + half)), search.evaluate(inputs.project(x - half))
    return (up - down).nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def _half_widths(search: Search, like: Tensor) -> Tensor:
    box = search.query.inputs.box()
    return ((box.upper - box.lower) / 2).to(like)


def _direction(search: Search, step: int, pair: int, gaussian: bool) -> Tensor:
    uniform = search.uniform(restart=pair, step=step)
    if not gaussian:
        return torch.where(uniform < 0.5, -1.0, 1.0).to(uniform)
    edge = torch.finfo(uniform.dtype).eps
    return torch.erfinv((2 * uniform - 1).clamp(-1 + edge, 1 - edge)) * 2**0.5


def _require(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise RobustBenchError(f"{name} is {value}", where=name, cure="give 1 or more")

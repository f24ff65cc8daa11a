"""Random points of input sets, many at a time: what a search knows that knows nothing."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robustbench_local.attacks import uniform
from robustbench_local.specs import Query

__all__ = ["Draws", "points_of", "random_points", "replays"]

_AT_ONCE = 4096  # points in one forward pass


class Draws(NamedTuple):
    """The best of the random points of each of b sets."""

    points: Tensor  # (b, *in)
    violation: Tensor  # (b,) float64, -inf where no point gave a finite number
    bad: Tensor  # (b,) bool, on the CPU: one of them breaks the property, also on a pass of its own


def random_points(query: Query, keys: Tensor, count: int) -> Draws:
    """The best of `count` points of each set: half of them inside, half as far out as it goes.

    keys: (b,) of the random numbers, so that a case's points do not depend on the batch.
    """
    batch = query.batch
    each = max(1, min(count, _AT_ONCE // max(1, batch)))
    best = query.inputs.centre().to(query.inputs.dtype)
    top = torch.full((batch,), -torch.inf, dtype=torch.float64)
    bad = torch.zeros(batch, dtype=torch.bool)
    for first in range(0, count, each):
        size = min(each, count - first)
        owner = torch.arange(batch, device=keys.device).repeat(size)
        many = query.select(owner)
        x = _half_of_each(many, torch.cat([keys + first + k for k in range(size)]), batch * (size // 2))
        with torch.no_grad():
            y = many.network(x)
            violation = many.combine(many.atoms(y.double())).cpu().nan_to_num(nan=-torch.inf)
        bad |= (many.violated_by(y).cpu() & many.inputs.contains(x).cpu()).reshape(size, batch).any(0)
        here, which = violation.reshape(size, batch).max(0)
        better = here > top
        chosen = x.reshape(size, batch, *x.shape[1:])[which, torch.arange(batch)]
        best = torch.where(better.to(x.device).reshape(-1, *(1,) * (x.ndim - 1)), chosen, best.to(x))
        top = torch.maximum(top, here)
    return Draws(best, top, bad & replays(query, best))


def points_of(query: Query, keys: Tensor, *, out: bool) -> Tensor:
    """A random point of each set (b, *in): anywhere in it, or `out` as far as it goes to random sides."""
    inputs = query.inputs
    where = uniform(keys, inputs.shape, inputs.dtype)
    if out:
        return inputs.project(inputs.centre().to(where) + inputs.steepest(2 * where - 1))
    return inputs.sample(where, uniform(keys, (), inputs.dtype, draw=1))


def _half_of_each(query: Query, keys: Tensor, inner: int) -> Tensor:
    """Random points (b, *in), the first `inner` of them anywhere, the others far out."""
    split = torch.arange(query.batch, device=keys.device) < inner
    parts = [
        points_of(query.select(m), keys[m], out=o) for m, o in ((split, False), (~split, True)) if m.any()
    ]
    return torch.cat(parts)


def replays(query: Query, points: Tensor) -> Tensor:
    """Whether points (b, *in) lie in their sets and break the property on passes of their own, (b,) CPU."""
    found = torch.zeros(query.batch, dtype=torch.bool)
    for b in range(query.batch):
        index = torch.tensor([b], device=points.device)
        one, point = query.select(index.to(query.inputs.device)), points[index]
        found[b] = bool((one.violated(point) & one.inputs.contains(point)).cpu())
    return found

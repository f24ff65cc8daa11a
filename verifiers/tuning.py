"""Tuning the free parameters of relaxations: every row's lower bound is raised by projected gradient steps.

The rows are independent of one another (each has its own parameters), so that one ascent over all of
them is the best ascent for each. Any parameters in [0, 1] give valid bounds: the best bound met on the
way is kept, and steps may be as bold as Adam's (Kingma and Ba 2015, arXiv 1412.6980). Rows that need no
better bound are left out as soon as enough of them have gathered.

Adam is written out here because the moments must follow the rows that stay, which torch's optimisers,
made for fixed parameters, do not allow.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .slopes import Slopes

__all__ = ["Pull", "RowBatch", "Tuning", "best_lower_bounds"]

_FIRST, _SECOND, _EPSILON = 0.9, 0.999, 1e-8  # Adam's usual constants
_GRADED = 0.7  # what the mean of gradients keeps where steps are graded: few steps are taken
_LOOK_EVERY = 3  # steps between two looks for rows that are done
_WORTH = 0.75  # rows are repacked when at most this share of them remains


@dataclass(frozen=True, slots=True)
class Tuning:
    """`steps` gradient steps, the first of `step_size` (parameters lie in [0, 1]), shrunk by `decay` each.

    graded: a parameter's step is `step_size` times the root of its gradient's share of the largest one of its
    row and node. Adam's steps are alike for all at first, which throws a row back that starts from good
    parameters, as a domain of branch and bound does.
    """

    steps: int = 20
    step_size: float = 0.5
    decay: float = 0.98
    graded: bool = False


Pull = Callable[[Slopes], Tensor]
"""Lower bounds (B, R) of a batch of rows under the given parameters."""


class RowBatch(Protocol):
    """Rows of B samples whose lower bounds are wanted, and which of them still matter."""

    def lower(self, slopes: Slopes) -> Tensor:
        """Lower bounds (B, R)."""
        ...

    def open(self, best: Tensor) -> Tensor:
        """Mask (B, K) of groups that a better bound would help; a group is R / K rows, K apart."""
        ...

    def take(self, samples: Tensor, groups: Tensor) -> RowBatch:
        """The batch of some samples (b,) and, of each, some groups (b, k)."""
        ...


@dataclass(slots=True)
class _Ascent:
    """Parameters and Adam's moments, in step with the rows that remain."""

    slopes: Slopes
    first: dict[object, Tensor]
    second: dict[object, Tensor]
    graded: bool
    count: int = 0

    def step(self, bounds: Tensor, size: float) -> None:
        nodes = list(self.slopes.values)
        values = [self.slopes.values[n] for n in nodes]
        gradients = torch.autograd.grad(bounds, values, torch.ones_like(bounds), allow_unused=True)
        self.count += 1
        with torch.no_grad():
            for node, value, gradient in zip(nodes, values, gradients, strict=True):
                if gradient is not None:
                    (self._graded if self.graded else self._move)(node, value, gradient, size)

    def _graded(self, node: object, value: Tensor, gradient: Tensor, size: float) -> None:
        if node not in self.first:
            self.first[node] = torch.zeros_like(value)
        mean = self.first[node].lerp_(gradient, 1 - _GRADED)
        every = mean.abs().flatten(2) if mean.dim() > 2 else mean.abs().unsqueeze(2)
        largest = every.amax(2).reshape(*mean.shape[:2], *(1 for _ in mean.shape[2:]))
        share = mean.abs().div_(largest.clamp(min=torch.finfo(mean.dtype).tiny)).sqrt_()
        value.addcmul_(mean.sign(), share, value=size).clamp_(0, 1)

    def _move(self, node: object, value: Tensor, gradient: Tensor, size: float) -> None:
        if node not in self.first:
            self.first[node], self.second[node] = torch.zeros_like(value), torch.zeros_like(value)
        first, second = self.first[node], self.second[node]
        first.lerp_(gradient, 1 - _FIRST)
        second.mul_(_SECOND).addcmul_(gradient, gradient, value=1 - _SECOND)
        correction = (1 - _SECOND**self.count) ** 0.5
        scale = size * correction / (1 - _FIRST**self.count)
        value.addcdiv_(first, second.sqrt().add_(_EPSILON * correction), value=scale).clamp_(0, 1)

    def take(self, samples: Tensor, rows: Tensor) -> None:
        with torch.no_grad():
            for table in (self.slopes.values, self.first, self.second):
                for node, tensor in list(table.items()):
                    part = _taken(tensor, samples, rows)
                    table[node] = part.requires_grad_(tensor.requires_grad)


def _taken(tensor: Tensor, samples: Tensor, rows: Tensor) -> Tensor:
    """tensor (B, R, ...) at samples (b,) and rows (b, r); shared rows (R = 1) stay shared."""
    if tensor.shape[0] == 1 and samples.shape[0] > 1:
        tensor = tensor.expand(int(samples.max()) + 1, *tensor.shape[1:])
    if tensor.shape[1] == 1:
        return tensor[samples]
    return tensor[samples.unsqueeze(1), rows]


def best_lower_bounds(
    batch: RowBatch,
    tuning: Tuning,
    *,
    slopes: Slopes | None = None,
    deadline: float = float("inf"),
    keep: bool = False,
) -> tuple[Tensor, Slopes, bool]:
    """The best lower bounds (B, R) met within `tuning.steps` steps from `slopes`; parameters; in time?

    The parameters are the last ones, of the rows that were still open at the end; with `keep`, those of each
    row's best bound, of all rows, none of which is left out. Out of time, the bounds are those of the steps
    done: at least those of the first parameters.
    """
    ascent = _Ascent(Slopes() if slopes is None else slopes, {}, {}, tuning.graded)
    with torch.enable_grad():
        bounds = batch.lower(ascent.slopes)
    best = bounds.detach().clone()
    kept = _Kept(ascent.slopes) if keep else None
    view = _View.whole(best)
    size, late = tuning.step_size, time.monotonic() > deadline
    if not keep and not late:
        batch, bounds = _narrowed(batch, ascent, view, best, bounds)
    for step in range(tuning.steps):
        late = late or time.monotonic() > deadline
        if late or view.samples.shape[0] == 0 or not bounds.requires_grad:  # nothing to tune
            break
        ascent.step(bounds, size)
        size *= tuning.decay
        if not keep and step % _LOOK_EVERY == _LOOK_EVERY - 1:
            batch, _ = _narrowed(batch, ascent, view, best, None)
            if view.samples.shape[0] == 0:
                break
        with torch.enable_grad():
            bounds = batch.lower(ascent.slopes)
        if kept is not None:
            kept.take(bounds.detach() > best)
        view.raise_to(best, bounds.detach())
    return best, ascent.slopes if kept is None else kept.best, not late


class _Kept:
    """The parameters with which each row had its best bound; those that rows share are the last ones."""

    def __init__(self, slopes: Slopes) -> None:
        self.now = slopes
        self.best = Slopes(slopes.per_row, {key: v.detach().clone() for key, v in slopes.values.items()})

    def take(self, better: Tensor) -> None:
        """Keeps the present parameters of the rows whose bounds are better now, (B, R)."""
        for key, value in self.now.values.items():
            if value.shape[1] == better.shape[1]:
                mask = better.reshape(*better.shape, *(1 for _ in value.shape[2:]))
                self.best.values[key] = torch.where(mask, value.detach(), self.best.values[key])
            else:
                self.best.values[key] = value.detach().clone()


@dataclass(slots=True)
class _View:
    """Where the rows that remain lie in the whole: samples (b,), rows (b, r)."""

    samples: Tensor
    rows: Tensor

    @staticmethod
    def whole(best: Tensor) -> _View:
        samples = torch.arange(best.shape[0], device=best.device)
        return _View(samples, torch.arange(best.shape[1], device=best.device).expand(*best.shape))

    def raise_to(self, best: Tensor, bounds: Tensor) -> None:
        """Writes the better bounds into `best`; NaN never replaces a number, nor is replaced."""
        here = (self.samples.unsqueeze(1), self.rows)
        old = best[here]
        best[here] = torch.where(bounds > old, bounds, old)


def _narrowed(
    batch: RowBatch, ascent: _Ascent, view: _View, best: Tensor, bounds: Tensor | None
) -> tuple[RowBatch, Tensor]:
    """The batch without the rows that are done, where that is worth it, and its bounds where asked for."""
    mask = batch.open(best[view.samples.unsqueeze(1), view.rows])
    counts = mask.sum(1)
    some = counts.nonzero().squeeze(1)
    width = int(counts.max())
    if some.shape[0] * width > _WORTH * mask.numel():
        return batch, torch.empty(0) if bounds is None else bounds
    # a stable sort of "done" brings each sample's open groups to the front; done ones fill the gaps
    groups = torch.argsort((~mask[some]).to(torch.uint8), dim=1, stable=True)[:, :width]
    count = mask.shape[1]
    chosen = torch.cat([groups + first for first in range(0, view.rows.shape[1], count)], 1)
    view.samples, view.rows = view.samples[some], view.rows[some.unsqueeze(1), chosen]
    ascent.take(some, chosen)
    batch = batch.take(some, groups)
    if bounds is None or some.shape[0] == 0:
        return batch, torch.empty(0)
    with torch.enable_grad():
        return batch, batch.lower(ascent.slopes)

"""How the adaptive walks of `apgd` choose their steps: one rule for l1 balls, one for all other sets.

The published schedules: F. Croce and M. Hein, ICML 2020, arXiv 2003.01690, section 3 (dense steps, halved at
checkpoints), and ICML 2021, arXiv 2103.01208, section 3 (sparse steps inside an l1 ball).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from robustbench_local.specs import Ball, InputSet, Intersection

__all__ = ["Dense", "Sparse", "StepRule", "Walk", "along_gradient", "step_rule"]

Noise = Callable[[], Tensor]
"""Makes random numbers in [0, 1) of the points' shape (b, *shape)."""

_FIRST_SUPPORT = 0.2  # of the coordinates are moved by an l1 ball's first steps


@dataclass(frozen=True, slots=True, eq=False)
class Walk:
    """Where b samples are on their walks; every field has one row for each."""

    x: Tensor  # (b, *shape) the next gradient is taken here
    before: Tensor  # (b, *shape) one step earlier
    gradient: Tensor  # (b, *shape) at x
    value: Tensor  # (b,) loss at the latest point
    best: Tensor  # (b, *shape) point of the largest loss
    best_gradient: Tensor  # (b, *shape) there
    best_value: Tensor  # (b,) there
    marked: Tensor  # (b,) best_value at the last checkpoint
    rises: Tensor  # (b,) int64, steps since then that raised the loss
    fresh: Tensor  # (b,) bool, the step size was changed at the last checkpoint
    size: Tensor  # (b,) step size as a fraction of the set's own size
    support: Tensor  # (b,) share of the coordinates that a sparse step moves
    began: Tensor  # (b,) bool, a first step has been taken
    stays: Tensor  # (b,) int64, how many steps in a row, up to the latest look, led nowhere

    @classmethod
    def begin(cls, x: Tensor, size: float) -> Walk:
        """Walks that start at x (b, *shape)."""
        low = torch.full((x.shape[0],), -torch.inf, dtype=x.dtype, device=x.device)
        no = torch.zeros(x.shape[0], dtype=torch.bool, device=x.device)
        zero, sizes = torch.zeros_like(x), torch.full_like(low, size)
        share = torch.full_like(low, _FIRST_SUPPORT)
        return cls(x, x, zero, low, x, zero, low, low, no.long(), ~no, sizes, share, no, no.long())

    def select(self, keep: Tensor) -> Walk:
        """The walks at a mask or at places."""
        keep = keep.nonzero().flatten() if keep.dtype == torch.bool else keep
        return Walk(**{part.name: getattr(self, part.name).index_select(0, keep) for part in fields(self)})

    def saw(self, gradient: Tensor, value: Tensor) -> Walk:
        """The walks after a look at x: gradient (b, *shape) and loss (b,) there."""
        value = value.to(self.value.dtype)
        better = value > self.best_value
        still = value == self.value
        rows = still.nonzero().flatten()
        if rows.numel():  # the loss may be the same elsewhere
            still[rows] = (self.x[rows] == self.before[rows]).flatten(1).all(1)
        return replace(
            self,
            stays=torch.where(still, self.stays + 1, 0),
            gradient=gradient,
            value=value,
            rises=self.rises + (self.began & (value > self.value)).long(),
            best=torch.where(_along(better, self.x), self.x, self.best),
            best_gradient=torch.where(_along(better, gradient), gradient, self.best_gradient),
            best_value=torch.maximum(value, self.best_value),
        )

    def back(self, where: Tensor) -> Walk:
        """The walks at a mask (b,) jump back to their best points."""
        return replace(
            self,
            x=torch.where(_along(where, self.x), self.best, self.x),
            gradient=torch.where(_along(where, self.x), self.best_gradient, self.gradient),
        )

    def to(self, x: Tensor) -> Walk:
        """The walks move on to x (b, *shape)."""
        return replace(self, x=x, before=self.x, began=torch.ones_like(self.began))


class StepRule(Protocol):
    """Directions, sizes and checkpoints of adaptive walks."""

    @property
    def first_size(self) -> float:
        """The step size at the beginning, as a fraction of the set's own size."""
        ...

    def windows(self, steps: int) -> dict[int, int]:
        """The checkpoints among the steps 0 ... steps - 1, and how many steps lie before each."""
        ...

    def adapt(self, walk: Walk, inputs: InputSet, window: int) -> Walk:
        """The walks with the sizes that they go on with after a checkpoint."""
        ...

    def displacement(self, walk: Walk, inputs: InputSet, noise: Noise) -> Tensor:
        """The step (b, *shape) that each walk would take from x.

        noise: makes numbers (b, *shape) in [0, 1), for walks that have lost their gradient.
        """
        ...

    def blend(self, walk: Walk, target: Tensor, inputs: InputSet) -> Tensor:
        """Where each walk goes (b, *shape), from where its step would lead (inside the set)."""
        ...

    def settled(self, walk: Walk) -> Tensor:
        """The walks (b,) that will never move again, whatever becomes of their step sizes."""
        ...


@dataclass(frozen=True, slots=True)
class Dense:
    """Steps along the set's steepest direction with momentum, halved where they no longer help.

    share: of the steps before a checkpoint that must have raised the loss. momentum: weight of the new step.
    """

    share: float = 0.75
    momentum: float = 0.75

    @property
    def first_size(self) -> float:
        """Two radii."""
        return 2.0

    def windows(self, steps: int) -> dict[int, int]:
        """Checkpoints at shares 0, .22, .41, ... of the steps: gaps .03 shorter each time, at least .06."""
        marks = [0, 22]  # hundredths
        while marks[-1] < 100:
            marks.append(marks[-1] + max(marks[-1] - marks[-2] - 3, 6))
        at = [-(-mark * steps // 100) for mark in marks]
        return {late: late - early for early, late in pairwise(at) if early < late < steps}

    def adapt(self, walk: Walk, inputs: InputSet, window: int) -> Walk:
        """Half the size, from the best point, where too few steps helped or nothing did since it was kept."""
        del inputs
        few = walk.rises <= self.share * window
        stuck = ~walk.fresh & (walk.best_value <= walk.marked)
        halve = few | stuck
        return replace(
            walk.back(halve),
            size=torch.where(halve, walk.size / 2, walk.size),
            fresh=halve,
            marked=walk.best_value,
            rises=torch.zeros_like(walk.rises),
        )

    def displacement(self, walk: Walk, inputs: InputSet, noise: Noise) -> Tensor:
        """size times the set's steepest direction, (b, *shape)."""
        direction = inputs.steepest(along_gradient(walk.gradient, noise))
        return _along(walk.size, direction) * direction

    def blend(self, walk: Walk, target: Tensor, inputs: InputSet) -> Tensor:
        """momentum of the new step and the rest of the last one; all of the new one at first."""
        if not bool(walk.began.all()):  # then none has
            return target
        ahead = walk.x + (walk.x - walk.before)  # the last step once more
        return inputs.project(torch.lerp(ahead, target, self.momentum))

    def settled(self, walk: Walk) -> Tensor:
        """Walks at their best point whose last two steps, the second without momentum, led nowhere.

        Nor would a shorter step, and longer ones never come. Where the gradient is zero steps are random.
        """
        ends = (walk.stays >= 2) & (walk.value == walk.best_value)
        rows = ends.nonzero().flatten()
        if rows.numel():
            at_best = (walk.x[rows] == walk.best[rows]).flatten(1).all(1)
            ends[rows] = at_best & walk.gradient[rows].flatten(1).any(1)
        return ends


@dataclass(frozen=True, slots=True)
class Sparse:
    """Steps inside an l1 ball that move the coordinates of the largest gradients, all by the same amount.

    The share of coordinates follows the best point's own sparsity; sizes shrink while that stays as it is.
    """

    @property
    def first_size(self) -> float:
        """One radius."""
        return 1.0

    def windows(self, steps: int) -> dict[int, int]:
        """A checkpoint every 4 % of the steps."""
        every = max(1, int(0.04 * steps))
        return dict.fromkeys(range(every, steps, every), every)

    def adapt(self, walk: Walk, inputs: InputSet, window: int) -> Walk:
        """Full size from the best point where that became 5 % sparser, else 1/1.5 of it, at least 0.1."""
        del window
        moved = (walk.best - inputs.centre().to(walk.best.dtype)).flatten(1)
        share = (moved != 0).sum(1) / (1.5 * moved.shape[1])
        sparser = share < 0.95 * walk.support
        return replace(
            walk.back(sparser),
            support=share.to(walk.support.dtype),
            size=torch.where(sparser, torch.ones_like(walk.size), (walk.size / 1.5).clamp(min=0.1)),
        )

    def displacement(self, walk: Walk, inputs: InputSet, noise: Noise) -> Tensor:
        """size times the radius, spread over the coordinates of the largest gradients, (b, *shape)."""
        gradient = along_gradient(walk.gradient, noise)
        flat = gradient.flatten(1)
        count = (walk.support * flat.shape[1]).round().clamp(1, flat.shape[1])
        order = flat.abs().argsort(dim=1, descending=True, stable=True)
        rank = order.argsort(dim=1, stable=True)
        step = torch.where(rank < count.unsqueeze(1), flat.sign(), 0.0) / count.unsqueeze(1)
        ball = _l1_ball(inputs)
        assert ball is not None  # `step_rule` chose this rule for it
        return ((walk.size * ball.radius.to(step.dtype)).unsqueeze(1) * step).reshape(gradient.shape)

    def blend(self, walk: Walk, target: Tensor, inputs: InputSet) -> Tensor:
        """The new step alone."""
        del walk, inputs
        return target

    def settled(self, walk: Walk) -> Tensor:
        """None: sizes grow again when points become sparser."""
        return torch.zeros_like(walk.fresh)


def step_rule(inputs: InputSet, dense: Dense) -> StepRule:
    """The rule for a set: sparse steps for l1 balls, also cut by a box, and `dense` for all others."""
    return Sparse() if _l1_ball(inputs) is not None else dense


def _l1_ball(inputs: InputSet) -> Ball | None:
    ball = inputs.ball if isinstance(inputs, Intersection) else inputs
    return ball if isinstance(ball, Ball) and ball.p == 1 else None


def along_gradient(gradient: Tensor, noise: Noise) -> Tensor:
    """The gradient (b, *shape) over its largest entry per sample; a random direction where it is zero."""
    flat = gradient.flatten(1)
    largest = flat.abs().amax(1, keepdim=True)
    lost = largest == 0
    if bool(lost.any()):
        flat = torch.where(lost, 2 * noise().flatten(1) - 1, flat)
        largest = flat.abs().amax(1, keepdim=True)
    return (flat / largest).reshape(gradient.shape)


def _along(row: Tensor, like: Tensor) -> Tensor:
    """One value per sample (b,) with the axes that `like` (b, *shape) has more."""
    return row.reshape(-1, *(1,) * (like.ndim - 1))

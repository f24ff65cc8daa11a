"""Projected gradient ascent (PGD), with momentum, restarts and step schedules, and its one-step form (FGSM).

PGD: A. Madry, A. Makelov, L. Schmidt, D. Tsipras, A. Vladu, "Towards deep learning models resistant to
adversarial attacks", ICLR 2018, arXiv 1706.06083. Momentum: Y. Dong et al., "Boosting adversarial attacks
with momentum", CVPR 2018, arXiv 1710.06081. FGSM: I. Goodfellow, J. Shlens, C. Szegedy, "Explaining and
harnessing adversarial examples", ICLR 2015, arXiv 1412.6572. The norm lives in the input set, which knows
its steepest direction and its nearest point, so one loop serves all sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .attack import AttackResult, attack
from .cycles import Visited
from .losses import Loss, violation_loss
from .prospects import Way, checked_patience, hopeless
from .random_numbers import Ids
from .search import Search

__all__ = ["Ascent", "Schedule", "decaying", "falling", "fgsm", "pgd"]

_LOOKS = 4  # steps between looks at whether there is hope

Schedule = Callable[[int, int], float]
"""schedule(step, steps) -> step size of step 0 ... steps - 1, as a fraction of the set's own size."""


def decaying(first: float, last: float) -> Schedule:
    """Step sizes that fall from `first` to `last` by a constant factor per step."""

    def schedule(step: int, steps: int) -> float:
        return float(first * (last / first) ** (step / max(1, steps - 1)))

    return schedule


def falling(first: float) -> Schedule:
    """Step sizes that fall from `first` towards zero in equal steps."""

    def schedule(step: int, steps: int) -> float:
        return first * (1 - step / max(1, steps))

    return schedule


@attack("pgd")
def pgd(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 40,
    step_size: float | Schedule = 0.1,
    restarts: int = 1,
    momentum: float = 0.0,
    random_start: bool = True,
    patience: float = math.inf,
    early_stop: bool = True,
    loss: Loss = violation_loss,
    last_loss: Loss | None = None,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """The best of all points met on `restarts` walks of `steps` steepest-ascent steps, `start` included.

    step_size: fraction of the set's own size (radius of a ball, half widths of a box), or a `Schedule`.
    restarts: number of walks. With `random_start` each begins at a random point of the set; without,
        the first begins at `start` and the others at random points.
    momentum: >= 0; weight of the former steps' gradients, each taken at l1 norm 1.
    patience: > 0; a walk ends if it would stay without success even if the rest of the way raised the loss by
        this many times as much as the tangent plane says. It costs hardly a success at 3, but leaves the
        violation of samples that are not broken lower than it might be. inf: never.
    early_stop: a sample is left alone once it is broken; False drives its violation up to the end.
    loss: the objective; whatever it is, the best point is the one of largest violation.
    last_loss: the objective of the second half of a walk; None: `loss`.
    start, seed, ids, deadline: as for `Attack`.
    A sample's result does not depend on the other samples of the batch. It is equal to the last bit only
    where the network's kernels give a row the same result in every batch.
    Raises `GraphError` for a network without a gradient, `RobustBenchError` for settings out of range.
    """
    settings = Ascent(
        steps=steps,
        step_size=step_size,
        restarts=restarts,
        momentum=momentum,
        random_start=random_start,
        losses=(loss, last_loss or loss),
        patience=checked_patience(patience, early_stop),
    )
    return settings.run(
        Search(query, name="pgd", start=start, seed=seed, ids=ids, deadline=deadline, early_stop=early_stop)
    )


@attack("fgsm")
def fgsm(
    query: Query,
    *,
    start: Tensor | None = None,
    loss: Loss = violation_loss,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """The better of `start` and the point one full steepest-ascent step away from it: PGD with a single step.

    Arguments as for `pgd`. The step is two radii long and then projected, so that in a box it ends in
    the corner that the gradient points to from every start.
    """
    settings = Ascent(steps=1, step_size=2.0, random_start=False, losses=(loss, loss))
    return settings.run(Search(query, name="fgsm", start=start, seed=seed, ids=ids, deadline=deadline))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ascent:
    """Settings of the one loop that all of this file's attacks share; `losses`: of the halves of a walk."""

    steps: int
    step_size: float | Schedule
    losses: tuple[Loss, Loss]
    restarts: int = 1
    momentum: float = 0.0
    random_start: bool = True
    patience: float = math.inf

    def __post_init__(self) -> None:
        _require(self.steps >= 0, "steps", self.steps, "0 or more")
        _require(self.restarts >= 1, "restarts", self.restarts, "1 or more")
        _require(0 <= self.momentum < math.inf, "momentum", self.momentum, "finite and at least 0")
        if not callable(self.step_size):
            _require(0 < self.step_size < math.inf, "step_size", self.step_size, "finite and above 0")

    def run(self, search: Search) -> AttackResult:
        """All walks."""
        if self.random_start and not search.expired():
            search.evaluate(search.start)
            search.drop_broken()
        for restart in range(self.restarts):
            search.resume()
            if search.done or search.expired():
                break
            begin_at_start = restart == 0 and not self.random_start
            self.climb(search, search.start if begin_at_start else search.random_points(restart), restart)
        return search.result()

    def climb(self, search: Search, x: Tensor, restart: int) -> None:
        """One walk from x (b, *shape): `steps` gradient steps, and a look at where the last one led.

        With a constant step and no momentum a walk ends where it is back at a point, with the same loss.
        """
        velocity: Tensor | None = None
        visited: Visited | None = None
        for step in range(self.steps):
            if search.expired():
                return
            gradient, value, violation = search.slope(x, self.losses[2 * step >= self.steps])
            direction = _direction(gradient, search, restart, step)
            ends = None
            if self._steady:
                ends = None if visited is None else visited.again(x, value)
                visited = visited or Visited(x, value)
            if step and step % _LOOKS == 0 and self.patience < math.inf:
                way = Way(x, gradient, direction, torch.maximum(value, violation))
                without = hopeless(search.query.inputs, way, self.patience)
                ends = without if ends is None else ends | without
            keep = search.drop_broken(rest=_led(ends, gradient))
            if search.done:
                return
            if keep is not None:
                x, direction = x.index_select(0, keep), direction.index_select(0, keep)
                velocity = None if velocity is None else velocity.index_select(0, keep)
                visited = None if visited is None else visited.select(keep)
            if self.momentum:
                share = _share(direction)
                direction = velocity = share if velocity is None else self.momentum * velocity + share
            x = self._move(search, x, direction, step)
        search.evaluate(x)
        search.drop_broken()

    @property
    def _steady(self) -> bool:
        return not self.momentum and not callable(self.step_size)

    def _move(self, search: Search, x: Tensor, direction: Tensor, step: int) -> Tensor:
        size = self.step_size(step, self.steps) if callable(self.step_size) else self.step_size
        inputs = search.query.inputs
        return inputs.project(x.add(inputs.steepest(direction), alpha=size))


def _led(ends: Tensor | None, gradient: Tensor) -> Tensor | None:
    """The walks (b,) among `ends` whose gradient (b, *shape) is not zero: where it is, steps are random."""
    if ends is None or not bool(ends.any()):
        return None
    return ends & gradient.flatten(1).any(1)


def _direction(gradient: Tensor, search: Search, restart: int, step: int) -> Tensor:
    """The gradient (b, *shape) over its largest entry per sample; a random direction where it is zero."""
    flat = gradient.flatten(1)
    largest = flat.abs().amax(1, keepdim=True)
    lost = largest == 0
    if bool(lost.any()):
        noise = 2 * search.uniform(restart=restart, step=step).flatten(1) - 1
        flat = torch.where(lost, noise, flat)
        largest = flat.abs().amax(1, keepdim=True)
    return (flat / largest).reshape(gradient.shape)


def _share(direction: Tensor) -> Tensor:
    """The direction (b, *shape), whose largest entry is 1, at l1 norm 1."""
    flat = direction.flatten(1)
    return (flat / flat.abs().sum(1, keepdim=True)).reshape(direction.shape)


def _require(condition: bool, name: str, value: float, allowed: str) -> None:
    if not condition:
        raise RobustBenchError(f"{name} is {value}", where=name, cure=f"give a number that is {allowed}")

"""Auto-PGD: gradient ascent whose step sizes adapt to each sample by themselves.

F. Croce and M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks", ICML 2020, arXiv 2003.01690 (algorithm 1); for l1 balls F. Croce and M. Hein, "Mind
the box: l1-APGD for sparse adversarial attacks on image classifiers", ICML 2021, arXiv 2103.01208.
Differences from the published code: samples that are broken leave the batch, and so do walks that stand still
or are without prospects; the best point is kept by the violation of the property whatever the loss is.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .attack import AttackResult, attack
from .losses import Loss, logit_ratio_loss, smooth_violation_loss
from .prospects import PATIENCE, Prospects, Way, checked_patience, hopeless
from .random_numbers import Ids
from .search import Search
from .step_rules import Dense, StepRule, Walk, along_gradient, step_rule

__all__ = ["apgd", "apgd_dlr", "ascend"]

_LOOKS = 5  # steps between looks at whether there is hope


@attack("apgd")
def apgd(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 100,
    restarts: int = 1,
    share: float = 0.75,
    momentum: float = 0.75,
    patience: float = PATIENCE,
    early_stop: bool = True,
    loss: Loss = smooth_violation_loss,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """The best of all points met on `restarts` adaptive walks of `steps` steps from random points.

    share: in (0, 1]; a step size is halved at a checkpoint if fewer than this share of the steps since the
        last one raised the loss. momentum: in (0, 1]; the weight of the new step, the rest repeats the last.
    patience: a walk ends if its loss would stay negative even if the rest of the way raised it by this many
        times as much as the tangent plane says, or each window between checkpoints to come by this many times
        as much as the last one; inf: never. Not where `early_stop` is False.
    loss: `smooth_violation_loss` has the direction of the cross-entropy ("APGD-CE") and never saturates.
    start: evaluated first. Other arguments as for `pgd`.
    Raises `GraphError` for a network without a gradient, `RobustBenchError` for settings out of range.
    """
    _require(steps >= 1, "steps", steps, "1 or more")
    _require(restarts >= 1, "restarts", restarts, "1 or more")
    _require(0 < share <= 1, "share", share, "above 0 and at most 1")
    _require(0 < momentum <= 1, "momentum", momentum, "above 0 and at most 1")
    hope = checked_patience(patience, early_stop)
    search = Search(
        query, name="apgd", start=start, seed=seed, ids=ids, deadline=deadline, early_stop=early_stop
    )
    rule = step_rule(query.inputs, Dense(share, momentum))
    if not search.expired():
        search.evaluate(search.start)
        search.drop_broken()
    for restart in range(restarts):
        search.resume()
        if search.done or search.expired():
            break
        ascend(search, restart, loss, rule, steps, patience=hope)
    return search.result()


@attack("apgd-dlr")
def apgd_dlr(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 100,
    restarts: int = 1,
    patience: float = PATIENCE,
    early_stop: bool = True,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """`apgd` on the difference-of-logits ratio (`logit_ratio_loss`); arguments as there."""
    return apgd(
        query,
        start=start,
        steps=steps,
        restarts=restarts,
        patience=patience,
        early_stop=early_stop,
        loss=logit_ratio_loss,
        seed=seed,
        ids=ids,
        deadline=deadline,
    )


def ascend(
    search: Search,
    restart: int,
    loss: Loss,
    rule: StepRule,
    steps: int,
    *,
    patience: float = math.inf,
    begin: Tensor | None = None,
) -> None:
    """One adaptive walk of `steps` steps of all samples of `search`, from the random points of a restart.

    patience: walks end that are `hopeless` with it, or at checkpoints `Prospects.hopeless`.
    begin: (b, *shape) points of the sets to begin from instead.
    """
    walk = Walk.begin(search.random_points(restart) if begin is None else begin, rule.first_size)
    prospects, windows = Prospects.begin(walk.x), rule.windows(steps)
    for step in range(steps):
        if search.expired():
            return
        gradient, value, violation = search.slope(walk.x, loss)
        prospects = prospects.saw(violation)
        keep = search.drop_broken()
        if search.done:
            return
        if keep is not None:
            walk, gradient, value = walk.select(keep), gradient.index_select(0, keep), value[keep]
            prospects = prospects.select(keep)
        walk = walk.saw(gradient, value)
        inputs = search.query.inputs
        noise = partial(search.uniform, restart=restart, step=step)
        ends = torch.zeros_like(walk.began)
        if step and step % _LOOKS == 0:
            direction = along_gradient(gradient, noise)
            value = torch.maximum(value, violation if keep is None else violation[keep])
            ends = hopeless(inputs, Way(walk.x, gradient, direction, value), patience)
            ends = ends & gradient.flatten(1).any(1)
        if step in windows:
            ends = ends | prospects.hopeless(sum(mark >= step for mark in windows), patience)
            walk, prospects = rule.adapt(walk, inputs, windows[step]), prospects.checkpoint()
        target = inputs.project(walk.x + rule.displacement(walk, inputs, noise))
        walk = walk.to(rule.blend(walk, target, inputs))
        stay = search.park(ends | rule.settled(walk))
        if search.done:
            return
        if stay is not None:
            walk, prospects = walk.select(stay), prospects.select(stay)
    search.evaluate(walk.x)
    search.drop_broken()


def _require(condition: bool, name: str, value: float, allowed: str) -> None:
    if not condition:
        raise RobustBenchError(f"{name} is {value}", where=name, cure=f"give a number that is {allowed}")

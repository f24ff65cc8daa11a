"""The ensembles of parameter-free attacks that are run as one: AutoAttack's versions, on any property.

F. Croce and M. Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks", ICML 2020, arXiv 2003.01690; for l1 balls F. Croce, M. Hein, "Mind the box: l1-APGD
for sparse adversarial attacks on image classifiers", ICML 2021, arXiv 2103.01208. Members run in turn on the
samples that the ones before left unbroken, under one deadline. Unlike the published code any number of
classes works, and so does a property without classes, whose clauses are then the targets; and targeted APGD
runs twice more from where walks in sets of twice the size led, on what it left (docs/attacks.md).
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Ball, Intersection, Query

from .apgd import apgd, apgd_dlr
from .attack import Attack, AttackResult, attack
from .ensemble import worst_of
from .eot import expected
from .fab import fab, fab_targeted
from .random_numbers import Ids
from .square import square
from .targeted import apgd_targeted

__all__ = ["autoattack", "autoattack_l1", "autoattack_plus", "autoattack_rand", "autoattack_standard"]

_FURTHER: dict[str, Any] = {"reach": 2.0, "restarts": 2}


def autoattack_standard(*, steps: int = 100, targets: int = 9, queries: int = 5000) -> Attack:
    """APGD on the cross-entropy's direction, targeted APGD, also from further out, targeted FAB, Square."""
    return worst_of(
        partial(apgd, steps=steps),
        partial(apgd_targeted, steps=steps, targets=targets),
        partial(apgd_targeted, steps=steps, targets=targets, **_FURTHER),
        partial(fab_targeted, steps=steps, targets=targets),
        partial(square, steps=queries),
    )


def autoattack_l1(*, steps: int = 100, targets: int = 9, queries: int = 5000) -> Attack:
    """The version for l1 balls: five restarts of APGD, targeted APGD towards at most five targets."""
    return worst_of(
        partial(apgd, steps=steps, restarts=5),
        partial(apgd_targeted, steps=steps, targets=min(5, targets)),
        partial(fab_targeted, steps=steps, targets=targets),
        partial(square, steps=queries),
    )


def autoattack_plus(*, steps: int = 100, targets: int = 9, queries: int = 5000) -> Attack:
    """The slow version: restarts of both APGDs and of FAB, Square, and both targeted attacks."""
    return worst_of(
        partial(apgd, steps=steps, restarts=5),
        partial(apgd_dlr, steps=steps, restarts=5),
        partial(fab, steps=steps, targets=targets, restarts=5),
        partial(square, steps=queries),
        partial(apgd_targeted, steps=steps, targets=targets),
        partial(apgd_targeted, steps=steps, targets=targets, **_FURTHER),
        partial(fab_targeted, steps=steps, targets=targets),
    )


def autoattack_rand(*, steps: int = 100, draws: int = 20) -> Attack:
    """The version for networks that draw random numbers: both APGDs on means of outputs (see `expected`)."""
    return worst_of(
        expected(partial(apgd, steps=steps), draws=draws),
        expected(partial(apgd_dlr, steps=steps), draws=draws),
    )


@attack("autoattack")
def autoattack(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 100,
    targets: int = 9,
    queries: int = 5000,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """The worst case of the `standard` ensemble, or of the one for l1 balls where the sets are such.

    steps: of each gradient walk. targets: most clauses that targeted members walk towards. queries: of the
    random search. Other arguments as for `Attack`; members raise as they do alone.
    """
    for name, value in (("steps", steps), ("targets", targets), ("queries", queries)):
        if value < 1:
            raise RobustBenchError(f"{name} is {value}", where=name, cure="give a number that is 1 or more")
    ball = query.inputs.ball if isinstance(query.inputs, Intersection) else query.inputs
    version = autoattack_l1 if isinstance(ball, Ball) and ball.p == 1 else autoattack_standard
    members = version(steps=steps, targets=targets, queries=queries)
    return members(query, start=start, seed=seed, ids=ids, deadline=deadline)


@attack("autoattack-plus")
def _plus(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 100,
    queries: int = 5000,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """The worst case of `autoattack_plus`; arguments as for `autoattack`."""
    members = autoattack_plus(steps=steps, queries=queries)
    return members(query, start=start, seed=seed, ids=ids, deadline=deadline)


@attack("autoattack-rand")
def _rand(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 100,
    draws: int = 20,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """The worst case of `autoattack_rand`; arguments as for `eot`."""
    members = autoattack_rand(steps=steps, draws=draws)
    return members(query, start=start, seed=seed, ids=ids, deadline=deadline)

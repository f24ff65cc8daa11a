"""Attacks that are settings of PGD under their own names.

BIM: A. Kurakin, I. Goodfellow, S. Bengio, "Adversarial examples in the physical world", 2016, arXiv
1607.02533. MI-FGSM: Y. Dong et al., "Boosting adversarial attacks with momentum", CVPR 2018, arXiv
1710.06081.
"""

from __future__ import annotations

from torch import Tensor

from robustbench_local.specs import Query

from .attack import AttackResult, attack
from .losses import Loss, smooth_violation_loss, violation_loss
from .pgd import falling, pgd
from .prospects import PATIENCE
from .random_numbers import Ids

__all__ = ["bim", "mi_fgsm", "pgd_falling"]


@attack("bim")
def bim(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 10,
    early_stop: bool = True,
    loss: Loss = smooth_violation_loss,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """Iterated FGSM: `steps` steps of a `steps`-th of the set's size each, from `start`; as for `pgd`."""
    return pgd(
        query,
        start=start,
        steps=steps,
        step_size=1 / max(1, steps),
        random_start=False,
        early_stop=early_stop,
        loss=loss,
        seed=seed,
        ids=ids,
        deadline=deadline,
    )


@attack("mi-fgsm")
def mi_fgsm(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 10,
    momentum: float = 1.0,
    early_stop: bool = True,
    loss: Loss = smooth_violation_loss,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """BIM with momentum: each gradient at l1 norm 1 is added to `momentum` times the sum of those before."""
    return pgd(
        query,
        start=start,
        steps=steps,
        step_size=1 / max(1, steps),
        momentum=momentum,
        random_start=False,
        early_stop=early_stop,
        loss=loss,
        seed=seed,
        ids=ids,
        deadline=deadline,
    )


@attack("pgd-falling")
def pgd_falling(
    query: Query,
    *,
    start: Tensor | None = None,
    steps: int = 40,
    restarts: int = 1,
    patience: float = PATIENCE,
    early_stop: bool = True,
    seed: int = 0,
    ids: Ids | None = None,
    deadline: float | None = None,
) -> AttackResult:
    """PGD by steps that fall from the set's size to nothing, with an end to its patience; as for `pgd`.

    The first half of a walk climbs the smooth violation, the second half the violation itself.
    """
    return pgd(
        query,
        start=start,
        steps=steps,
        step_size=falling(1.0),
        restarts=restarts,
        patience=patience,
        early_stop=early_stop,
        loss=smooth_violation_loss,
        last_loss=violation_loss,
        seed=seed,
        ids=ids,
        deadline=deadline,
    )

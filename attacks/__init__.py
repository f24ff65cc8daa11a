"""Attacks: searches for the worst point of an input set, a lower bound on the worst violation.

    result = pgd(query, steps=40, restarts=3)
    result = ATTACKS["fgsm"](query)

Every module of this folder is imported here, so a file that is dropped in registers its attacks itself.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from .apgd import apgd, apgd_dlr
from .attack import ATTACKS, Attack, AttackRegistry, AttackResult, attack
from .clause_pgd import clause_pgd
from .ensemble import worst_of
from .losses import (
    Loss,
    cross_entropy_loss,
    logit_ratio_loss,
    margin_loss,
    smooth_violation_loss,
    violation_loss,
)
from .pgd import Schedule, decaying, fgsm, pgd
from .random_numbers import Ids, derive_seed, sample_ids, sample_keys, uniform
from .search import Search
from .square import square
from .targeted import apgd_targeted

__all__ = [
    "ATTACKS",
    "Attack",
    "AttackRegistry",
    "AttackResult",
    "Ids",
    "Loss",
    "Schedule",
    "Search",
    "apgd",
    "apgd_dlr",
    "apgd_targeted",
    "attack",
    "clause_pgd",
    "cross_entropy_loss",
    "decaying",
    "derive_seed",
    "fgsm",
    "logit_ratio_loss",
    "margin_loss",
    "pgd",
    "sample_ids",
    "sample_keys",
    "smooth_violation_loss",
    "square",
    "uniform",
    "violation_loss",
    "worst_of",
]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

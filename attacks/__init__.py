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
from .autoattack import autoattack, autoattack_l1, autoattack_plus, autoattack_rand, autoattack_standard
from .beam import beam, greedy
from .bpda import SurrogateGradient, bpda, with_surrogate_gradient
from .clause_pgd import clause_pgd
from .decisions import HopSkipJump, hopskipjump
from .deepfool import DeepFool, deepfool
from .distances import Distance
from .ensemble import worst_of
from .eot import eot, expected
from .fab import FAB, fab, fab_targeted
from .frozen_noise import MeanNetwork
from .gauge import Gauge, scaled
from .gradient_free import nes, random_search, spsa
from .grid import grid
from .iterative import bim, mi_fgsm, pgd_falling
from .losses import (
    Loss,
    cross_entropy_loss,
    logit_ratio_loss,
    margin_loss,
    smooth_violation_loss,
    violation_loss,
)
from .multi_targeted import multi_targeted
from .nearest import Chase, Nearest, Walk, approach, smallest_scale
from .norm_walks import DDN, FMN, ddn, fmn
from .part_by_part import part_by_part
from .penalties import CW, EAD, carlini_wagner, ead
from .pgd import Schedule, decaying, falling, fgsm, pgd
from .random_numbers import Ids, derive_seed, sample_ids, sample_keys, uniform
from .search import Search
from .sparse_descent import SigmaZero, sigma_zero
from .square import square
from .targeted import apgd_targeted
from .transfer import transfer

__all__ = [
    "ATTACKS",
    "CW",
    "DDN",
    "EAD",
    "FAB",
    "FMN",
    "Attack",
    "AttackRegistry",
    "AttackResult",
    "Chase",
    "DeepFool",
    "Distance",
    "Gauge",
    "HopSkipJump",
    "Ids",
    "Loss",
    "MeanNetwork",
    "Nearest",
    "Schedule",
    "Search",
    "SigmaZero",
    "SurrogateGradient",
    "Walk",
    "apgd",
    "apgd_dlr",
    "apgd_targeted",
    "approach",
    "attack",
    "autoattack",
    "autoattack_l1",
    "autoattack_plus",
    "autoattack_rand",
    "autoattack_standard",
    "beam",
    "bim",
    "bpda",
    "carlini_wagner",
    "clause_pgd",
    "cross_entropy_loss",
    "ddn",
    "decaying",
    "deepfool",
    "derive_seed",
    "ead",
    "eot",
    "expected",
    "fab",
    "fab_targeted",
    "falling",
    "fgsm",
    "fmn",
    "greedy",
    "grid",
    "hopskipjump",
    "logit_ratio_loss",
    "margin_loss",
    "mi_fgsm",
    "multi_targeted",
    "nes",
    "part_by_part",
    "pgd",
    "pgd_falling",
    "random_search",
    "sample_ids",
    "sample_keys",
    "scaled",
    "sigma_zero",
    "smallest_scale",
    "smooth_violation_loss",
    "spsa",
    "square",
    "transfer",
    "uniform",
    "violation_loss",
    "with_surrogate_gradient",
    "worst_of",
]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

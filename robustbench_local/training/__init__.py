"""Training: recipes as data, one loop for all of them; losses, optimisers, initialisers by registry."""

from __future__ import annotations

from .initialisers import INITIALISERS, Initialiser, initialiser
from .losses import LOSSES, Loss, Minibatch, Objective, Term, loss
from .metrics import accuracy, measure
from .optimizers import OPTIMIZERS, OptimizerSettings, optimizer
from .progress import EpochRecord, Progress, Silent
from .recipe import Recipe, load_recipe, recipe_from, recipe_names
from .schedule import Schedule
from .trainer import TrainingResult, derived_seed, train

__all__ = [
    "INITIALISERS",
    "LOSSES",
    "OPTIMIZERS",
    "EpochRecord",
    "Initialiser",
    "Loss",
    "Minibatch",
    "Objective",
    "OptimizerSettings",
    "Progress",
    "Recipe",
    "Schedule",
    "Silent",
    "Term",
    "TrainingResult",
    "accuracy",
    "derived_seed",
    "initialiser",
    "load_recipe",
    "loss",
    "measure",
    "optimizer",
    "recipe_from",
    "recipe_names",
    "train",
]

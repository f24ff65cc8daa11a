"""Starts of walks that were looked for in a larger set: where one may go further, the way is easier.

Walks through balls whose radius shrinks: F. Croce, M. Hein, "Mind the box: l1-APGD for sparse adversarial
attacks on image classifiers", ICML 2021, arXiv 2103.01208, section 3.3.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from robustbench_local.errors import SpecError
from robustbench_local.specs import InputSet, Query

from .gauge import scaled
from .search import Search
from .step_rules import along_gradient

__all__ = ["from_further"]

_SIZE = 0.25  # of the steps, in sizes of the larger set


def from_further(search: Search, restart: int, reach: float, steps: int) -> Tensor | None:
    """Points (b, *shape) of the sets: the nearest to where `steps` steps in sets `reach` times as large led.

    The steps climb the violation, from random points. None where `reach` is 1 or sets cannot be scaled.
    """
    larger = _larger(search.query.inputs, reach)
    if larger is None:
        return None
    centre = search.query.inputs.centre().to(search.start.dtype)
    x = larger.project(centre + reach * (search.random_points(restart) - centre))
    for step in range(steps):
        if search.expired():
            break
        gradient = search.explore(x, _violation).gradients.squeeze(1)
        noise = partial(search.uniform, restart=restart, step=-2 - step)
        x = larger.project(x.add(larger.steepest(along_gradient(gradient, noise)), alpha=_SIZE))
    return search.query.inputs.project(x)


def _larger(inputs: InputSet, reach: float) -> InputSet | None:
    """The sets scaled about their centres; None where that is not possible, or changes nothing."""
    if reach == 1:
        return None
    try:
        return scaled(inputs, torch.full((inputs.batch,), reach, dtype=torch.float64))
    except SpecError:
        return None


def _violation(query: Query, atoms: Tensor) -> Tensor:
    return query.combine(atoms).unsqueeze(1)

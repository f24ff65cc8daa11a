"""Latents of generators: few coordinates, many peaks. Walks that are many find what random points find."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import nn

from robustbench_local.attacks import ATTACKS, apgd, clause_pgd, pgd_falling
from robustbench_local.specs import Any, Atom, Ball, Box, InputSet, Query

SAMPLES, LOW = 4, -1e3  # far from being violated, so that no search ends early


def peaks(latents: int, activation: type[nn.Module], inputs: InputSet) -> Query:
    """The property that a random generator's score stays below -LOW; its weights are twice the usual ones."""
    source = torch.Generator().manual_seed(latents)
    sizes, layers = (latents, 64, 64, 1), []
    for wide, narrow in pairwise(sizes):
        layer = nn.Linear(wide, narrow)
        layer.weight.data = 1.2 * torch.randn(narrow, wide, generator=source) / wide**0.5
        layer.bias.data = torch.randn(narrow, generator=source) / wide**0.5
        layers += [layer, activation()]
    one = torch.ones(SAMPLES, 1, 1, dtype=torch.float64)
    offset = torch.full((SAMPLES, 1), LOW, dtype=torch.float64)
    return Query(nn.Sequential(*layers[:-1]).eval(), inputs, one, offset, Any((Atom(0, True),)))


@pytest.mark.parametrize("latents", [2, 4, 8])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
@pytest.mark.parametrize("round_set", [False, True])
def test_many_walks_find_what_random_points_find(
    latents: int, activation: type[nn.Module], round_set: bool
) -> None:
    centre = torch.zeros(SAMPLES, latents)
    inputs = Ball(centre, torch.full((SAMPLES,), 3.0), 2) if round_set else Box(centre - 3, centre + 3)
    query = peaks(latents, activation, inputs)
    random = ATTACKS["random"](query).violation - LOW
    span = (random - (query.violation(centre).double() - LOW)).abs()
    for attack in (clause_pgd, partial(pgd_falling, restarts=10), partial(apgd, restarts=10)):
        found = attack(query, early_stop=False).violation - LOW
        assert (found >= random - 0.02 * span).all(), attack

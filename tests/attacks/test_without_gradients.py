"""Attacks that see outputs or decisions only, and named settings of PGD, on problems with known answers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from robustbench_local.attacks import (
    ATTACKS,
    HopSkipJump,
    bim,
    hopskipjump,
    mi_fgsm,
    multi_targeted,
    nes,
    pgd,
    random_search,
    smallest_scale,
    spsa,
)
from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Ball

from .toys import Affine, raise_output, unit_interval

WITHOUT = ("random", "nes", "spsa", "hopskipjump", "square")


@pytest.mark.parametrize("name", WITHOUT)
def test_no_gradient_is_asked_for(name: str) -> None:
    """Nor needed: the network is a step."""
    query = raise_output(lambda x: torch.where(x > 0.9, 1.0, -1.0), unit_interval(2))
    result = ATTACKS[name](query)
    assert (result.backwards == 0).all()
    assert (result.forwards <= (1100 if name != "square" else 5001)).all()


def test_random_points_meet_what_is_not_rare() -> None:
    query = raise_output(lambda x: torch.where((x > 0.5) & (x < 0.6), 1.0, -1.0), unit_interval(5))
    assert random_search(query, queries=200).violated.all()
    assert random_search(query, queries=1).forwards.tolist() == [2] * 5


@pytest.mark.parametrize("attack", [nes, spsa])
def test_estimated_gradients_lead_to_the_corner_of_a_linear_network(attack) -> None:  # type: ignore[no-untyped-def]
    """The worst case of <w, x> in a linf ball of radius r around 0 is r |w|_1; 95 % of it is asked for."""
    weight = torch.tensor([[1.0, -2.0, 3.0, -0.5, 1.5]])
    inputs = Ball(torch.zeros(3, 5).double(), 0.5)
    query = raise_output(Affine(weight, torch.tensor([-0.95 * 0.5 * 8.0])), inputs)
    result = attack(query, queries=600)
    assert result.violated.all()
    assert (result.forwards <= 602).all()


def test_answers_alone_lead_along_the_boundary() -> None:
    """The network says only on which side of <w, x> = 1 a point lies: from 0 the distance is 1 / |w|_2."""
    weight = torch.tensor([2.0, 1.0, -1.0, 0.5]).double()

    def side(x: Tensor) -> Tensor:
        return torch.where((x * weight).sum(1, keepdim=True) > 1, 1.0, -1.0)

    query = raise_output(side, Ball(torch.zeros(2, 4).double(), 1.0, 2))
    found = smallest_scale(query, HopSkipJump(queries=2000, probes=40))
    exact = 1 / float(weight.norm())
    assert (found.scale >= exact * (1 - 1e-9)).all()
    assert (found.scale <= exact * 1.1).all()
    assert (found.result.forwards <= 2100).all()


def test_answers_that_never_change_cost_little() -> None:
    query = raise_output(lambda x: x * 0 - 1, unit_interval(2))
    result = hopskipjump(query)
    assert not result.violated.any()
    assert (result.forwards < 50).all()


@pytest.mark.parametrize("attack", [bim, mi_fgsm])
def test_ten_steps_of_a_tenth_cross_half_the_set(attack) -> None:  # type: ignore[no-untyped-def]
    """From the middle of [0, 1] the walk just reaches 1; it does not begin anywhere else."""
    query = raise_output(lambda x: x - 0.99, unit_interval(2))
    result = attack(query)
    assert result.violated.all()
    assert (result.forwards > 8).all()
    stopped = attack(query, steps=1)
    assert stopped.points.flatten().tolist() == [1.0, 1.0]


def test_a_clause_that_looks_far_is_aimed_at() -> None:
    """Below 0.6 the violation grows towards 0, where the first clause is negative; the second is met at 1."""
    query = raise_output(lambda x: torch.cat([-0.1 - x, 2 * x - 1.9], 1), unit_interval(20), atoms=2)
    assert not pgd(query, steps=40).violated.all()
    assert multi_targeted(query, steps=40).violated.all()


@pytest.mark.parametrize(
    ("attack", "setting"),
    [
        (random_search, "queries"),
        (nes, "pairs"),
        (spsa, "queries"),
        (hopskipjump, "queries"),
        (multi_targeted, "targets"),
    ],
)
def test_settings_out_of_range_raise(attack, setting: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RobustBenchError, match=f"{setting} is 0"):
        attack(raise_output(lambda x: x - 2, unit_interval(1)), **{setting: 0})

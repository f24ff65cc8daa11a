"""Adaptive walks, targets and squares: schedules by hand, and strength where the answer is known."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from robustbench_local.attacks.step_rules import Dense, Sparse, step_rule
from torch import Tensor

from robustbench_local.attacks import (
    apgd,
    apgd_dlr,
    apgd_targeted,
    logit_ratio_loss,
    square,
    worst_of,
)
from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Any, Atom, Ball, Box

from .toys import Affine, RowWise, classification, images, raise_output, unit_interval, walk_through


def test_checkpoints_are_the_published_ones() -> None:
    assert list(Dense().windows(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert sum(Dense().windows(100).values()) == 99
    assert list(Sparse().windows(100)) == list(range(4, 100, 4))
    for steps in range(1, 40):
        assert all(0 < window and 0 < step < steps for step, window in Dense().windows(steps).items())


def test_l1_balls_get_sparse_steps_and_all_other_sets_dense_ones() -> None:
    centre, box = torch.full((2, 5), 0.5), Box(torch.zeros(2, 5), torch.ones(2, 5))
    dense = Dense()
    assert isinstance(step_rule(Ball(centre, 0.3, 1), dense), Sparse)
    assert isinstance(step_rule(Ball(centre, 0.3, 1) & box, dense), Sparse)
    for other in (Ball(centre, 0.3, 2), Ball(centre, 0.3, 2) & box, box):
        assert step_rule(other, dense) is dense


@pytest.mark.parametrize(
    "attack", [apgd, apgd_dlr, apgd_targeted, square], ids=lambda attack: attack.__name__
)
def test_the_worst_point_of_a_linear_network_is_found(attack: object) -> None:
    """max over |x - x0| <= eps of W x is W x0 + eps |W|_1, reached in a corner."""
    weight = torch.tensor([[1.0, -2.0, 0.5, 0.25]])
    inputs = Ball(torch.zeros(3, 4, dtype=torch.float64), 0.25)
    query = raise_output(Affine(weight, torch.tensor([-5.0])), inputs)
    found = attack(query, steps=100)  # type: ignore[operator]
    torch.testing.assert_close(found.violation, torch.full((3,), -5 + 0.25 * 3.75).double())


def test_the_worst_point_of_a_linear_network_in_an_l1_ball_is_a_vertex() -> None:
    weight = torch.tensor([[1.0, -2.0, 0.5, 0.25]])
    query = raise_output(
        Affine(weight, torch.tensor([-5.0])), Ball(torch.zeros(2, 4, dtype=torch.float64), 0.5, 1)
    )
    torch.testing.assert_close(apgd(query).violation, torch.full((2,), -5 + 0.5 * 2).double())


def test_targets_reach_a_clause_that_the_likeliest_one_hides() -> None:
    """Output 0 leads all the way and its gradient points away from the only violation, of output 1."""

    def network(x: Tensor) -> Tensor:
        return torch.cat([-0.05 - 0.1 * x, 10 * x - 9.0], 1)

    inputs = Ball(torch.full((1, 1), 0.5, dtype=torch.float64), 0.5)
    query = raise_output(network, inputs, atoms=2, tree=Any((Atom(0, True), Atom(1, True))))
    assert apgd_targeted(query).violated.all()
    assert not apgd_targeted(query, targets=1).violated.any()


def test_a_region_that_walks_pass_through_counts() -> None:
    query = raise_output(walk_through, unit_interval(20))
    assert apgd(query, restarts=5).violated.any()
    assert square(query).violated.sum() <= 20


def test_the_ratio_does_not_change_when_the_network_is_scaled() -> None:
    network, x = RowWise(6, 8, 4, torch.float64), images(10, (6,), torch.float64)
    query = classification(network, x, eps=0.1)
    atoms = query.atoms(network(x))
    torch.testing.assert_close(logit_ratio_loss(query, atoms), logit_ratio_loss(query, 1000 * atoms))


def test_an_ensemble_is_no_weaker_than_its_members() -> None:
    network = RowWise(12, 8, 4)
    query = classification(network, images(60, (12,)), eps=0.06)
    members = apgd, apgd_targeted, partial(square, steps=200)
    both = worst_of(*members)(query).violated
    for member in members:
        assert not (member(query).violated & ~both).any()


@pytest.mark.parametrize(
    ("attack", "wrong"),
    [
        (apgd, {"steps": 0}),
        (apgd, {"restarts": 0}),
        (apgd, {"share": 0}),
        (apgd, {"momentum": 1.5}),
        (apgd_targeted, {"targets": 0}),
        (square, {"steps": 0}),
        (square, {"share": 2}),
    ],
)
def test_settings_out_of_range_raise(attack: object, wrong: dict[str, float]) -> None:
    name = next(iter(wrong))
    with pytest.raises(RobustBenchError, match=name):
        attack(raise_output(walk_through, unit_interval(2)), **wrong)  # type: ignore[operator]

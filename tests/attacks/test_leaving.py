"""Walks that end early (cycles, standing still, no prospects): no success is lost, passes are saved."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from robustbench_local.attacks.cycles import Visited
from robustbench_local.attacks.prospects import Prospects, Way, hopeless
from torch import Tensor

from robustbench_local.attacks import (
    ATTACKS,
    apgd,
    apgd_targeted,
    autoattack,
    fab_targeted,
    pgd,
    smooth_violation_loss,
    square,
)
from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Ball, Box

from .toys import Affine, RowWise, classification, images, raise_output, unit_interval


def test_a_walk_in_a_corner_ends_where_it_began_to_repeat_itself() -> None:
    """y = x - 2 on [0, 1]: from anywhere the walk is at 1 after ten steps of 0.1, and stays there."""
    query = raise_output(lambda x: x - 2, unit_interval(3))
    result = pgd(query, steps=1000, step_size=0.25)
    assert result.points.flatten().tolist() == [1.0, 1.0, 1.0]
    assert (result.forwards < 30).all()
    assert result.complete.all()


def test_ending_at_cycles_changes_no_result() -> None:
    """A schedule of equal sizes is the same walk without an end at its cycle."""
    query = classification(RowWise(12, 8, 3), images(60, (12,)), eps=0.06)
    walk = partial(pgd, steps=60, restarts=2, loss=smooth_violation_loss, seed=3)
    ended, whole = walk(query, step_size=0.3), walk(query, step_size=lambda step, steps: 0.3)
    assert torch.equal(ended.points, whole.points)
    assert torch.equal(ended.violated, whole.violated)
    assert not ended.violated.all()
    assert ended.backwards.sum() < whole.backwards.sum()


def test_a_random_network_is_never_in_a_cycle() -> None:
    """Its loss at one point differs from look to look, so all steps are taken."""
    looks = iter(range(10**6))
    query = raise_output(lambda x: x - 2 + 1e-4 * next(looks), unit_interval(1))
    assert (pgd(query, steps=50, step_size=1.0, patience=math.inf).backwards == 50).all()


def test_steps_without_gradient_are_random_and_no_cycle() -> None:
    query = raise_output(lambda x: 0 * x - 1, unit_interval(2))
    assert (pgd(query, steps=30, step_size=1.0).backwards == 30).all()


def test_points_are_told_apart() -> None:
    x, loss = torch.tensor([[0.1, 0.2], [0.3, 0.4]]), torch.tensor([1.0, 2.0])
    visited = Visited(x, loss)
    assert visited.again(x.flip(1), loss).tolist() == [False, False]
    assert visited.again(x, torch.tensor([1.0, 2.5])).tolist() == [True, False]
    assert visited.select(torch.tensor([1])).again(x[1:], loss[1:]).tolist() == [True]


@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_cycles_are_seen_wherever_they_begin(length: int) -> None:
    """Walks that wander for a while and then go round."""
    for wander in range(12):
        path = [*range(100, 100 + wander), *list(range(length)) * 12]
        points = [torch.full((1, 2), float(place)) for place in path]
        visited = Visited(points[0], points[0][:, 0])
        found = [bool(visited.again(x, x[:, 0])) for x in points[1:]]
        first = found.index(True) + 1
        assert wander + length <= first <= wander + length + 8 + wander // 2
        assert not any(found[: wander + length - 1])


def test_an_adaptive_walk_that_stands_still_ends() -> None:
    query = raise_output(lambda x: x - 2, unit_interval(3))
    result = apgd(query, steps=1000, patience=math.inf)
    assert result.points.flatten().tolist() == [1.0, 1.0, 1.0]
    assert (result.forwards < 20).all()


@pytest.mark.parametrize("attack", [pgd, apgd, apgd_targeted, square, fab_targeted])
def test_patience_saves_passes_and_no_success(attack) -> None:  # type: ignore[no-untyped-def]
    query = classification(RowWise(12, 16, 4), images(80, (12,)), eps=0.05)
    patient, normal = attack(query, patience=math.inf), attack(query, patience=3.0)
    assert torch.equal(patient.violated, normal.violated)
    assert not normal.violated.all()
    assert normal.forwards.sum() < patient.forwards.sum()
    with pytest.raises(RobustBenchError, match="patience"):
        attack(query, patience=0.0)


def test_the_tangent_plane_promises_what_a_linear_loss_has_left() -> None:
    """y = sum(x) on [0, 1]^2: from x there is 2 - sum(x) to gain, in the l2 ball at most its radius."""
    x = torch.tensor([[0.5, 0.25], [1.0, 1.0]])
    box = Box(torch.zeros(2, 2), torch.ones(2, 2))
    slope = torch.ones(2, 2)
    cases = [
        (-1.2, 1.0, [False, True]),
        (-1.3, 1.0, [True, True]),
        (-1.3, 2.0, [False, True]),
        (0.1, 1.0, [False, False]),
        (math.nan, 1.0, [False, False]),
        (-9.0, math.inf, [False, False]),
    ]
    for value, patience, ends in cases:
        way = Way(x, slope, slope, torch.full((2,), value))
        assert hopeless(box, way, patience).tolist() == ends
    ball = Ball(torch.zeros(1, 2), 1.0, 2)
    way = Way(torch.zeros(1, 2), slope[:1], slope[:1], torch.tensor([-1.0]))
    assert hopeless(ball, way, 0.7).tolist() == [True]
    assert hopeless(ball, way, 0.72).tolist() == [False]  # the radius times the slope's length is 1.41


def test_walks_end_at_once_where_a_linear_loss_cannot_be_broken() -> None:
    query = raise_output(lambda x: x - 2.5, unit_interval(3))
    for attack in (pgd, apgd):
        assert (attack(query, patience=1.0).forwards < 10).all()
        assert not attack(query, patience=1.0).violated.any()


def test_blind_walks_are_not_without_hope() -> None:
    query = raise_output(lambda x: 0 * x - 1, unit_interval(2))
    assert (pgd(query, steps=30, step_size=1.0, patience=3.0).backwards == 30).all()


def test_hope_is_what_the_last_window_gained() -> None:
    def after(first: float, second: float) -> Prospects:
        low = Prospects.begin(torch.zeros(1, 1)).saw(torch.tensor([first], dtype=torch.float64))
        return low.checkpoint().saw(torch.tensor([second], dtype=torch.float64))

    assert after(-2.0, -1.0).hopeless(2, 0.4).tolist() == [True]
    assert after(-2.0, -1.0).hopeless(2, 0.6).tolist() == [False]
    assert after(-1.0, -1.0).hopeless(5, 100.0).tolist() == [True]
    assert after(-1.0, -1.0).hopeless(5, math.inf).tolist() == [False]
    assert after(-1.0, 0.5).hopeless(0, 3.0).tolist() == [False]
    assert after(-math.inf, -math.inf).hopeless(5, 3.0).tolist() == [False]  # nothing is known yet


def test_samples_rest_during_one_walk_only() -> None:
    """Two maxima on [0, 1]; restarts of a walk that had ended at the lower one find the higher."""

    def network(x: Tensor) -> Tensor:
        return torch.where(x < 0.5, -(x - 0.2).abs(), 0.25 - (x - 0.8).abs()) - 0.1

    query = raise_output(network, unit_interval(20))
    assert not pgd(query, steps=40, step_size=0.25).violated.all()
    assert pgd(query, steps=40, step_size=0.25, restarts=20).violated.all()


def test_the_ensemble_is_at_least_as_strong_as_its_members() -> None:
    query = classification(RowWise(12, 16, 4), images(60, (12,)), eps=0.06)
    together = autoattack(query, steps=20, queries=100)
    for name, settings in (("apgd", {}), ("apgd-t", {}), ("fab-t", {}), ("square", {"steps": 100})):
        alone = ATTACKS[name](query, **{"steps": 20, **settings})  # type: ignore[arg-type]
        if name == "apgd":
            assert (together.violated | ~alone.violated).all()
        assert together.violated.sum() >= alone.violated.sum() - 1  # other random numbers than alone


def test_the_ensemble_knows_l1_balls() -> None:
    query = raise_output(
        Affine(torch.ones(1, 4), torch.tensor([-0.99])), Ball(torch.zeros(2, 4).double(), 1.0, 1)
    )
    assert autoattack(query, steps=20, queries=20).violated.all()
    for setting in ("steps", "targets", "queries"):
        with pytest.raises(RobustBenchError, match=f"{setting} is 0"):
            autoattack(query, **{setting: 0})

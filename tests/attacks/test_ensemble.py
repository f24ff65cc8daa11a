"""`worst_of`: the per-sample worst case of several attacks, each on the survivors of those before."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from robustbench_local.attacks import AttackResult, Ids, fgsm, pgd, worst_of
from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .toys import Counting, RowWise, classification, images, raise_output, unit_interval


def test_the_worst_of_several_is_the_best_point_of_each_sample() -> None:
    query = classification(RowWise(12, 8, 3), images(60, (12,)), eps=0.06)
    both, one = worst_of(fgsm, pgd)(query), fgsm(query)
    assert one.violated.any()
    assert both.violated.sum() >= one.violated.sum()
    assert (both.violation >= one.violation).all()
    assert query.inputs.contains(both.points).all()
    assert torch.equal(query.violated(both.points), both.violated)
    assert torch.equal(both.points[one.violated], one.points[one.violated])


def test_members_see_survivors_only_and_costs_add_up() -> None:
    seen: list[int] = []

    def watch(query: Query, *, start: Tensor | None = None, seed: int = 0, ids: Ids | None = None,
              deadline: float | None = None) -> AttackResult:  # fmt: skip
        seen.append(query.batch)
        return pgd(query, start=start, seed=seed, ids=ids, deadline=deadline)

    network = Counting(RowWise(12, 8, 3))
    query = classification(network, images(60, (12,)), eps=0.06)
    network.forwards = network.backwards = 0
    result = worst_of(fgsm, watch, watch)(query)
    assert seen[0] == 60 - int(fgsm(query.with_network(network.network)).violated.sum())
    assert seen[1] <= seen[0]
    assert int(result.forwards.sum()) == network.forwards
    assert int(result.backwards.sum()) == network.backwards


def test_equal_members_try_different_random_numbers() -> None:
    query = classification(RowWise(12, 8, 4), images(20, (12,)), eps=0.1)
    short = partial(pgd, steps=2, early_stop=False)
    twice, once = worst_of(short, short)(query), short(query)
    assert (twice.violation > once.violation).any()


def test_a_sample_does_not_depend_on_the_batch() -> None:
    query = classification(RowWise(12, 8, 3), images(20, (12,)), eps=0.06)
    attack = worst_of(fgsm, pgd)
    whole = attack(query)
    rows = torch.tensor([7, 3, 12])
    part = attack(query.select(rows), ids=rows)
    assert torch.equal(part.points, whole.points[rows])


def test_start_and_deadline_reach_all_members() -> None:
    query = raise_output(lambda x: torch.where(x == 0.125, 1.0, -1.0) + 0 * x, unit_interval(2))
    assert worst_of(fgsm, pgd)(query, start=torch.tensor([[0.5], [0.125]])).violated.tolist() == [False, True]
    assert not worst_of(fgsm, pgd)(query, deadline=0.0).complete.any()


def test_everything_broken_at_once_ends_it() -> None:
    result = worst_of(fgsm, pgd)(raise_output(lambda x: x + 1, unit_interval(2)))
    assert result.violated.all()
    assert (result.backwards == 0).all()


def test_no_attacks_raise() -> None:
    with pytest.raises(RobustBenchError, match="at least one"):
        worst_of()

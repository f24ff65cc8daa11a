"""Walks that begin where one in a larger set led: nothing outside counts, and nothing else changes."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from robustbench_local.attacks import apgd_targeted
from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Box, Union

from .toys import NORMS, Counting, RowWise, classification, images, raise_output

RADIUS = {1: 0.9, 2: 0.4, math.inf: 0.08}
further = partial(apgd_targeted, steps=20, reach=2.0, restarts=2)


@pytest.mark.parametrize("p", NORMS, ids=lambda p: f"l{p}")
@pytest.mark.parametrize("bounds", [(0.0, 1.0), None], ids=["boxed", "free"])
def test_points_lie_in_the_sets_though_walks_leave_them(p: float, bounds: tuple[float, float] | None) -> None:
    network, seen = RowWise(12, 8, 4), []

    def watched(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        return network(x)

    query = classification(network, images(9, (12,)), eps=RADIUS[p], p=p, bounds=bounds)
    result = further(query.with_network(watched), early_stop=False)
    assert query.inputs.contains(result.points).all()
    whole = [point for point in seen if len(point) == 9]
    assert any(not query.inputs.contains(point).all() for point in whole)
    if bounds is not None and p != math.inf:  # a linf ball cut by bounds is a box, and knows of no others
        assert all(bool(((point >= 0) & (point <= 1)).all()) for point in seen)


def test_points_outside_neither_count_nor_harm() -> None:
    """Outside [0, 1] the property is broken, or the network not finite; inside neither is true."""
    for value in (1.0, torch.nan):

        def network(x: Tensor, value: float = value) -> Tensor:
            outside = ((x < 0) | (x > 1)).any(1, keepdim=True)
            return torch.where(outside, value, -1.0) + 0.1 * x

        result = further(raise_output(network, Box(torch.zeros(5, 2), torch.ones(5, 2))))
        assert not result.violated.any()
        assert result.finite.all()
        assert (result.violation < 0).all()


def test_a_sample_does_not_depend_on_the_batch_and_passes_are_counted() -> None:
    network = Counting(RowWise(12, 8, 3))
    query = classification(network, images(60, (12,)), eps=0.06)
    network.forwards = network.backwards = 0
    whole = further(query)
    assert whole.violated.any() and not whole.violated.all()
    assert int(whole.forwards.sum()) == network.forwards
    assert int(whole.backwards.sum()) == network.backwards
    rows = torch.tensor([7, 3, 12, 59])
    part = further(query.select(rows), ids=rows)
    assert torch.equal(part.points, whole.points[rows])
    assert torch.equal(part.forwards, whole.forwards[rows])


def test_sets_that_cannot_be_scaled_are_searched_as_usual() -> None:
    network = RowWise(6, 8, 3)
    query = classification(network, images(10, (6,)), eps=0.05)
    odd = replace(query, inputs=Union([query.inputs, query.inputs]))
    plain = partial(apgd_targeted, steps=20, restarts=2)
    assert torch.equal(further(odd).points, plain(odd).points)
    assert not torch.equal(further(query).points, plain(query).points)


def test_wrong_settings_raise() -> None:
    query = classification(RowWise(6, 8, 3), images(2, (6,)), eps=0.05)
    for setting, value in (("reach", 0.5), ("reach", math.inf), ("reach", math.nan), ("restarts", 0)):
        with pytest.raises(RobustBenchError, match=setting):
            apgd_targeted(query, **{setting: value})

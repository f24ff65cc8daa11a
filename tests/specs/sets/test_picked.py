"""Rows of pairs that are made when they are first looked at: the same rows, by any way there."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from robustbench_local.specs.sets.picked import Picked, pair_shape
from torch import Tensor

from robustbench_local.specs import Ball, Box

ROWS = st.lists(st.integers(0, 5), min_size=1, max_size=8)


def pair() -> tuple[Tensor, Tensor]:
    numbers = torch.rand(2, 6, 3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return numbers[0], 1 + numbers[1]


@given(first=ROWS, second=ROWS, look=st.booleans())
def test_rows_of_rows_are_the_rows(first: list[int], second: list[int], look: bool) -> None:
    outer, inner = torch.tensor(first), torch.tensor([row % len(first) for row in second])
    once = Picked(pair(), outer)
    if look:
        assert torch.equal(once[0], pair()[0][outer])
    twice = Picked(once, inner)
    assert pair_shape(twice) == (len(second), 3, 2)
    for found, whole in zip(twice, pair(), strict=True):
        assert torch.equal(found, whole[outer][inner])
    assert pair_shape(twice) == (len(second), 3, 2)


def test_boxes_picked_again_and_again_are_those_boxes() -> None:
    lower, upper = pair()
    box = Box(lower, upper)
    mask = torch.tensor([True, False, True, True, False, True])
    part = box.select(mask).select(torch.tensor([2, 0]))
    rows = torch.tensor([3, 0])
    assert (part.batch, part.shape, part.device) == (2, (3, 2), lower.device)
    assert torch.equal(part.lower, lower[rows])
    assert torch.equal(part.upper, upper[rows])
    for mine, theirs in zip(
        part.inner(torch.float32), Box(lower[rows], upper[rows]).inner(torch.float32), strict=True
    ):
        assert torch.equal(mine, theirs)
    assert part.contains(lower[rows]).all()
    ball = Ball(lower, 0.5).select(mask).select(torch.tensor([1]))
    assert torch.equal(ball.box().lower, Ball(lower[2:3], 0.5).box().lower)


def test_rows_that_do_not_exist_raise() -> None:
    box = Box(*pair())
    for index in (torch.tensor([6]), torch.ones(5, dtype=torch.bool)):
        with pytest.raises(IndexError):
            box.select(index)


def test_what_is_made_in_inference_mode_can_take_part_in_autograd() -> None:
    part = Box(*pair()).select(torch.tensor([1, 4]))
    with torch.inference_mode():
        assert part.lower.shape == (2, 3, 2)
    assert not part.lower.is_inference()

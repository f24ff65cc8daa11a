"""Schedules: hand-computed values, and what every piecewise linear curve must satisfy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robustbench_local.errors import DataError
from robustbench_local.training import Schedule

numbers = st.floats(-100, 100)
curves = st.lists(st.tuples(st.floats(0, 50), numbers), min_size=1, max_size=6).map(
    lambda points: Schedule(tuple(sorted(points, key=lambda point: point[0])))
)


@pytest.mark.parametrize(
    ("epoch", "value"), [(0, 0.0), (2, 0.0), (3, 0.0), (5, 0.05), (7, 0.1), (7.5, 0.1), (1000, 0.1)]
)
def test_a_ramp_by_hand(epoch: float, value: float) -> None:
    ramp = Schedule.through([[3, 0.0], [7, 0.1]])
    assert ramp(epoch) == pytest.approx(value)


def test_a_jump_counts_from_its_epoch_on() -> None:
    drop = Schedule.through([[0, 1.0], [4, 1.0], [4, 0.1]])
    assert (drop(3.999), drop(4), drop(9)) == (1.0, 0.1, 0.1)


@given(curves, st.floats(0, 60))
def test_values_stay_between_the_extremes(curve: Schedule, epoch: float) -> None:
    slack = 1e-9 * (1 + abs(curve.largest) + abs(curve.smallest))
    assert curve.smallest - slack <= curve(epoch) <= curve.largest + slack


@given(numbers, st.floats(0, 60))
def test_constants(value: float, epoch: float) -> None:
    assert Schedule.constant(value)(epoch) == value


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "without points"),
        ([[0, math.nan]], "not finite"),
        ([[0, math.inf]], "not finite"),
        ([[2, 0.0], [1, 0.0]], "epochs fall"),
        ([[1, 2, 3]], "no pair"),
    ],
)
def test_bad_schedules(points: list[list[float]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        Schedule.through(points)

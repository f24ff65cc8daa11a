"""Directed rounding and exact comparisons, checked against rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from robustbench_local.specs.sets.rounding import distance_at_most, enclose_sum, round_down, round_up

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=64)
MODERATE = st.floats(-1e3, 1e3) | st.sampled_from([0.0, -0.0, 0.1, 1 / 3, 5e-324, 1e-300, 2.0**-60])


@given(st.lists(NUMBERS, min_size=1), st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_casts_never_move_inward_and_move_by_less_than_one_step(
    numbers: list[float], dtype: torch.dtype
) -> None:
    x = torch.tensor(numbers, dtype=torch.float64)
    low, high = round_down(x, dtype), round_up(x, dtype)
    assert low.dtype == high.dtype == dtype
    assert (low.double() <= x).all() and (high.double() >= x).all()
    between = torch.nextafter(low, torch.tensor(math.inf, dtype=dtype))
    assert ((high == low) | (high == between)).all()


def test_casts_of_numbers_that_nearest_rounding_moves_the_wrong_way() -> None:
    x = torch.tensor([0.1, 8 / 255, 1e300, -1e300, 0.5], dtype=torch.float64)
    low, high = round_down(x, torch.float32), round_up(x, torch.float32)
    assert low.tolist() == [0.09999999403953552, 0.03137254714965820, 3.4028234663852886e38, -math.inf, 0.5]
    assert high.tolist() == [0.10000000149011612, 0.03137255087494850, math.inf, -3.4028234663852886e38, 0.5]


@given(MODERATE, MODERATE)
def test_directed_sums_enclose_the_real_sum_tightly(a: float, b: float) -> None:
    x, y = torch.tensor([a], dtype=torch.float64), torch.tensor([b], dtype=torch.float64)
    real = Fraction(a) + Fraction(b)
    low, high = (float(end) for end in enclose_sum(x, y))
    assert Fraction(low) <= real <= Fraction(high)
    assert high in (low, math.nextafter(low, math.inf))
    assert low == high or Fraction(low) < real < Fraction(high)


@given(st.lists(st.tuples(MODERATE, MODERATE), min_size=1, max_size=5), MODERATE, st.sampled_from([1, 2]))
def test_exact_distances_agree_with_fractions(
    pairs: list[tuple[float, float]], radius: float, power: int
) -> None:
    radius = abs(radius)
    x, center = [p for p, _ in pairs], [c for _, c in pairs]
    real = sum(abs(Fraction(p) - Fraction(c)) ** power for p, c in pairs)
    assert distance_at_most(x, center, radius, power) == (real <= Fraction(radius) ** power)


@pytest.mark.parametrize("power", [1, 2])
def test_exact_distances_at_equality_and_one_step_beside_it(power: int) -> None:
    x, center = [3.0, 4.0] if power == 2 else [3.0, 2.0], [0.0, 0.0]
    assert distance_at_most(x, center, 5.0, power)
    assert not distance_at_most(x, center, math.nextafter(5.0, 0.0), power)
    assert not distance_at_most([x[0], math.nextafter(x[1], 9.0)], center, 5.0, power)

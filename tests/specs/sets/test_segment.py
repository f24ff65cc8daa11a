"""Segments: exact membership in rational arithmetic, what projection and sampling promise, the parameter."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from robustbench_local.specs.sets import meet
from robustbench_local.specs.sets.rounding import on_segment

from robustbench_local.errors import EmptySetError
from robustbench_local.specs import Box, Segment

from .random_sets import DTYPES, samples, uniform

NUMBERS = st.floats(-1e3, 1e3) | st.sampled_from([0.0, 0.1, 1 / 3, 5e-324, 2.0**-60])


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=4), st.integers(-1, 5))
def test_points_of_the_line_agree_with_fractions(ends: list[tuple[float, float]], quarters: int) -> None:
    first, second = [p for p, _ in ends], [q for _, q in ends]
    t = Fraction(quarters, 4)
    real = [(1 - t) * Fraction(p) + t * Fraction(q) for p, q in ends]
    x = [float(v) for v in real]
    exact = all(Fraction(v) == r for v, r in zip(x, real, strict=True))
    if exact and first != second:
        assert on_segment(x, first, second) == (0 <= t <= 1)
    elif first != second:  # rounded off: on the line only if another t gives all coordinates
        lead = next(i for i, (p, q) in enumerate(ends) if p != q)
        s = (Fraction(x[lead]) - Fraction(first[lead])) / (Fraction(second[lead]) - Fraction(first[lead]))
        hit = all(
            Fraction(v) == (1 - s) * Fraction(p) + s * Fraction(q) for v, (p, q) in zip(x, ends, strict=True)
        )
        assert on_segment(x, first, second) == (hit and 0 <= s <= 1)
    assert on_segment(first, first, second) and on_segment(second, first, second)


def test_a_rounded_point_is_no_member() -> None:
    line = Segment(torch.tensor([[0.1, 0.3]]), torch.tensor([[0.7, 0.2]]))
    third = line.at(torch.tensor([[1 / 3]]))
    assert not line.contains(third)
    assert line.contains(torch.tensor([[0.1, 0.3]])) and line.contains(torch.tensor([[0.7, 0.2]]))
    assert line.contains(line.project(third)) and line.contains(line.centre())
    diagonal = Segment(torch.zeros(1, 2), torch.ones(1, 2))  # holds all floats of its line
    x = torch.tensor([[0.3, 0.3]])
    assert diagonal.contains(x) and torch.equal(diagonal.project(x), x)
    assert not diagonal.contains(torch.tensor([[1.1, 1.1]])) and not diagonal.contains(
        torch.tensor([[0.3, 0.4]])
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_projections_use_the_floats_that_there_are(dtype: torch.dtype) -> None:
    first, second = (
        torch.zeros(3, 2, dtype=dtype),
        torch.tensor([[1.0, 2.0], [4.0, 4.0], [1.0, 0.0]], dtype=dtype),
    )
    line = Segment(first, second)
    x = torch.tensor([[0.3, 0.5], [1.0, 2.0], [0.7, 5.0]], dtype=dtype)
    y = line.project(x)
    assert line.contains(y).all() and torch.equal(line.project(y), y)
    # the feet of the perpendiculars: t = 0.26, 0.375, 0.7
    assert torch.allclose(y, torch.tensor([[0.26, 0.52], [1.5, 1.5], [0.7, 0.0]], dtype=dtype), atol=1e-6)
    coarse = Segment(torch.tensor([[0.0, 16777216.0]]), torch.tensor([[1.0, 16777218.0]]))
    assert coarse.project(torch.tensor([[0.4, 16777216.0]])).tolist() == [
        [0.0, 16777216.0]
    ]  # 2 apart up there
    assert coarse.project(torch.tensor([[0.6, 16777218.0]])).tolist() == [[1.0, 16777218.0]]


def test_ends_between_the_floats() -> None:
    third = torch.tensor([[1 / 3, 0.5]], dtype=torch.float64)
    line = Segment(third, torch.tensor([[2.0, 0.5]], dtype=torch.float64))
    y = line.project(torch.tensor([[0.25, 0.5]]))
    assert line.contains(y) and 0.33 < float(y[0, 0]) <= 2
    lost = Segment(third, third)
    with pytest.raises(EmptySetError, match="no point of the choice"):
        lost.project(torch.tensor([[0.25, 0.5]]))
    assert torch.equal(lost.project(third + 1), third)


def test_the_parameter_gives_the_line() -> None:
    first, second = uniform(0, (3, 2, 4)), uniform(1, (3, 2, 4))
    line = Segment(first, second)
    box = line.parameter()
    assert isinstance(box, Box) and box.shape == (1,) and box.upper.tolist() == [[1.0]] * 3
    assert torch.equal(line.at(torch.zeros(3, 1, dtype=torch.float64)), first)
    t = torch.full((3, 1), 0.25, dtype=torch.float64, requires_grad=True)
    point = line.at(t)
    assert torch.allclose(point, 0.75 * first + 0.25 * second)
    (slope,) = torch.autograd.grad(point.sum(), t)
    assert torch.allclose(slope[:, 0], (second - first).flatten(1).sum(1))
    a = uniform(2, (3, 5, 2, 4))
    for k in range(5):
        x = line.at(uniform(3 + k, (3, 1), 0, 1))
        assert ((a * x.unsqueeze(1)).flatten(2).sum(2) <= line.support(a) + 1e-12).all()
    ends = torch.stack([(a * e.unsqueeze(1)).flatten(2).sum(2) for e in (first, second)]).amax(0)
    assert torch.allclose(line.support(a), ends)


def test_samples_are_spread_where_floats_are() -> None:
    line = Segment(torch.zeros(200, 2), torch.tensor([[2.0, 1.0]]).expand(200, 2))
    x = samples(line, 0, torch.float32)
    assert line.contains(x).all() and len(x[:, 1].unique()) > 150
    assert float(x[:, 1].mean()) == pytest.approx(0.5, abs=0.07)


def test_a_cut_segment_is_a_meet() -> None:
    line, box = Segment(torch.zeros(1, 2), torch.ones(1, 2)), Box(torch.zeros(1, 2), torch.full((1, 2), 0.5))
    both = meet(line, box)
    x = torch.tensor([[0.25, 0.25]])
    assert both.contains(x) and not both.contains(2.5 * x) and not both.contains(torch.tensor([[0.25, 0.3]]))
    assert float(both.support(torch.ones(1, 1, 2))) == pytest.approx(1.0)

"""Two variables with a bounded difference: corners by brute force, numbers by hand, exact differences."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from torch import Tensor

from robustbench_local.errors import EmptySetError, NonFiniteError, ShapeError
from robustbench_local.specs import Ball, Box, Coupled, Product

from .random_sets import Draw, random_coupled, samples, uniform


def number(*values: float) -> Tensor:
    return torch.tensor([values], dtype=torch.float64)


def pairs(
    low: float, high: float, first: tuple[float, float] = (0, 1), second: tuple[float, float] = (0, 1)
) -> Coupled:
    boxes = [Box(number(a), number(b)) for a, b in (first, second)]
    return Coupled(boxes[0], boxes[1], number(low), number(high))


@pytest.mark.parametrize("seed", range(25))
def test_support_and_hull_equal_the_linear_programs(seed: int) -> None:
    inputs = random_coupled(Draw(seed, 1, (3,), torch.float64, 1.0, 1))
    (first, second), (low, high) = inputs.boxes, (end[0].numpy() for end in inputs.gap)
    faces = [(box.lower[0].numpy(), box.upper[0].numpy()) for box in (first, second)]
    bounds = np.concatenate([np.stack(pair, 1) for pair in faces])
    eye = np.eye(3)
    limits, ends = np.block([[-eye, eye], [eye, -eye]]), np.concatenate([high, -low])

    def best(row: Tensor) -> float:
        return -float(linprog(-row.numpy(), A_ub=limits, b_ub=ends, bounds=bounds).fun)

    a = torch.cat([uniform(seed, (1, 6, 6)), torch.tensor([[[1.0, 0, 0, -1.0, 0, 0]]]).double()], 1)
    upper = inputs.support(a)[0]
    for k in range(7):
        assert float(upper[k]) == pytest.approx(best(a[0, k]), abs=1e-12)
    hull, one = inputs.box(), torch.eye(6, dtype=torch.float64)
    assert hull.upper[0].tolist() == pytest.approx([best(row) for row in one], abs=1e-12)
    assert hull.lower[0].tolist() == pytest.approx([-best(-row) for row in one], abs=1e-12)


@pytest.mark.parametrize("seed", range(15))
def test_projection_beats_a_fine_grid(seed: int) -> None:
    inputs = random_coupled(Draw(seed, 1, (1,), torch.float64, 1.0, 1))
    hull, (low, high) = inputs.box(), inputs.gap
    x = torch.linspace(float(hull.lower[0, 0]), float(hull.upper[0, 0]), 400, dtype=torch.float64)
    y = torch.linspace(float(low), float(high), 200, dtype=torch.float64)
    grid = torch.cartesian_prod(x, y)
    grid[:, 1] += grid[:, 0]
    lower, upper = inputs.boxes[1].lower[0], inputs.boxes[1].upper[0]
    reached = (grid[:, 1] >= lower - 1e-12) & (grid[:, 1] <= upper + 1e-12)
    inside = grid[reached]  # up to rounding
    for k in range(20):
        given = inputs.centre() + 2 * uniform(seed + 50 + k, (1, 2))
        assert (inputs.project(given) - given).norm() <= (inside - given).norm(dim=1).min() + 1e-11


def test_close_ordered_and_equal_by_hand() -> None:
    close = pairs(-0.25, 0.25)
    assert close.project(number(0.0, 1.0)).tolist() == [[0.375, 0.625]]
    assert close.project(number(0.9, 2.0)).tolist() == [[0.9, 1.0]]
    a = torch.tensor([[[-1.0, 1.0], [1.0, 1.0], [3.0, -1.0]]], dtype=torch.float64, requires_grad=True)
    upper = close.support(a)
    assert upper.tolist() == [[0.25, 2.0, 2.25]]
    (slope,) = torch.autograd.grad(upper[0, 2], a)
    assert slope[0, 2].tolist() == [1.0, 0.75]
    ordered = pairs(0.0, 1.0)
    assert ordered.contains(number(0.3, 0.3)) and not ordered.contains(number(0.3, math.nextafter(0.3, 0)))
    assert ordered.project(number(0.75, 0.25)).tolist() == [[0.5, 0.5]]
    equal = pairs(0.0, 0.0, second=(0.5, 2.0))
    assert equal.box().lower.tolist() == [[0.5, 0.5]] and equal.box().upper.tolist() == [[1.0, 1.0]]
    assert equal.project(number(0.1, 0.7)).tolist() == [[0.5, 0.5]]
    assert equal.support(torch.tensor([[[5.0, -5.0]]]).double()).tolist() == [[0.0]]


def test_differences_keep_their_digits_beside_large_coordinates() -> None:
    x = torch.full((1, 1), 1000.0)
    wide = Box(x - 500, x + 500)
    inputs = Coupled(wide, wide, torch.tensor([[-1e-6]]), torch.tensor([[1e-6]]))
    a = torch.tensor([[[-7.0, 7.0], [7.0, -7.0]]])  # float32: the coordinates alone would cost 1e-4
    assert torch.allclose(inputs.support(a), torch.tensor([[7e-6, 7e-6]]), rtol=1e-6)
    assert (inputs.support(a).double() >= 7 * inputs.gap[1]).all()


@given(st.integers(0, 2**16), st.sampled_from([torch.float32, torch.float64]))
def test_differences_are_those_of_real_arithmetic(seed: int, dtype: torch.dtype) -> None:
    x, low = uniform(seed, (1, 1), 0.1, 0.4).to(dtype), 0.1 if seed % 2 else 0.0
    inputs = pairs(low, 0.3)
    y = inputs.project(torch.cat([x, x + 1], 1))
    first, second = map(Fraction, y[0].tolist())
    assert Fraction(low) <= second - first <= Fraction(0.3)
    at_edge = torch.cat([y[:, :1], torch.nextafter(y[:, 1:], torch.full_like(x, 9.0))], 1)
    above = Fraction(float(at_edge[0, 1])) - first <= Fraction(0.3)
    assert bool(inputs.contains(at_edge)) == above


def test_a_fixed_difference_is_hit_where_floats_can() -> None:
    exact = pairs(0.1, 0.1, (-1.0, 1.0), (-1.0, 2.0))  # 0.1 has all its digits: few x leave a float x'
    for k in range(20):
        x = exact.project(uniform(k, (1, 2)))
        assert exact.contains(x) and exact.contains(samples(exact, k, torch.float64))
    coarse = pairs(0.25, 0.25, (-1.0, 1.0), (-1.0, 2.0))
    for dtype in (torch.float32, torch.float64):
        x = uniform(3, (1, 2)).to(dtype)
        y = coarse.project(x)
        middle = 0.5 * (x[0, 0] + x[0, 1] - 0.25)
        assert coarse.contains(y) and abs(float(y[0, 0] - middle)) < 4 * torch.finfo(dtype).eps
    with pytest.raises(EmptySetError, match=r"no pair of torch\.float64 was found at sample 0, coordinate 0"):
        pairs(0.1, 0.1, (1.0, 1.0), (1.0, 2.0))


def test_features_that_are_equal_but_for_one() -> None:
    first = Box(torch.zeros(2, 4), torch.ones(2, 4))
    gap = torch.tensor([0.0, 0.0, 1.0, 0.0])  # only the third feature may differ, by anything
    inputs = Coupled(first, first, -gap, gap)
    assert inputs.shape == (8,) and inputs.shapes == ((4,), (4,))
    for k in range(5):
        x, other = inputs.split(samples(inputs, k, torch.float32))
        same = x == other
        assert same[:, [0, 1, 3]].all() and not same[:, 2].any()
    x, other = inputs.split(inputs.project(uniform(9, (2, 8), -1, 2).float()))
    assert torch.equal(x[:, :2], other[:, :2])


def test_a_coupled_block_in_a_product() -> None:
    coupled, ball = pairs(-0.25, 0.25), Ball(number(1.0, 1.0, 1.0), 2.0, 2)
    both = Product([coupled, ball])
    assert both.shape == (5,) and both.shapes == ((2,), (3,))
    a = torch.tensor([[[-1.0, 1.0, 0.0, 3.0, 4.0]]], dtype=torch.float64)
    assert both.support(a).tolist() == [[0.25 + 7.0 + 10.0]]
    y = both.project(number(0.0, 1.0, 9.0, 9.0, 9.0))
    assert both.contains(y) and y[0, :2].tolist() == [0.375, 0.625]


def test_what_cannot_be_coupled() -> None:
    with pytest.raises(ShapeError, match=r"cannot couple a box of shape \(1, 1\) with one of shape \(1, 2\)"):
        Coupled(Box(number(0.0), number(1.0)), Box(number(0, 0), number(1, 1)), number(0.0), number(1.0))
    box = Box(torch.zeros(2, 3), torch.ones(2, 3))
    with pytest.raises(ShapeError, match=r"low has shape \(2,\), the boxes \(2, 3\)"):
        Coupled(box, box, torch.zeros(2), torch.ones(3))
    with pytest.raises(NonFiniteError, match="high is inf"):
        Coupled(box, box, torch.zeros(3), torch.full((3,), math.inf))
    with pytest.raises(EmptySetError, match=r"no pair at sample 1, coordinate \(2,\): x in \[0.0, 1.0\]"):
        Coupled(box, box, torch.tensor([[0.0] * 3, [0, 0, 1.5]]), torch.full((3,), 2.0))
    with pytest.raises(EmptySetError, match=r"x' - x in \[0.5, 0.25\]"):
        pairs(0.5, 0.25)

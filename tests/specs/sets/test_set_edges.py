"""Sets at the edges: awkward numbers, empty batches, zero radii, grids, inference mode."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from robustbench_local.specs import Ball, Box

from .random_sets import DTYPES, NORMS, uniform


def test_membership_is_exact_around_awkward_numbers() -> None:
    center, eps = torch.tensor([[0.1]]), 8 / 255  # 0.1 as float32, 8/255 as float64
    ball = Ball(center, eps)
    face = Fraction(float(center[0, 0])) + Fraction(eps)
    for dtype in DTYPES:
        top = ball.project(torch.tensor([[9.0]], dtype=dtype))
        above = torch.nextafter(top, torch.tensor(9.0, dtype=dtype))
        assert Fraction(float(top)) <= face < Fraction(float(above))
        assert ball.contains(top) and not ball.contains(above)
    assert Fraction(float(ball.box().upper)) >= face
    assert Fraction(float(ball.box().cast(torch.float32)[1])) >= face


def test_l2_membership_on_the_sphere_is_decided_exactly() -> None:
    ball = Ball(torch.zeros(1, 2), 5.0, 2)
    assert ball.contains(torch.tensor([[3.0, 4.0]]))
    out = torch.tensor([[3.0, math.nextafter(4.0, 5.0)]], dtype=torch.float64)
    assert not ball.contains(out)
    tiny = Ball(torch.zeros(1, 2, dtype=torch.float64), 5e-200, 2)  # squares underflow
    assert tiny.contains(torch.tensor([[3e-200, 3.9e-200]], dtype=torch.float64))
    assert not tiny.contains(torch.tensor([[3e-200, 4.1e-200]], dtype=torch.float64))
    huge = Ball(torch.zeros(1, 2, dtype=torch.float64), 5e200, 2)  # squares overflow
    assert huge.contains(torch.tensor([[3e200, 3.9e200]], dtype=torch.float64))
    assert not huge.contains(torch.tensor([[3e200, 4.1e200]], dtype=torch.float64))


@pytest.mark.parametrize("p", NORMS)
def test_not_a_number_and_infinity_are_outside(p: float) -> None:
    center = torch.zeros(2, 3)
    cut = Ball(center, 1.0, p) & Box(center - 1, center + 1)
    for inputs in (Ball(center, 1.0, p), cut):
        x = torch.tensor([[0.0, math.nan, 0.0], [math.inf, 0.0, 0.0]])
        assert not inputs.contains(x).any()
        projected = inputs.project(x)
        assert not inputs.contains(projected)[0]


@pytest.mark.parametrize("p", NORMS)
def test_float32_points_of_sets_given_in_float64(p: float) -> None:
    center = uniform(3, (20, 7))  # on no float32 grid
    ball = Ball(center, uniform(4, (20,), 0.01, 1.0), p)
    for inputs in (ball, ball & Box(center - 0.3, center + 0.1)):
        y = inputs.project((center + uniform(5, center.shape)).float())
        assert y.dtype == torch.float32 and inputs.contains(y).all() and torch.equal(inputs.project(y), y)


@pytest.mark.parametrize("p", NORMS)
def test_a_ball_of_radius_zero_is_its_centre(p: float) -> None:
    center = torch.tensor([[0.1, -0.7, 0.3]])
    ball = Ball(center, 0.0, p)
    assert torch.equal(ball.project(center + 1), center)
    assert torch.equal(ball.support(torch.eye(3).unsqueeze(0)), center)
    cut = ball & Box(center - 1, center + 1)
    assert torch.equal(cut.project(center - 1), center)
    assert torch.allclose(cut.support(torch.eye(3).unsqueeze(0)), center)


@pytest.mark.parametrize("p", [1, 2])
def test_radii_close_to_the_float_grid(p: float) -> None:
    center = uniform(0, (30, 6), 0.5, 1).float()
    radius = torch.logspace(-9, -4, 30, dtype=torch.float64)
    ball = Ball(center, radius, p)
    x = center + uniform(1, center.shape).float()
    for inputs in (ball, ball & Box(center - 1e-7, center + 1e-7)):
        y = inputs.project(x)
        assert inputs.contains(y).all() and torch.equal(inputs.project(y), y)
    # radii of more than a few grid steps are used, not thrown away
    moved = (ball.project(x).double() - center.double()).norm(p=p, dim=1)
    assert (moved[radius > 5e-6] >= 0.5 * radius[radius > 5e-6]).all()


@pytest.mark.parametrize("p", NORMS)
def test_an_empty_batch_is_a_batch(p: float) -> None:
    none = torch.zeros(0, 2, 3)
    for inputs in (Ball(none, 0.1, p), Ball(none, 0.1, p) & Box(none, none)):
        assert inputs.project(none).shape == inputs.steepest(none).shape == (0, 2, 3)
        assert inputs.contains(none).shape == (0,) and inputs.sample(none, torch.zeros(0)).shape == none.shape
        assert inputs.support(torch.ones(1, 4, 2, 3)).shape == (0, 4)


@pytest.mark.parametrize("p", NORMS)
def test_huge_and_infinite_points_come_back_inside(p: float) -> None:
    center = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    x = torch.tensor(
        [[1e38, -1e38, 0.0], [math.inf, 0.0, 0.0], [-math.inf, math.inf, 1.0], [3e38, 3e38, 3e38]]
    )
    for inputs in (Ball(center, 0.2, p), Ball(center, 0.2, p) & Box(center - 0.1, center + 0.3)):
        assert inputs.contains(inputs.project(x)).all()


def test_the_numbers_of_the_user_are_copied() -> None:
    lower, upper = torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 2, dtype=torch.float64)
    inputs = Box(lower, upper)
    upper.fill_(9.0)
    assert not inputs.contains(torch.full((1, 2), 2.0))


def test_what_is_kept_in_inference_mode_serves_autograd() -> None:
    center = torch.rand(3, 4, generator=torch.Generator().manual_seed(0))
    for p in NORMS:
        with torch.inference_mode():
            inputs = Ball(center, 0.3, p) & Box(torch.zeros_like(center), torch.ones_like(center))
            inputs.support(torch.ones(1, 2, 4))
            inputs = inputs.select(torch.tensor([0, 2]))
        a = torch.ones(1, 2, 4, requires_grad=True)
        inputs.support(a).sum().backward()
        assert a.grad is not None

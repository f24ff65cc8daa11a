"""l1 and l2 balls cut by a box, against convex programs solved by others and against brute force."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from scipy.optimize import linprog
from torch import Tensor

from robustbench_local.errors import EmptySetError, ShapeError, SpecError
from robustbench_local.specs import Ball, Box, Intersection

from .random_sets import sets, uniform


def _cut(seed: int, n: int, p: int) -> Intersection:
    """A cut ball whose centre lies in the box (seed even) or outside (odd)."""
    center = uniform(seed, (1, n))
    shift = 0.0 if seed % 2 == 0 else 0.3
    low = center - uniform(seed + 1, (1, n), 0.0, 0.8) + shift
    high = low + uniform(seed + 2, (1, n), 0.5, 1.5)
    near = center.clamp(low, high)
    radius = float((near - center).norm(p=p)) + float(uniform(seed + 3, (1,), 0.01, 2.0))
    both = Ball(center, radius, p) & Box(low, high)
    assert isinstance(both, Intersection)
    return both


@pytest.mark.parametrize("seed", range(12))
def test_l1_support_equals_the_linear_program(seed: int) -> None:
    n = 4
    inputs = _cut(seed, n, 1)
    a = uniform(seed + 9, (1, 3, n))
    center, radius = inputs.ball.center[0].numpy(), float(inputs.ball.radius[0])
    low, high = inputs.limits.lower[0].numpy(), inputs.limits.upper[0].numpy()
    # x = center + u - v with u, v >= 0, sum u + v <= radius
    limits = np.vstack(
        [np.ones((1, 2 * n)), np.hstack([np.eye(n), -np.eye(n)]), np.hstack([-np.eye(n), np.eye(n)])]
    )
    bounds = np.concatenate([[radius], high - center, center - low])
    for k, upper in enumerate(inputs.support(a)[0].tolist()):
        row = a[0, k].numpy()
        solved = linprog(np.concatenate([-row, row]), A_ub=limits, b_ub=bounds, bounds=(0, None))
        assert upper == pytest.approx(row @ center - solved.fun, abs=1e-8)


@pytest.mark.parametrize("seed", range(8))
def test_l2_support_equals_the_cone_program(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import cvxpy as cp
    inputs = _cut(seed, 4, 2)
    a = uniform(seed + 9, (1, 2, 4))
    x = cp.Variable(4)
    constraints = [
        cp.norm(x - inputs.ball.center[0].numpy(), 2) <= float(inputs.ball.radius[0]),
        x >= inputs.limits.lower[0].numpy(),
        x <= inputs.limits.upper[0].numpy(),
    ]
    for k, upper in enumerate(inputs.support(a)[0].tolist()):
        problem = cp.Problem(cp.Maximize(a[0, k].numpy() @ x), constraints)
        best = problem.solve(solver=cp.CLARABEL)
        assert best - 1e-6 <= upper <= best + 1e-5


@given(sets(kinds=("cut",)))
@settings(max_examples=100)
def test_support_is_never_looser_than_that_of_the_parts(case: tuple[object, int]) -> None:
    inputs, seed = case
    if not isinstance(inputs, Intersection):
        return
    a = uniform(seed, (inputs.batch, 3, *inputs.shape))
    upper = inputs.support(a)
    assert (upper <= inputs.ball.support(a)).all() and (upper <= inputs.limits.support(a)).all()


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("seed", range(8))
def test_projection_beats_a_fine_grid(p: int, seed: int) -> None:
    inputs = _cut(seed, 2, p)
    low, high = inputs.box().lower[0], inputs.box().upper[0]
    axes = [torch.linspace(float(low[i]), float(high[i]), 60, dtype=torch.float64) for i in range(2)]
    grid = torch.cartesian_prod(*axes)
    inside = grid[_contains_rows(inputs, grid)]
    for k in range(10):
        x = inputs.centre() + 2 * uniform(seed + 50 + k, (1, 2))
        y = inputs.project(x)
        assert (y - x).norm() <= (inside - x).norm(dim=1).min() + 1e-9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("p", [1, 2])
def test_a_thousand_coordinates(p: int, dtype: torch.dtype) -> None:
    center = uniform(0, (12, 3, 20, 20), 0, 1).to(dtype)
    both = Ball(center, {1: 5.0, 2: 0.5}[p], p) & Box(torch.zeros_like(center), torch.ones_like(center))
    for scale in (1e-3, 0.1, 10.0):
        y = both.project(center + scale * uniform(1, center.shape).to(dtype))
        assert both.contains(y).all() and torch.equal(both.project(y), y)
    assert isinstance(both, Intersection)
    far = (y.double() - center.double()).flatten(1).norm(p=p, dim=1) / both.ball.radius
    assert (far > 0.999).all()  # rounding safety costs little of the radius


def test_sets_that_miss_each_other_and_sets_that_touch() -> None:
    center = torch.zeros(2, 2, dtype=torch.float64)
    low = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    with pytest.raises(EmptySetError, match=r"l2 ball of sample 1 misses its box: radius 4.9.*distance 5.0"):
        Ball(center, 4.9, 2) & Box(low, low + 1)
    touching = Ball(center, 5.0, 2) & Box(low, low + 1)
    assert torch.equal(touching.project(center + 9)[1], low[1])
    assert torch.allclose(touching.support(torch.ones(1, 1, 2).double())[1], torch.tensor([7.0]).double())


def test_what_cannot_meet() -> None:
    one = torch.zeros(1, 2)
    with pytest.raises(SpecError, match="is not supported"):
        Ball(one, 1.0, 2) & Ball(one, 1.0, 1)
    with pytest.raises(ShapeError, match="cannot intersect"):
        Ball(one, 1.0, 2) & Box(torch.zeros(1, 3), torch.ones(1, 3))
    with pytest.raises(ShapeError, match="cannot intersect"):
        Box(one, one) & Box(torch.zeros(2, 2), torch.ones(2, 2))
    with pytest.raises(SpecError, match="linf ball"):
        Intersection(Ball(one, 1.0), Box(one, one))
    with pytest.raises(TypeError):
        Ball(one, 1.0, 2) & 3  # type: ignore[operator]


def _contains_rows(inputs: Intersection, points: Tensor) -> Tensor:
    return inputs.select(torch.zeros(len(points), dtype=torch.int64)).contains(points)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("seed", range(20))
def test_projections_of_far_points_reach_the_ball(p: int, seed: int) -> None:
    # seen from far away, coordinates reach their faces one after the other: the length has plateaus
    center, radius = uniform(seed, (20, 10)), uniform(seed + 1, (20,), 0.05, 2.0)
    both = Ball(center, radius, p) & Box(center - 0.2, center + 0.4)
    x = center + 50 * uniform(seed + 2, (20, 10))
    y = both.project(x)
    nearest = (y == x.clamp(center - 0.2, center + 0.4)).all(1)  # the box's nearest point, in the ball
    assert (nearest | ((y - center).norm(p=p, dim=1) > (1 - 1e-9) * radius)).all()

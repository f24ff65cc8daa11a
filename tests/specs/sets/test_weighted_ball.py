"""Balls with a radius per coordinate: against plain balls, convex programs, and rational arithmetic."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from robustbench_local.specs.sets.rounding import weighted_distance_at_most
from scipy.optimize import linprog, minimize

from robustbench_local.errors import (
    EmptySetError,
    NonFiniteError,
    RadiusError,
    RobustBenchError,
    ShapeError,
    SpecError,
)
from robustbench_local.specs import Ball, Box, WeightedBall

from .random_sets import DTYPES, samples, uniform

MODERATE = st.floats(-1e3, 1e3) | st.sampled_from([0.0, 0.1, 1 / 3, 5e-324, 1e-300, 2.0**-60])
POSITIVE = st.floats(1e-3, 1e3) | st.sampled_from([3.0, 0.1, 1 / 3, 1e-300, 7.0])


@given(st.lists(st.tuples(MODERATE, MODERATE, POSITIVE), min_size=1, max_size=5), st.sampled_from([1, 2]))
def test_exact_distances_agree_with_fractions(rows: list[tuple[float, float, float]], power: int) -> None:
    x, center, radius = ([row[i] for row in rows] for i in range(3))
    terms = [(abs(Fraction(p) - Fraction(c)) / Fraction(r)) ** power for p, c, r in rows]
    assert weighted_distance_at_most(x, center, radius, power) == (sum(terms) <= 1)


def test_exact_distances_at_equality_and_one_step_beside_it() -> None:
    # 1/3 + 2/3 and 0.36 + 0.64 are 1 in rational arithmetic only
    for x, radius, power in (([1.0, 2.0], [3.0, 3.0], 1), ([3.0, 8.0], [5.0, 10.0], 2)):
        center = [0.0, 0.0]
        assert weighted_distance_at_most(x, center, radius, power)
        assert not weighted_distance_at_most([x[0], math.nextafter(x[1], 9.0)], center, radius, power)
        assert not weighted_distance_at_most(x, center, [radius[0], math.nextafter(radius[1], 0.0)], power)
        ball = WeightedBall(torch.zeros(1, 2), torch.tensor([radius]), power)
        assert ball.contains(torch.tensor([x]))
        above = [x[0], math.nextafter(x[1], 9.0)]
        assert not ball.contains(torch.tensor([above], dtype=torch.float64))
    assert weighted_distance_at_most([0.1], [0.1], [0.0], 1)
    assert not weighted_distance_at_most([0.2], [0.1], [0.0], 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("cut", [False, True])
def test_equal_radii_are_a_plain_ball(p: int, cut: bool, dtype: torch.dtype) -> None:
    center, radius = uniform(0, (20, 2, 5)).to(dtype), uniform(1, (20,), 0.05, 2.0)
    plain: Any = Ball(center, radius, p)
    ball: Any = WeightedBall(center, radius.reshape(-1, 1, 1).expand(center.shape), p)
    if cut:
        box = Box(center - 0.2, center + 0.4)
        plain, ball = plain & box, ball & box
    a = uniform(2, (20, 3, 2, 5)).to(dtype)
    close = dict(rtol=1e-4, atol=1e-4) if dtype == torch.float32 else dict(rtol=1e-6, atol=1e-7)
    assert torch.allclose(plain.support(a), ball.support(a), **close)
    assert torch.allclose(plain.support(a[:1]), ball.support(a[:1]), **close)
    for scale in (0.01, 1.0, 50.0):
        x = center + scale * uniform(3, center.shape).to(dtype)
        assert torch.equal(plain.contains(x), ball.contains(x))
        assert torch.allclose(plain.project(x), ball.project(x), **close)
    g = uniform(4, center.shape).to(dtype)
    assert torch.allclose(plain.steepest(g), ball.steepest(g), **close)
    assert torch.allclose(samples(plain, 5, dtype), samples(ball, 5, dtype), **close)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("p", [1, 2])
def test_cut_supports_equal_convex_programs(p: int, seed: int) -> None:
    ball, n = _cut(seed, p), 4
    a = uniform(seed + 9, (1, 3, n))
    center, radius = ball.center[0].numpy(), ball.radius[0].numpy()
    limits = ball.limits
    assert limits is not None
    low, high = limits.lower[0].numpy(), limits.upper[0].numpy()
    for k, upper in enumerate(ball.support(a)[0].tolist()):
        row = a[0, k].numpy()
        if p == 1:  # x = center + u - v, sum (u + v) / radius <= 1
            rows = np.vstack(
                [
                    np.concatenate([1 / radius, 1 / radius]),
                    np.hstack([np.eye(n), -np.eye(n)]),
                    np.hstack([-np.eye(n), np.eye(n)]),
                ]
            )
            bounds = np.concatenate([[1.0], high - center, center - low])
            solved = linprog(np.concatenate([-row, row]), A_ub=rows, b_ub=bounds, bounds=(0, None))
            assert upper == pytest.approx(row @ center - solved.fun, abs=1e-8)
        else:
            best = _cone_program(row, center, radius, (low, high))
            assert best - 1e-6 <= upper <= best + 1e-5


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("p", [1, 2])
def test_projections_equal_those_of_a_solver(p: int, seed: int) -> None:
    ball = _cut(seed, p)
    x = ball.center + 2 * uniform(seed + 3, (1, 4))
    y = ball.project(x)
    center, radius = ball.center[0].numpy(), ball.radius[0].numpy()
    limits = ball.limits
    assert limits is not None
    low, high = limits.lower[0].numpy(), limits.upper[0].numpy()
    target = x[0].numpy()

    # over u - v = y - center, so that |.|_1 is linear
    def gap(z: np.ndarray[Any, Any]) -> float:
        return float(((center + z[:4] - z[4:] - target) ** 2).sum())

    def room(z: np.ndarray[Any, Any]) -> float:
        return float(1 - (((z[:4] + z[4:]) / radius) ** p).sum())

    boxed = [
        {"type": "ineq", "fun": lambda z: center + z[:4] - z[4:] - low},
        {"type": "ineq", "fun": lambda z: high - center - z[:4] + z[4:]},
        {"type": "ineq", "fun": room},
    ]
    solved = minimize(gap, np.full(8, 1e-3), bounds=[(0, None)] * 8, constraints=boxed, tol=1e-12)
    assert float((x - y).square().sum()) <= gap(solved.x) + 1e-6
    assert ball.contains(y)


def test_fixed_coordinates_never_move() -> None:
    center, radius = uniform(0, (5, 6)).float(), uniform(1, (5, 6), -1, 1).clamp(min=0)
    for ball in (
        WeightedBall(center, radius, 1),
        WeightedBall(center, radius, 2) & Box(center - 1, center + 1),
    ):
        x = ball.project(center + 3)
        assert torch.equal(x[radius == 0], center[radius == 0]) and ball.contains(x).all()
        off = center.clone()
        off[0, int((radius[0] == 0).nonzero()[0])] += 1e-3
        assert ball.contains(off).tolist() == [False, True, True, True, True]
        assert torch.equal(ball.box().lower[radius == 0], center.double()[radius == 0])
        a = torch.where(radius == 0, uniform(2, (5, 6)), 0.0).unsqueeze(1)
        assert torch.allclose(ball.support(a)[:, 0], (a[:, 0] * center.double()).sum(1))


def test_radii_of_many_sizes_and_far_points() -> None:
    center = uniform(0, (8, 40)).double()
    radius = 10 ** uniform(1, (8, 40), -8, 3)
    for p in (1, 2):
        ball = WeightedBall(center, radius, p)
        for scale in (1e-6, 1.0, 1e6, 1e30, math.inf):
            x = (center + uniform(2, center.shape) * scale).nan_to_num()
            y = ball.project(x)
            assert ball.contains(y).all() and torch.equal(ball.project(y), y)
            outside = ~ball.contains(x)
            mass = ((y - center).abs() / radius).pow(p).sum(1)
            assert (mass[outside] > 1 - 1e-6).all()  # no more of the ball is given away than rounding needs


def test_radii_close_to_the_float_grid() -> None:
    center = uniform(0, (30, 6), 0.5, 1).float()
    radius = torch.logspace(-9, -4, 30, dtype=torch.float64).unsqueeze(1) * uniform(1, (30, 6), 0.3, 3)
    x = center + uniform(2, center.shape).float()
    for p in (1, 2):
        for ball in (WeightedBall(center, radius, p), WeightedBall(center, radius, p) & Box(x - 9, x + 9)):
            y = ball.project(x)
            assert ball.contains(y).all() and torch.equal(ball.project(y), y)
    third = torch.full((1, 2), 1 / 3, dtype=torch.float64)
    with pytest.raises(EmptySetError, match=r"weighted l2 ball around .* holds no point of torch.float32"):
        WeightedBall(third, torch.tensor([[1e-12, 1.0]]), 2).project(third.float() + 1)


def test_not_a_number_is_outside() -> None:
    ball = WeightedBall(torch.zeros(2, 2), torch.ones(2, 2), 2)
    x = torch.tensor([[0.1, math.nan], [math.inf, 0.0]])
    assert not ball.contains(x).any()
    assert ball.contains(ball.project(x)).tolist() == [False, True]


ZERO, ONE = torch.zeros(2, 3), torch.ones(2, 3)
REFUSALS = [
    (partial(WeightedBall, ZERO, ONE, math.inf), SpecError, "no weighted ball of norm p = inf. Use 1 or 2"),
    (partial(WeightedBall, ZERO, ONE[0], 2), ShapeError, "radius has shape (3,), center (2, 3)"),
    (partial(WeightedBall, ZERO, -ONE, 2), RadiusError, "radius is -1.0"),
    (partial(WeightedBall, ZERO, ONE * math.nan, 2), RadiusError, "radius is nan"),
    (partial(WeightedBall, ZERO, ONE * math.inf, 2), RadiusError, "radius is inf"),
    (partial(WeightedBall, ONE * math.nan, ONE, 2), NonFiniteError, "center is nan"),
    (
        partial(WeightedBall, ZERO, ONE, 2, limits=Box(ONE, ONE)),
        EmptySetError,
        "the weighted l2 ball of sample 0 misses its box",
    ),
    (
        partial(WeightedBall, ZERO, ONE, 2, limits=Box(ONE[:1], ONE[:1])),
        ShapeError,
        "cannot intersect a ball of shape (2, 3) with a box of shape (1, 3)",
    ),
]


@pytest.mark.parametrize(("build", "kind", "message"), REFUSALS, ids=[r[2][:40] for r in REFUSALS])
def test_bad_balls_are_refused(build: Any, kind: type[RobustBenchError], message: str) -> None:
    with pytest.raises(kind) as caught:
        build()
    assert message in str(caught.value)


def _cut(seed: int, p: int) -> WeightedBall:
    """A cut ball whose centre lies in the box (seed even) or outside (odd)."""
    center, radius = uniform(seed, (1, 4)), uniform(seed + 1, (1, 4), 0.1, 1.5)
    near = center + radius * uniform(seed + 2, (1, 4), 0.05, 0.2)
    low = near - uniform(seed + 3, (1, 4), 0.0, 0.03 if seed % 2 else 0.8)
    return WeightedBall(center, radius, p, limits=Box(low, near + uniform(seed + 4, (1, 4), 0.1, 1.0)))


def _cone_program(
    row: np.ndarray[Any, Any],
    center: np.ndarray[Any, Any],
    radius: np.ndarray[Any, Any],
    faces: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import cvxpy as cp
    x = cp.Variable(len(row))
    constraints = [cp.norm((x - center) / radius, 2) <= 1, x >= faces[0], x <= faces[1]]
    return float(cp.Problem(cp.Maximize(row @ x), constraints).solve(solver=cp.CLARABEL))

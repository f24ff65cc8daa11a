"""Boxes cut by linear conditions, against linear and quadratic programs solved by others, and by hand."""

from __future__ import annotations

import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from robustbench_local.specs.sets import meet
from robustbench_local.specs.sets.halfspaces import Halfspaces
from robustbench_local.specs.sets.lattice import opposite_rows, points_on
from robustbench_local.specs.sets.programs import Program, solve
from scipy.optimize import linprog
from torch import Tensor

from robustbench_local.errors import DtypeError, EmptySetError, NonFiniteError, ShapeError
from robustbench_local.specs import Ball, Box, Polytope

from .membership import fractions
from .random_sets import Draw, random_polytope, samples, uniform


def square(*rows: tuple[list[float], float], strict: list[bool] | None = None, batch: int = 1) -> Polytope:
    """The unit square cut by rows a x <= b."""
    box = Box(torch.zeros(batch, 2, dtype=torch.float64), torch.ones(batch, 2, dtype=torch.float64))
    A = torch.tensor([[row for row, _ in rows]], dtype=torch.float64)
    b = torch.tensor([[bound for _, bound in rows]], dtype=torch.float64).expand(batch, -1)
    return Polytope(A, b, box, strict=None if strict is None else torch.tensor(strict))


def point(*numbers: float) -> Tensor:
    return torch.tensor([numbers], dtype=torch.float64)


def best(inputs: Polytope, a: Tensor, b: int) -> float:
    """max <a, x> over set b, by HiGHS."""
    A = inputs.rows.A[b if inputs.rows.A.shape[0] > 1 else 0].numpy()
    faces = np.stack([inputs.limits.lower[b].numpy().ravel(), inputs.limits.upper[b].numpy().ravel()], 1)
    solved = linprog(-a.numpy().ravel(), A_ub=A, b_ub=inputs.rows.b[b].numpy(), bounds=faces)
    return -float(solved.fun)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("shape", [(2,), (2, 3), (1, 4, 4)])
def test_support_and_hull_equal_the_linear_programs(seed: int, shape: tuple[int, ...]) -> None:
    inputs = random_polytope(Draw(seed, 2, shape, torch.float64, [0.03, 1.0, 30.0][seed % 3], 1))
    a = uniform(seed, (2, 3, *shape)) if seed % 2 else uniform(seed, (2, 3, *shape)).round()
    upper, hull = inputs.support(a), inputs.box()
    eye = torch.eye(math.prod(shape), dtype=torch.float64).reshape(-1, *shape)
    size = 1e-9 * (1 + float(inputs.limits.upper.abs().max()))
    for b in range(2):
        for k in range(3):
            assert float(upper[b, k]) == pytest.approx(best(inputs, a[b, k], b), abs=size)
        for i, one in enumerate(eye):
            assert float(hull.upper[b].flatten()[i]) == pytest.approx(best(inputs, one, b), abs=size)
            assert float(hull.lower[b].flatten()[i]) == pytest.approx(-best(inputs, -one, b), abs=size)


@pytest.mark.parametrize("seed", range(12))
def test_projection_equals_the_quadratic_program(seed: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import cvxpy as cp
    inputs = random_polytope(Draw(seed, 1, (5,), torch.float64, 1.0, 1))
    given = inputs.centre() + 3 * uniform(seed + 50, (1, 5))
    found = inputs.project(given)
    x = cp.Variable(5)
    limits = inputs.limits.lower[0].numpy(), inputs.limits.upper[0].numpy()
    constraints = [inputs.rows.A[0].numpy() @ x <= inputs.rows.b[0].numpy(), x >= limits[0], x <= limits[1]]
    problem = cp.Problem(cp.Minimize(cp.sum_squares(x - given[0].numpy())), constraints)
    problem.solve(solver=cp.CLARABEL)
    assert np.allclose(found[0].numpy(), x.value, atol=1e-5)
    assert float((found - given).square().sum()) <= float(problem.value) + 1e-7


def test_a_square_without_a_corner_by_hand() -> None:
    inputs = square(([1.0, 1.0], 1.5))
    assert torch.allclose(inputs.project(point(2.0, 2.0)), point(0.75, 0.75), atol=1e-14)
    assert torch.allclose(inputs.project(point(1.5, 0.2)), point(1.0, 0.2), atol=0)
    assert torch.allclose(inputs.project(point(1.5, 1.5 - 1 / 8)), point(0.8125, 0.6875), atol=1e-14)
    a = torch.tensor([[[1.0, 1.0], [2.0, 1.0], [-1.0, 0.0]]], dtype=torch.float64, requires_grad=True)
    upper = inputs.support(a)
    assert torch.allclose(upper, torch.tensor([[1.5, 2.5, 0.0]], dtype=torch.float64), atol=1e-13)
    (slope,) = torch.autograd.grad(upper.sum(), a)
    assert torch.allclose(slope[0, 1], torch.tensor([1.0, 0.5]).double(), atol=1e-9)
    assert inputs.centre()[0].sum() < 1.45 and float(inputs.support(a.detach()[:, :1].float())) >= 1.5


def test_strict_rows_exclude_their_boundary() -> None:
    closed, open_ = square(([1.0, 0.0], 0.5)), square(([1.0, 0.0], 0.5), strict=[True])
    edge, beside = point(0.5, 0.3), point(math.nextafter(0.5, 0.0), 0.3)
    assert closed.contains(edge) and not open_.contains(edge) and open_.contains(beside)
    y = open_.project(point(0.9, 0.3))
    assert open_.contains(y) and 0.5 - 1e-13 < float(y[0, 0]) < 0.5
    assert float(open_.support(torch.tensor([[[1.0, 0.0]]]).double())) >= 0.5


@given(st.integers(0, 2**16))
def test_membership_of_points_within_rounding_of_a_row(seed: int) -> None:
    a, x = uniform(seed, (1, 1, 4)), uniform(seed + 1, (1, 4))
    bound = (a[0] * x).sum(1, keepdim=True)  # rounded: the point is on one side or the other
    exact = sum(p * q for p, q in zip(fractions(a), fractions(x), strict=True))
    rows = Halfspaces(a, bound, torch.tensor([False]))
    assert bool(rows.contains(x)) == (exact <= Fraction(float(bound)))
    assert bool(Halfspaces(a, bound, torch.tensor([True])).contains(x)) == (exact < Fraction(float(bound)))


def test_membership_where_products_overflow_or_underflow() -> None:
    nothing, closed = torch.zeros(1, 1, dtype=torch.float64), torch.tensor([False])
    for size in (1e200, 1e-200):
        rows = Halfspaces(torch.tensor([[[size, -size]]], dtype=torch.float64), nothing, closed)
        assert rows.contains(point(size, size)) and not rows.contains(point(size, 0.9 * size))
        assert not rows.contains(point(math.nan, 0.0)) and not rows.contains(point(-math.inf, 0.0))


def test_equations_are_hit_exactly_where_floats_can() -> None:
    total = square(([1.0, 1.0], 1.0), ([-1.0, -1.0], -1.0))
    same = square(([1.0, -1.0], 0.0), ([-1.0, 1.0], 0.0))
    for inputs in (total, same):
        for dtype in (torch.float32, torch.float64):
            for k in range(10):
                x = uniform(k, (1, 2), -0.5, 1.5).to(dtype)
                y = inputs.project(x)
                assert y.dtype == dtype and inputs.contains(y) and torch.equal(inputs.project(y), y)
                others = torch.linspace(0, 1, 1001, dtype=torch.float64)
                line = torch.stack([others, 1 - others if inputs is total else others], 1)
                assert (y.double() - x.double()).norm() <= (line - x.double()).norm(dim=1).min() + 1e-3
                assert inputs.contains(samples(inputs, k, dtype))
    x, y = total.centre()[0].tolist()
    assert Fraction(x) + Fraction(y) == 1
    ends = total.support(torch.tensor([[[1.0, 1.0], [-1.0, -1.0], [1.0, 0.0]]]).double())
    assert torch.allclose(ends, torch.tensor([[1.0, -1.0, 1.0]]).double(), atol=1e-9)
    with pytest.raises(EmptySetError, match="conditions of sample 0: they leave a flat set"):
        square(([3.0, 0.0], 1.0), ([-3.0, 0.0], -1.0))  # x = 1/3


def test_opposite_rows_and_points_with_few_digits() -> None:
    assert opposite_rows([[1.0, 0.0], [0.5, 1.0], [-1.0, -0.0]], [2.0, 1.0, -2.0]) == [0]
    assert opposite_rows([[1.0], [-1.0]], [2.0, -1.0]) == []
    equations = [([1.0, 1.0, 1.0], 1.0), ([1.0, -2.0, 0.0], 0.0)]
    found = next(points_on(equations, [0.5, 0.25, 0.25], ([0.0] * 3, [1.0] * 3), 24))
    x, y, z = map(Fraction, found)
    assert x + y + z == 1 and x == 2 * y and abs(float(x) - 0.5) < 1e-5
    assert (
        list(points_on([([1.0, 1.0], 1.0), ([1.0, 1.0], 2.0)], [0.0, 0.0], ([0.0] * 2, [1.0] * 2), 24)) == []
    )


def test_empty_sets_are_named() -> None:
    with pytest.raises(EmptySetError, match="sample 0"):
        square(([1.0, 1.0], -0.5))
    box = Box(torch.zeros(3, 2).double(), torch.ones(3, 2).double())
    b = torch.tensor([[1.0], [-1e-6], [0.5]]).double()
    with pytest.raises(EmptySetError, match=r"sample 1: the best one misses condition 0 by 1e-06"):
        Polytope(torch.ones(1, 1, 2).double(), b, box)
    thin = square(([1.0, 0.0], 0.5 + 1e-12), ([-1.0, 0.0], -0.5 - 1e-13))  # holds no float32
    assert thin.contains(thin.project(point(0.0, 0.3)))
    with pytest.raises(EmptySetError, match=r"no point of torch\.float32"):
        thin.project(point(0.0, 0.3).float())


def test_many_rows_of_coefficients_get_cheaper_bounds_that_stay_sound() -> None:
    n, count = 40, 30_000
    box = Box(-torch.ones(1, n).double(), torch.ones(1, n).double())
    inputs = Polytope(uniform(0, (1, 30, n)), torch.full((1, 30), 0.5).double(), box)
    a = uniform(1, (1, count, n))
    cheap = inputs.support(a)
    dear = inputs.support(a[:, :50])
    assert (cheap[:, :50] >= dear - 1e-12).all() and (cheap[:, :50] > dear + 1e-3).any()
    points = torch.cat([samples(inputs, k, torch.float64) for k in range(20)])
    assert inputs.select(torch.zeros(20, dtype=torch.int64)).contains(points).all()
    assert ((a[0] @ points.T).amax(1) <= cheap[0]).all()
    assert (cheap <= box.support(a) + 1e-12).all()


@pytest.mark.parametrize("seed", range(30))
def test_the_interior_point_method_on_degenerate_programs(seed: int) -> None:
    P, m, n = 6, 1 + seed % 5, 1 + seed % 9
    G = uniform(seed, (P, m, n), -2, 2).round() if seed % 2 else uniform(seed, (P, m, n))
    corner = uniform(seed + 1, (P, n)).round() if seed % 3 else uniform(seed + 1, (P, n))
    h = (G @ corner.unsqueeze(2)).squeeze(2) + uniform(seed + 2, (P, m), 1e-4, 0.3)
    c = uniform(seed + 3, (P, n)).round() if seed % 4 == 0 else uniform(seed + 3, (P, n))
    solution = solve(Program(G, h, torch.zeros_like(c), c))
    prices = solution.duals[0]
    assert (prices >= 0).all()
    bound = (prices * h).sum(1) + (c - (prices.unsqueeze(1) @ G).squeeze(1)).abs().sum(1)
    for p in range(P):
        solved = linprog(-c[p].numpy(), A_ub=G[p].numpy(), b_ub=h[p].numpy(), bounds=(-1, 1))
        assert float(bound[p]) == pytest.approx(-solved.fun, abs=1e-9)


def test_what_makes_no_polytope() -> None:
    box, row = Box(torch.zeros(2, 3), torch.ones(2, 3)), torch.ones(1, 1, 3)
    with pytest.raises(ShapeError, match=r"A has shape \(3, 1, 3\), expected \(2 or 1, m, 3\)"):
        Polytope(torch.ones(3, 1, 3), torch.ones(2, 1), box)
    with pytest.raises(ShapeError, match=r"b has shape \(1, 1\), expected \(2, 1\)"):
        Polytope(row, torch.ones(1, 1), box)
    with pytest.raises(NonFiniteError, match="A is nan"):
        Polytope(row * math.nan, torch.ones(2, 1), box)
    with pytest.raises(DtypeError, match=r"strict is torch\.int64"):
        Polytope(row, torch.ones(2, 1), box, strict=torch.ones(1, dtype=torch.int64))


def test_polytopes_meet_boxes_and_polytopes() -> None:
    first, second = square(([1.0, 1.0], 1.5)), square(([1.0, -1.0], 0.0), strict=[True])
    low = Box(torch.zeros(1, 2), torch.tensor([[0.5, 2.0]]))
    for inputs in (meet(first, second), meet(second, first), first & second):
        assert isinstance(inputs, Polytope) and inputs.rows.b.shape == (1, 2)
        assert inputs.contains(point(0.5, 0.75)) and not inputs.contains(point(0.5, 0.5))
    for inputs in (meet(first, low), meet(low, first), low & first, meet(first, Ball(low.centre(), 0.25))):
        assert isinstance(inputs, Polytope) and not inputs.contains(point(0.6, 0.1))
    with pytest.raises(ShapeError):
        meet(first, Box(torch.zeros(1, 3), torch.ones(1, 3)))

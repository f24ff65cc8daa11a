"""Intersections of sets of any kind, against convex programs solved by others, and by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from robustbench_local.specs.sets import meet
from torch import Tensor

from robustbench_local.errors import EmptySetError, ShapeError
from robustbench_local.specs import (
    Ball,
    Box,
    Coupled,
    CoupledBall,
    InputSet,
    Meet,
    Polytope,
    Product,
    SparseBall,
)

from .random_sets import Draw, random_meet, samples, uniform


def conditions(x: Any, inputs: InputSet) -> list[Any]:
    """Set 0 as conditions on a variable of cvxpy."""
    import cvxpy as cp

    if isinstance(inputs, Meet):
        return [condition for one in inputs.sets for condition in conditions(x, one)]
    if isinstance(inputs, Ball):
        return [cp.norm(x - inputs.center[0].numpy(), inputs.p) <= float(inputs.radius[0])]
    assert isinstance(inputs, Polytope)
    faces = inputs.limits.lower[0].numpy(), inputs.limits.upper[0].numpy()
    return [inputs.rows.A[0].numpy() @ x <= inputs.rows.b[0].numpy(), x >= faces[0], x <= faces[1]]


def solved(inputs: InputSet, objective: Callable[[Any], Any]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import cvxpy as cp
    x = cp.Variable(inputs.shape[0])
    return float(cp.Problem(cp.Maximize(objective(x)), conditions(x, inputs)).solve(solver=cp.CLARABEL))


def tensor(*numbers: float) -> Tensor:
    return torch.tensor([numbers], dtype=torch.float64)


@pytest.mark.parametrize("seed", range(12))
def test_support_is_near_the_cone_program_and_never_below(seed: int) -> None:
    inputs = random_meet(Draw(seed, 1, (5,), torch.float64, 1.0, 1))
    a = uniform(seed + 9, (1, 2, 5))
    upper, size = inputs.support(a)[0], float((inputs.box().upper - inputs.box().lower).norm())
    for k in range(2):
        row = a[0, k].numpy()
        best = solved(inputs, lambda x, row=row: row @ x)
        assert best - 1e-7 <= float(upper[k]) <= best + 0.02 * size * float(a[0, k].norm())
        apart = min(float(one.support(a)[0, k]) for one in (*inputs.sets, inputs.box()))
        assert float(upper[k]) <= apart + 1e-12


@pytest.mark.parametrize("seed", range(12))
def test_projection_equals_the_cone_program(seed: int) -> None:
    import cvxpy as cp

    inputs = random_meet(Draw(seed, 1, (5,), torch.float64, 1.0, 1))
    given = inputs.centre() + 2 * uniform(seed + 50, (1, 5))
    best = -solved(inputs, lambda x: -cp.sum_squares(x - given[0].numpy()))
    assert float((inputs.project(given) - given).square().sum()) <= best + 1e-5


def test_two_discs_by_hand() -> None:
    lens = Meet([Ball(tensor(-0.6, 0.0), 1.0, 2), Ball(tensor(0.6, 0.0), 1.0, 2)])
    a = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [0.6, 0.8]]], dtype=torch.float64)
    upper = lens.support(a)[0]
    assert upper.tolist() == pytest.approx([0.8, 0.4, 0.64], abs=2e-3)
    assert (upper >= tensor(0.8, 0.4, 0.64) - 1e-9).all()
    assert torch.allclose(lens.project(tensor(0.0, 5.0)), tensor(0.0, 0.8), atol=1e-6)
    assert torch.allclose(lens.project(tensor(5.0, 0.0)), tensor(0.4, 0.0), atol=1e-6)
    assert lens.centre()[0].norm() < 0.3
    assert lens.contains(tensor(0.0, 0.8 - 1e-12)) and not lens.contains(tensor(0.0, 0.8 + 1e-12))


def test_the_gradient_is_a_best_point() -> None:
    ball, rows = (
        Ball(tensor(0.0, 0.0, 0.0), 1.0, 2),
        Polytope(
            torch.tensor([[[1.0, 1.0, 0.0]]]).double(), tensor(0.5), Box(-torch.ones(1, 3), torch.ones(1, 3))
        ),
    )
    both = meet(ball, rows)
    a = torch.tensor([[[2.0, 1.0, 1.0]]], dtype=torch.float64, requires_grad=True)
    upper = both.support(a)
    (slope,) = torch.autograd.grad(upper.sum(), a)
    assert torch.allclose((slope * a).sum(), upper.sum(), atol=1e-4)
    assert both.contains(slope[:, 0] * (1 - 1e-5))
    assert float(upper.detach()) < float(rows.support(a).detach()) - 0.1


def test_points_and_equations_stay_exact() -> None:
    point = Box(tensor(0.1, 0.7), tensor(0.1, 0.7))  # data of a sample beside the variable
    ball = Product([Ball(tensor(0.0, 0.0), 1.0, 2), point])
    row = torch.tensor([[[1.0, 1.0, 1.0, 0.0]]]).double()
    cut = Polytope(row, tensor(0.5), ball.box())
    equal = Polytope(
        torch.tensor([[[1.0, -1.0, 0, 0], [-1.0, 1.0, 0, 0]]]).double(), tensor(0, 0), ball.box()
    )
    for rows in (cut, equal):
        both = meet(ball, rows)
        assert isinstance(both, Meet)
        for k in range(5):
            for y in (both.project(uniform(k, (1, 4), -2, 2)), samples(both, k, torch.float64)):
                assert both.contains(y) and torch.equal(y[:, 2:], tensor(0.1, 0.7))
                assert rows is cut or y[0, 0] == y[0, 1]


def test_what_meets_in_a_better_form() -> None:
    unit = Box(torch.zeros(1, 2), torch.ones(1, 2))
    flat = Box(torch.zeros(1, 4), torch.full((1, 4), 0.5))
    product = Product([Ball(unit.centre(), 0.4, 2), unit])
    coupled = Coupled(unit, unit, torch.zeros(2), torch.ones(2))
    close = CoupledBall(unit, unit, 0.3, 2)
    x = tensor(0.4, 0.4, 0.5, 0.5)
    for inputs in (product, coupled, close):
        for both in (meet(inputs, flat), meet(flat, inputs)):
            assert type(both) is type(inputs)
            assert both.contains(x) and not both.contains(x + 0.01)
            assert inputs.contains(x + 0.01) or inputs is close
    pair = meet(product, Product([unit, Ball(unit.centre(), 0.2, 1)]))
    assert isinstance(pair, Product) and pair.contains(x) and not pair.contains(tensor(0.5, 0.5, 0.4, 0.3))
    both = meet(meet(Ball(tensor(0, 0), 1.0, 2), Ball(tensor(0.1, 0), 1.0, 2)), Ball(tensor(0, 0.1), 1.0, 1))
    assert isinstance(both, Meet) and len(both.sets) == 3
    with pytest.raises(ShapeError, match=r"cannot intersect \(1, 4\) with a box of shape \(1, 2\)"):
        meet(product, unit)


def test_few_changed_coordinates_that_are_also_small() -> None:
    center = torch.full((2, 6), 0.5, dtype=torch.float64)
    sparse = SparseBall(center, 2, Box(torch.zeros(2, 6), torch.ones(2, 6)))
    both = meet(sparse, Ball(center, 0.3, 2))
    for k in range(10):
        for y in (both.project(uniform(k, (2, 6), -1, 2)), samples(both, k, torch.float64)):
            assert both.contains(y).all() and ((y != center).sum(1) <= 2).all()


def test_large_row_sets_are_bounded_by_the_members_alone() -> None:
    ball = Ball(torch.zeros(1, 300, dtype=torch.float64), 1.0, 2)
    both = Meet([ball, Ball(torch.full((1, 300), 0.01).double(), 5.0, 1)])
    a = uniform(0, (1, 2000, 300))
    upper = both.support(a)
    assert (upper <= ball.support(a)).all()
    assert (upper[:, :5] >= both.support(a[:, :5]) - 1e-9).all()
    points = torch.cat([samples(both, k, torch.float64) for k in range(10)])
    assert ((a[0] @ points.T).amax(1) <= upper[0]).all()


def test_sets_that_miss_each_other() -> None:
    with pytest.raises(EmptySetError, match="at sample 1 of 2 sets"):
        Meet([Ball(torch.zeros(2, 2), 1.0, 2), Ball(torch.tensor([[0.0, 0.0], [1.6, 1.6]]), 1.0, 2)])
    with pytest.raises(EmptySetError):
        Meet([Ball(tensor(0, 0), 1.0, 2), Ball(tensor(9, 0), 1.0, 2)])  # not even their hulls meet
    with pytest.raises(ShapeError, match=r"set 1 has shape \(1, 3\), set 0 \(1, 2\)"):
        Meet([Ball(tensor(0, 0), 1.0, 2), Ball(tensor(0, 0, 0), 1.0, 2)])
    with pytest.raises(ShapeError, match="no sets"):
        Meet([])

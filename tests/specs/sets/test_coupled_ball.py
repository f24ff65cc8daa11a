"""Pairs with x' - x in an l1 or l2 ball, against convex programs solved by others, and by hand."""

from __future__ import annotations

import math
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from robustbench_local.errors import EmptySetError, RadiusError, ShapeError, SpecError
from robustbench_local.specs import Box, CoupledBall, Product

from .random_sets import Draw, random_coupled_ball, samples, uniform


def boxes(first: tuple[float, float] = (0, 1), second: tuple[float, float] = (0, 1), n: int = 2) -> list[Box]:
    ones = torch.ones(1, n, dtype=torch.float64)
    return [Box(a * ones, b * ones) for a, b in (first, second)]


def program(inputs: CoupledBall, objective: Any) -> float:
    """max objective(x, x') over set 0, by CLARABEL."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import cvxpy as cp
    n = inputs.shape[0] // 2
    x, y = cp.Variable(n), cp.Variable(n)
    constraints = [cp.norm(y - x, inputs.p) <= float(inputs.radius[0])]
    for variable, box in zip((x, y), inputs.pairs.boxes, strict=True):
        constraints += [variable >= box.lower[0].numpy().ravel(), variable <= box.upper[0].numpy().ravel()]
    problem = cp.Problem(cp.Maximize(objective(x, y)), constraints)
    return float(problem.solve(solver=cp.CLARABEL))


@pytest.mark.parametrize("seed", range(16))
def test_support_equals_the_cone_program(seed: int) -> None:
    inputs = random_coupled_ball(Draw(seed, 1, (4,), torch.float64, 1.0, 1))
    a = uniform(seed + 9, (1, 3, 8))
    a[:, 2, 4:] = -a[:, 2, :4]  # of the difference alone
    for k, upper in enumerate(inputs.support(a)[0].tolist()):
        p, q = a[0, k, :4].numpy(), a[0, k, 4:].numpy()
        assert upper == pytest.approx(program(inputs, lambda x, y, p=p, q=q: p @ x + q @ y), abs=2e-6)


@pytest.mark.parametrize("seed", range(12))
def test_projection_equals_the_cone_program(seed: int) -> None:
    import cvxpy as cp

    inputs = random_coupled_ball(Draw(seed, 1, (4,), torch.float64, 1.0, 1))
    given = inputs.centre() + 2 * uniform(seed + 50, (1, 8))
    p, q = given[0, :4].numpy(), given[0, 4:].numpy()
    best = -program(inputs, lambda x, y: -cp.sum_squares(x - p) - cp.sum_squares(y - q))
    assert float((inputs.project(given) - given).square().sum()) <= best + 1e-6


def test_by_hand() -> None:
    for p, far in ((1, 0.25), (2, 0.25 / math.sqrt(2))):
        inputs = CoupledBall(*boxes(), 0.25, p)
        y = inputs.project(torch.tensor([[0.5, 0.5, 2.0, 2.0]], dtype=torch.float64))
        first, second = y.chunk(2, 1)
        assert torch.allclose(second, torch.ones(1, 2).double())  # its upper face
        assert float((second - first).norm(p=p)) == pytest.approx(0.25)
        a = torch.tensor([[[0, 0, 1.0, 1.0], [-1.0, -1.0, 1.0, 1.0]]], dtype=torch.float64)
        assert inputs.support(a)[0].tolist() == pytest.approx([2.0, 2 * far if p == 2 else far])
    same = CoupledBall(*boxes(), 0.0, 2)
    x, other = same.split(same.project(uniform(1, (1, 4))))
    assert torch.equal(x, other)


def test_a_pair_on_the_sphere_is_inside_exactly() -> None:
    inputs = CoupledBall(*boxes((-9, 9), (-9, 9)), 5.0, 2)
    x = torch.tensor([[1.0, 1.0, 4.0, 5.0]], dtype=torch.float64)
    assert inputs.contains(x)
    x[0, 3] = math.nextafter(5.0, 6.0)
    assert not inputs.contains(x)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_thousand_coordinates_and_blocks_of_products(p: int, dtype: torch.dtype) -> None:
    unit = Box(torch.zeros(2, 500), torch.ones(2, 500))
    inputs = CoupledBall(unit, unit, torch.tensor([0.5, 3.0]), p)
    x = uniform(0, (2, 1000), -1, 2).to(dtype)
    y = inputs.project(x)
    first, second = inputs.split(y.double())
    assert inputs.contains(y).all() and ((second - first).norm(p=p, dim=1) > 0.99 * inputs.radius).all()
    both = Product([inputs, unit])
    assert both.contains(samples(both, 0, dtype)).all() and both.shapes == ((1000,), (500,))


def test_what_cannot_be_coupled() -> None:
    first, second = boxes((0, 1), (2, 3))
    with pytest.raises(EmptySetError, match=r"no pair of sample 0 is close enough: radius 1.4, smallest l2"):
        CoupledBall(first, second, 1.4, 2)
    touching = CoupledBall(first, second, 2.0, 1)
    assert touching.centre().tolist() == [[1.0, 1.0, 2.0, 2.0]]
    assert torch.equal(touching.project(uniform(0, (1, 4))), touching.centre())
    with pytest.raises(SpecError, match=r"no coupling of norm p = inf. Use p = 1 or 2, or Coupled for inf"):
        CoupledBall(first, first, 1.0, math.inf)
    with pytest.raises(RadiusError):
        CoupledBall(first, first, -1.0, 2)
    with pytest.raises(ShapeError, match="cannot couple"):
        CoupledBall(first, boxes(n=3)[0], 1.0, 2)


def test_bounds_hold_for_many_rows_in_single_precision() -> None:
    inputs = random_coupled_ball(Draw(6, 3, (2, 3), torch.float32, 1.0, 1))
    a = uniform(7, (3, 200, 12)).float()
    points: Tensor = torch.stack([samples(inputs, k, torch.float64) for k in range(50)], 1)
    assert ((a.double() @ points.mT).amax(2) <= inputs.support(a).double() + 1e-6).all()

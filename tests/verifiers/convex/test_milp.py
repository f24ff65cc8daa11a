"""Exact maxima: against every activation pattern, at the maximisers, for every encoded operator."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from robustbench_local.verifiers.convex import LP, MILP, CvxpySolver, Highs
from torch import Tensor, nn
from torch.nn import functional

from robustbench_local.errors import MissingPackageError, SpecError, UnknownNameError
from robustbench_local.specs import Ball, Query
from robustbench_local.verifiers import CROWN, VERIFIERS, Budget, Graph, from_torch

from .networks import TIGHT, enumerated, mlp, random_box, rows_query, sampled

CLOSE = {"rtol": 0.0, "atol": 1e-5}


def graph_of(network: nn.Module, *shape: int) -> Graph:
    return from_torch(network, torch.zeros(1, *shape, dtype=torch.float64))


@pytest.mark.parametrize("seed", range(3))
def test_every_activation_pattern(seed: int) -> None:
    network = mlp((3, 2), seed)
    query = rows_query(network, random_box(seed, batch=2), 2, rows=1)
    graph = graph_of(network, 2)
    solution = MILP().solve(graph, query, TIGHT)
    exact = enumerated(network, query)
    assert solution.bounds.complete and bool(solution.exact.all())
    torch.testing.assert_close(solution.bounds.rows, exact, **CLOSE)
    assert bool((solution.bounds.rows >= exact - 1e-9).all()), "padded, so never below"
    assert bool((solution.bounds.rows <= LP().bound(graph, query, TIGHT).rows + 1e-5).all())


class Layers(nn.Module):
    """linear, an operator, linear; with weights from a seed."""

    def __init__(self, function: object, middle: int, seed: int) -> None:
        super().__init__()
        self.function = function
        self.ends = mlp((), seed, 2, 6), mlp((), seed + 1, middle, 2)
        self.first, self.last = self.ends

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x)))  # type: ignore[operator, no-any-return]


ENCODED = {
    "relu": (torch.relu, 6),
    "leaky_relu": (lambda x: functional.leaky_relu(x, 0.1), 6),
    "leaky_relu of slope 2": (lambda x: functional.leaky_relu(x, 2.0), 6),
    "max_pool1d": (lambda x: functional.max_pool1d(x.unsqueeze(1), 3, 2, 1).flatten(1), 3),
    "max_pool2d": (lambda x: functional.max_pool2d(x.reshape(-1, 1, 2, 3), 2, 1).flatten(1), 2),
    "max_pool2d padded": (lambda x: functional.max_pool2d(x.reshape(-1, 1, 2, 3), 2, 2, 1).flatten(1), 4),
    "abs": (torch.abs, 6),
    "clamp": (lambda x: torch.clamp(x, -0.4, 0.3), 6),
    "clamp_min": (lambda x: torch.clamp(x, min=0.1), 6),
    "hardtanh": (lambda x: functional.hardtanh(x, -0.3, 0.5), 6),
    "relu6": (lambda x: functional.relu6(8 * x) / 8, 6),
    "hardsigmoid": (lambda x: functional.hardsigmoid(6 * x), 6),
    "maximum": (lambda x: torch.maximum(x[:, :3], x[:, 3:]), 3),
    "minimum": (lambda x: torch.minimum(x[:, :3], x[:, 3:]), 3),
    "maximum with a constant": (lambda x: torch.maximum(x, torch.full((1,), 0.2, dtype=x.dtype)), 6),
}


@pytest.mark.parametrize("name", ENCODED)
def test_the_maximum_is_reached_where_it_is_said_to_be(name: str) -> None:
    function, middle = ENCODED[name]
    network = Layers(function, middle, seed=7).eval().requires_grad_(False)
    query = rows_query(network, random_box(7, radius=0.8), 2, rows=2)
    solution = MILP().solve(graph_of(network, 2), query, TIGHT)
    assert bool(solution.exact.all())
    assert bool((sampled(query) <= solution.bounds.rows).all())
    for i in range(2):
        reached = query.atoms(network(solution.points[:, i]))[0, i]
        torch.testing.assert_close(solution.bounds.rows[0, i], reached, **CLOSE)


def test_smooth_operators_give_bounds_that_are_not_called_exact() -> None:
    network = mlp((4, 3), 3)
    network[1] = nn.Sigmoid()
    query = rows_query(network, random_box(3), 2)
    graph = graph_of(network, 2)
    solution = MILP().solve(graph, query, TIGHT)
    assert solution.bounds.complete and not bool(solution.exact.any())
    assert bool((sampled(query) <= solution.bounds.rows).all())
    assert bool((solution.bounds.rows <= LP().bound(graph, query, TIGHT).rows + 1e-5).all())


def test_l1_balls_are_polyhedra_and_l2_balls_are_not() -> None:
    network = mlp((4,), 2, inputs=3)
    graph = graph_of(network, 3)
    centre = torch.tensor([[0.2, -0.1, 0.4]], dtype=torch.float64)
    for p, exact in ((1.0, True), (2.0, False)):
        query = rows_query(network, Ball(centre, 0.9, p), 2)
        solution = MILP().solve(graph, query, TIGHT)
        assert bool((solution.exact == exact).all())
        assert bool((sampled(query) <= solution.bounds.rows).all())
        if exact:
            points = solution.points.transpose(0, 1)
            reached = torch.stack([query.atoms(network(x))[0, i] for i, x in enumerate(points)])
            torch.testing.assert_close(solution.bounds.rows[0], reached, **CLOSE)


def large() -> tuple[Graph, Query]:
    network = mlp((40, 40, 40), 1, inputs=12, outputs=3)
    return graph_of(network, 12), rows_query(network, random_box(1, 12, radius=1.0), 3, rows=2)


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.5])
def test_the_dual_bound_at_the_time_limit_counts(seconds: float) -> None:
    graph, query = large()
    solution = MILP().solve(graph, query, Budget(seconds=seconds, tighten=True))
    assert not solution.bounds.complete and not bool(solution.exact.all())
    assert bool((sampled(query) <= solution.bounds.rows).all())
    assert bool(
        (
            solution.bounds.rows <= CROWN().bound(graph, query, Budget(seconds=0, tighten=True)).rows + 1e-9
        ).all()
    )


def test_tightened_boxes_and_the_solver_through_cvxpy_agree() -> None:
    network = mlp((4, 3), 8)
    query = rows_query(network, random_box(8), 2)
    graph = graph_of(network, 2)
    rows = VERIFIERS["milp"].bound(graph, query, TIGHT).rows
    torch.testing.assert_close(MILP(tighten=True).bound(graph, query, TIGHT).rows, rows, **CLOSE)
    through = MILP(solver=CvxpySolver("HIGHS")).bound(graph, query, TIGHT).rows
    torch.testing.assert_close(through, rows, rtol=0.0, atol=5e-3)  # the tolerances are cvxpy's defaults
    assert bool((through >= rows - 1e-5).all())


@pytest.mark.parametrize("name", ["GUROBI", "SCIP"])
def test_absent_solvers_are_refused_at_the_door(name: str) -> None:
    package = {"GUROBI": "gurobipy", "SCIP": "pyscipopt"}[name]
    if importlib.util.find_spec(package) is not None:
        pytest.skip("installed")
    with pytest.raises(MissingPackageError, match=f"pip install {package}"):
        MILP(solver=CvxpySolver(name))


def test_wrong_solvers_are_refused_at_the_door() -> None:
    with pytest.raises(SpecError, match="no integer programs"):
        MILP(solver=CvxpySolver("CLARABEL"))
    with pytest.raises(UnknownNameError, match="HIGHS"):
        CvxpySolver("HIGH")
    with pytest.raises(SpecError, match="tolerance"):
        Highs(tolerance=1.0)

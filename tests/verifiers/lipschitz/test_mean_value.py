"""The verifier `lipschitz`: sound on boxes and balls, exact for affine networks, a proof on small sets."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from robustbench_local.evaluation import evaluate
from robustbench_local.specs import Ball, Box, InputSet
from robustbench_local.suite import cases_of
from robustbench_local.verifiers import VERIFIERS, Budget, Lipschitz, from_torch

from ..networks import Fn, query_of, set_points, traced, uniform, value
from .test_constants import linear
from .test_jacobian import NETWORKS, network_of


def test_jumps_are_left_to_intervals() -> None:
    """floor is constant on the first two boxes, and jumps in the third."""
    network = Fn(lambda x: torch.floor(x) + 0.5 * x)
    lower = torch.tensor([[0.2, 0.2], [-0.9, 1.1], [0.5, 0.5]])
    inputs = Box(lower, lower + 0.7)
    query, graph = query_of(network, inputs, 2), traced(network, 2)
    rows, intervals = (VERIFIERS[name].bound(graph, query).rows for name in ("lipschitz", "ibp"))
    points = torch.stack([query.atoms(network(x)) for x in set_points(inputs, 50, 1, torch.float32)])
    assert bool((points.amax(0) <= rows + 1e-5).all())
    torch.testing.assert_close(rows, intervals)  # on boxes where the network is affine both are exact


def sets(shape: tuple[int, ...]) -> dict[str, InputSet]:
    centre = uniform(3, (4, *shape), 0, 1)
    radius = torch.tensor([1e-4, 0.05, 0.3, 2.0], dtype=torch.float64)
    unit = Box(torch.zeros_like(centre), torch.ones_like(centre))
    found: dict[str, InputSet] = {f"l{p:g}": Ball(centre, radius, p=p) for p in (1.0, 2.0, math.inf)}
    return {
        **found,
        "cut": Ball(centre, radius, p=2.0) & unit,
        "off": Ball(centre - 0.3, radius + 3, p=2.0) & unit,
    }


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kind", ["l1", "l2", "linf", "cut", "off"])
def test_no_point_is_above_the_bound(name: str, kind: str) -> None:
    graph, shape = network_of(name)
    inputs = sets(shape)[kind]
    query = query_of(graph.run, inputs, graph.output.numel)
    bounds = Lipschitz().bound(graph, query)
    for x in set_points(inputs, 20, 5, torch.float64):
        rows = query.atoms(graph.run(x))
        assert bool((rows <= value(bounds) + 1e-9 * (1 + rows.abs())).all())
    assert torch.equal(bounds.upper, query.combine(bounds.rows)) and bounds.complete


@pytest.mark.parametrize("kind", ["l1", "l2", "linf"])
def test_affine_networks_are_exact(kind: str) -> None:
    weight = uniform(5, (3, 6))
    graph, inputs = linear(weight), sets((6,))[kind]
    query = query_of(graph.run, inputs, 3)
    want = VERIFIERS["crown"].bound(graph, query).rows
    torch.testing.assert_close(value(Lipschitz().bound(graph, query)), want.detach())


def test_gradients_reach_the_weights() -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    graph = traced(layer, 3)
    Lipschitz().bound(
        graph, query_of(layer, Box(torch.zeros(1, 3), torch.ones(1, 3)), 2)
    ).upper.sum().backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in layer.parameters())


def test_out_of_time_the_bound_is_that_of_intervals() -> None:
    graph, shape = network_of("residual")
    query = query_of(graph.run, sets(shape)["linf"], 3)
    hurried = Lipschitz().bound(graph, query, Budget(seconds=0.0))
    assert not hurried.complete
    assert bool((hurried.rows <= VERIFIERS["ibp"].bound(graph, query).rows + 1e-9).all())


def test_it_proves_digits() -> None:
    """On a trained network it gives HOLDS, where CROWN holds too, and no alarm beside an attack."""
    from robustbench_local.attacks import ATTACKS
    from robustbench_local.data import load_dataset
    from robustbench_local.named_models import find_model

    data = load_dataset("digits", split="test").select(torch.arange(20))
    cases = cases_of(find_model("digits-mlp:pgd"), data, spec="robustness", norm="l2", eps=0.1)
    methods = {"pgd": ATTACKS["pgd"], "lipschitz": VERIFIERS["lipschitz"], "crown": VERIFIERS["crown"]}
    table = evaluate([cases], methods)
    holds = {name: (table[table["method"] == name]["verdict"] == "HOLDS").to_numpy() for name in methods}
    assert holds["lipschitz"].sum() >= 10
    assert not (holds["lipschitz"] & ~holds["crown"]).any()


def test_float32_rows_are_rounded_up() -> None:
    network = torch.nn.Linear(1, 1)
    network.weight.data, network.bias.data = torch.tensor([[1.0]]), torch.tensor([0.1])
    point: Tensor = torch.full((1, 1), 0.2, dtype=torch.float64)
    query = query_of(network, Box(point, point), 1)
    exact = query.atoms(torch.tensor([[float(torch.tensor(0.1)) + 0.2]], dtype=torch.float64))
    found = Lipschitz().bound(from_torch(network, torch.zeros(1, 1)), query).rows
    assert found.dtype == torch.float32 and bool((found.double() >= exact).all())

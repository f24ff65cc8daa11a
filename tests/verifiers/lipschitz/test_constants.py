"""Lipschitz constants: above every quotient of differences, equal for linear maps."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from robustbench_local.verifiers.lipschitz import dual_norm
from torch import Tensor, nn

from robustbench_local.errors import SpecError
from robustbench_local.specs import Ball, Box
from robustbench_local.verifiers import Graph, global_lipschitz, local_lipschitz

from ..networks import Fn, box_points, traced, uniform
from .test_jacobian import NETWORKS, boxes_of, network_of

NORMS = pytest.mark.parametrize("p", [1.0, 2.0, math.inf])


def size(x: Tensor, p: float) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(x.flatten(1), ord=p, dim=1)
    return norm


@pytest.mark.parametrize("name", NETWORKS)
@NORMS
def test_no_quotient_of_differences_is_larger(name: str, p: float) -> None:
    graph, shape = network_of(name)
    lower, upper = boxes_of(shape)
    local, overall = local_lipschitz(graph, Box(lower, upper), p), global_lipschitz(graph, p)
    points = box_points(lower, upper, count=20)
    for x, z in pairwise(points):
        far = size(x - z, p) > 0
        moved, step = (graph.run(x) - graph.run(z))[far], size(x - z, p)[far]
        assert bool((moved.abs() <= local[far] * step.unsqueeze(1) * (1 + 1e-9)).all())
        assert bool((size(moved, p) <= overall * step * (1 + 1e-9)).all())


def linear(weight: Tensor) -> Graph:
    layer = nn.Linear(weight.shape[1], weight.shape[0]).double()
    layer.weight.data, layer.bias.data = weight, uniform(8, (weight.shape[0],))
    return traced(layer, weight.shape[1], dtype=torch.float64)


@NORMS
def test_a_linear_map_has_its_norm(p: float) -> None:
    weight = uniform(5, (4, 6))
    graph = linear(weight)
    box = Box(-torch.ones(1, 6), torch.ones(1, 6))
    torch.testing.assert_close(local_lipschitz(graph, box, p)[0], dual_norm(weight, p))
    C = uniform(6, (2, 4))
    torch.testing.assert_close(local_lipschitz(graph, box, p, C=C)[0], dual_norm(C @ weight, p))
    exact = float(torch.linalg.matrix_norm(weight, p))
    assert exact <= global_lipschitz(graph, p) <= exact * (1 + 1e-9)


def test_dual_norms_by_hand() -> None:
    a = torch.tensor([3.0, -4.0])
    assert [float(dual_norm(a, p)) for p in (1.0, 2.0, math.inf)] == [4.0, 5.0, 7.0]


def test_global_constants_by_hand() -> None:
    """Slopes and norms multiply, branches add."""
    cases = [
        (lambda x: torch.relu(-3 * x), 3.0),
        (lambda x: torch.sigmoid(2 * x), 0.5),
        (lambda x: x + torch.tanh(x), 2.0),
        (lambda x: x - 0.5 * x, 1.5),
        (lambda x: torch.nn.functional.leaky_relu(x, 2.0), 2.0),
        (lambda x: x.mul(0), 0.0),
    ]
    for function, want in cases:
        graph = traced(Fn(function), 4)
        for p in (1.0, 2.0, math.inf):
            assert global_lipschitz(graph, p) == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize(
    ("layer", "shape", "want"),
    [
        (nn.AvgPool2d(2), (1, 4, 4), (0.25 * 1, 0.5, 1.0)),
        (nn.MaxPool2d(2), (1, 4, 4), (1.0, 1.0, 1.0)),
        (nn.MaxPool2d(2, 1), (1, 3, 3), (4.0, 2.0, 1.0)),
        (nn.Flatten(), (1, 4, 4), (1.0, 1.0, 1.0)),
        (nn.ZeroPad2d(1), (1, 4, 4), (1.0, 1.0, 1.0)),
    ],
    ids=["average", "maximum", "overlapping maximum", "flatten", "pad"],
)
def test_global_constants_of_layers(
    layer: nn.Module, shape: tuple[int, ...], want: tuple[float, ...]
) -> None:
    graph = traced(layer, *shape)
    found = [global_lipschitz(graph, p) for p in (1.0, 2.0, math.inf)]
    assert found == [pytest.approx(w, rel=1e-9) for w in want]


def test_small_sets_have_small_constants() -> None:
    graph, shape = network_of("relu")
    centre = uniform(2, (3, *shape))
    found = [local_lipschitz(graph, Ball(centre, r, p=2.0), 2.0) for r in (1e-6, 0.1, 1.0)]
    assert bool((found[0] <= found[1] + 1e-12).all() and (found[1] <= found[2] + 1e-12).all())
    x = centre.clone().requires_grad_()
    gradient = torch.autograd.grad(graph.run(x)[:, 0].sum(), x)[0]
    torch.testing.assert_close(found[0][:, 0], torch.linalg.vector_norm(gradient, dim=1))


def test_other_norms_are_refused() -> None:
    graph, shape = network_of("relu")
    with pytest.raises(SpecError, match="p = 3"):
        local_lipschitz(graph, Box(torch.zeros(1, *shape), torch.ones(1, *shape)), 3.0)
    with pytest.raises(SpecError, match="p = 0"):
        global_lipschitz(graph, 0.0)


def test_weights_that_are_not_finite_give_infinity() -> None:
    graph = linear(torch.ones(1, 2, dtype=torch.float64))
    with torch.no_grad():  # the graph holds the live weights
        next(c for c in graph.constants() if c.dim() == 2).fill_(math.nan)
    for p in (1.0, 2.0, math.inf):
        assert global_lipschitz(graph, p) == math.inf

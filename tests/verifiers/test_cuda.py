"""The same bounds on a CUDA device as on the CPU."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.specs import Ball, Box, InputSet
from robustbench_local.verifiers import from_torch, output_bounds

from .networks import ENGINES, Fn, query_of, traced, uniform, value

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def _forward(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module) -> Tensor:
    h = torch.relu(a(x))
    h = torch.tanh(h + b(h))
    return c(torch.max_pool2d(h, 2).flatten(1))


def network() -> Fn:
    parts = (nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.Conv2d(3, 3, 3, padding=1), nn.Linear(12, 3))
    return Fn(_forward, *parts).requires_grad_(False)


def sets(x: Tensor) -> dict[str, InputSet]:
    ones = torch.ones_like(x)
    return {
        "box": Box(x - 0.05, x + 0.1),
        "linf": Ball(x, 0.1, float("inf")),
        "l2": Ball(x, 0.5, 2),
        "l1": Ball(x, 0.5, 1),
        "l2 in a box": Ball(x, 0.5, 2) & Box(-ones, ones),
    }


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", sets(torch.zeros(1, 1, 8, 8)))
def test_bounds_equal_those_of_the_cpu(kind: str, engine: str) -> None:
    x = uniform(1, (3, 1, 8, 8)).float()
    home, away = network().double(), copy.deepcopy(network()).double().cuda()
    graph = traced(home, 1, 8, 8, dtype=torch.float64)
    on_device = from_torch(away, x.double().cuda())
    assert (on_device.device.type, graph.to("cuda").device.type) == ("cuda", "cuda")
    want = value(ENGINES[engine].bound(graph, query_of(home, sets(x)[kind], 3)))
    query = query_of(away, sets(x.cuda())[kind], 3)
    query = type(query)(away, query.inputs, query.C.cuda(), query.d.cuda(), query.tree)
    for moved in (on_device, graph.to("cuda")):
        got = value(ENGINES[engine].bound(moved, query))
        assert got.device.type == "cuda"
        torch.testing.assert_close(got.cpu(), want)


@pytest.mark.parametrize("engine", ENGINES)
def test_output_bounds_stay_on_the_device(engine: str) -> None:
    x = uniform(1, (3, 1, 8, 8)).float().cuda()
    graph = traced(network(), 1, 8, 8).to("cuda")
    low, high = output_bounds(graph, x - 0.1, x + 0.1, ENGINES[engine])
    assert low.device.type == high.device.type == "cuda"
    assert bool((low <= graph.run(x) + 1e-4).all() and (graph.run(x) <= high + 1e-4).all())

"""alpha-CROWN that goes on: never looser than where it started, on the same sets and on parts of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.errors import ShapeError
from robustbench_local.specs import Box, Query
from robustbench_local.verifiers import AlphaCROWN, Budget, Graph, Tuning, resumed

from .networks import Fn, box_points, query_of, run_points, traced, uniform

FEW = AlphaCROWN(tuning=Tuning(steps=3))


def problem() -> tuple[Fn, Graph, Query]:
    layers = (nn.Linear(4, 12), nn.Linear(12, 12), nn.Linear(12, 3))
    network = Fn(lambda x, a, b, c: c(torch.relu(b(torch.tanh(a(x))))), *layers).requires_grad_(False)
    x = uniform(1, (3, 4)).float()
    return network, traced(network, 4), query_of(network, Box(x - 0.5, x + 0.5), 3)


def rows_of(network: Fn, query: Query) -> Tensor:
    points = box_points(*query.inputs.box().cast(torch.float32))
    return torch.stack([query.atoms(y) for y in run_points(network, points)]).amax(0)


def test_more_steps_later_are_better_and_valid() -> None:
    network, graph, query = problem()
    first, warm = resumed(FEW, graph, query)
    again, _ = resumed(FEW, graph, query, warm)
    cold, _ = resumed(FEW, graph, query)
    torch.testing.assert_close(cold.rows, first.rows)
    assert bool((again.rows <= first.rows + 1e-5).all()) and float((first.rows - again.rows).mean()) > 1e-4
    assert bool((rows_of(network, query) <= again.rows + 1e-5).all())


def test_a_parent_serves_its_children() -> None:
    network, graph, query = problem()
    whole, warm = resumed(FEW, graph, query)
    lower, upper = query.inputs.box().cast(torch.float32)
    middle = upper.clone()
    middle[:, 0] = (lower[:, 0] + upper[:, 0]) / 2
    right = lower.clone()
    right[:, 0] = middle[:, 0]
    twice = torch.arange(3).repeat(2)
    halves = Box(torch.cat((lower, right)), torch.cat((middle, upper)))
    children = Query(network, halves, query.C[twice], query.d[twice], query.tree)
    found, _ = resumed(FEW, graph, children, warm.select(twice))
    assert bool((found.rows <= whole.rows[twice] + 1e-5).all())
    assert bool((rows_of(network, children) <= found.rows + 1e-5).all())


def test_little_memory_changes_nothing() -> None:
    _, graph, query = problem()
    whole, warm = resumed(FEW, graph, query)
    parts, same = resumed(FEW, graph, query, budget=Budget(memory_bytes=40_000))
    torch.testing.assert_close(parts.rows, whole.rows, rtol=1e-4, atol=1e-4)
    assert {k: v.shape for k, v in same.slopes.items()} == {k: v.shape for k, v in warm.slopes.items()}


def test_shared_parameters_are_a_start_too() -> None:
    network, graph, query = problem()
    little = Budget(memory_bytes=2000)
    first, warm = resumed(FEW, graph, query, budget=little)
    assert warm.slopes and all(values.shape[1] == 1 for values in warm.slopes.values())
    again, same = resumed(FEW, graph, query, warm, budget=little)
    assert {k: v.shape for k, v in same.slopes.items()} == {k: v.shape for k, v in warm.slopes.items()}
    assert bool((again.rows <= first.rows + 1e-5).all())
    assert bool((rows_of(network, query) <= again.rows + 1e-5).all())


def test_a_foreign_start_is_refused() -> None:
    _, graph, query = problem()
    _, warm = resumed(FEW, graph, query)
    with pytest.raises(ShapeError, match="another graph or batch"):
        resumed(FEW, graph, query, warm.select(torch.tensor([0])))

"""Nodes that count as exact: their interval bounds are the range, and what must not count does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from robustbench_local.verifiers.exactness import exact_nodes
from torch import Tensor

from robustbench_local.specs import Box
from robustbench_local.verifiers import interval_bounds

from .networks import Fn, run_points, traced, up_to

Network = Callable[[Tensor], Tensor]

#: Networks of three inputs whose output is exact, and whose output is not.
EXACT: dict[str, Network] = {
    "a sum of different inputs": lambda x: x[:, 0] + 2 * x[:, 1],
    "a product of different inputs": lambda x: x[:, :1] * x[:, 1:2],
    "a product of bent inputs": lambda x: x[:, :1].sigmoid() * (x[:, 1:2].tanh() - x[:, 2:].exp()),
    "a wave per pixel": lambda x: x[:, :1].cos() * torch.linspace(-1, 1, 4) + x[:, 1:2] * torch.ones(4),
    "a mix of bent inputs": lambda x: x.relu() @ torch.tensor([[1.0], [-2.0], [0.5]]),
    "a bent mix": lambda x: (x @ torch.tensor([[1.0], [-2.0], [0.5]])).relu(),
    "a flipped sum": lambda x: x[:, :2] + x.flip(1)[:, :1] * torch.tensor([1.0, 1.0]),
}
LOOSE: dict[str, Network] = {
    "an input twice": lambda x: x[:, 0] * (x[:, 1] - x[:, 0]),
    "copies that meet": lambda x: x[:, :1].expand(-1, 2).clone() @ torch.tensor([[1.0], [-1.0]]),
    "two mixes": lambda x: (x @ torch.ones(3, 2)).relu() @ torch.tensor([[1.0], [-1.0]]),
    "a mix of sums": lambda x: (x[:, :1] + x[:, 1:]) @ torch.tensor([[1.0], [-1.0]]),
    "mixes that share an input": lambda x: (x @ torch.ones(3, 1)) * x[:, :1],
}


def points() -> tuple[Box, Tensor]:
    """A box, and a grid over it with its corners and the zero of each axis."""
    lower, upper = torch.tensor([[-0.5, 0.2, -1.0]]), torch.tensor([[1.0, 0.7, 0.4]])
    axes = [torch.cat((torch.linspace(float(a), float(b), 15), torch.zeros(int(a < 0 < b))))
            for a, b in zip(lower[0], upper[0], strict=True)]  # fmt: skip
    return Box(lower, upper), torch.cartesian_prod(*axes).unsqueeze(1)


@pytest.mark.parametrize("name", [*EXACT, *LOOSE])
def test_bounds_of_exact_nodes_are_ranges(name: str) -> None:
    graph = traced(Fn({**EXACT, **LOOSE}[name]), 3).resolved()
    found = exact_nodes(graph)
    assert (graph.output in found) == (name in EXACT)
    box, grid = points()
    bounds = interval_bounds(graph, box)
    for node in found - {graph.input}:
        y = run_points(up_to(graph, node).run, grid)
        torch.testing.assert_close(bounds[node].lower, y.amin(0), rtol=0, atol=1e-5)
        torch.testing.assert_close(bounds[node].upper, y.amax(0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", LOOSE)
def test_what_is_not_exact_is_looser(name: str) -> None:
    graph = traced(Fn(LOOSE[name]), 3).resolved()
    box, grid = points()
    bounds, y = interval_bounds(graph, box)[graph.output], run_points(graph.run, grid)
    assert bool((bounds.upper - bounds.lower > y.amax(0) - y.amin(0) + 1e-3).any())

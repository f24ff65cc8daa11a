"""Without neurons that are off throughout a network computes the same, and so do trees of its neurons."""

from __future__ import annotations

import pytest
import torch
from robustbench_local.verifiers.branching.bounding import DomainRows, Multipliers, boxes_of
from robustbench_local.verifiers.branching.neuron_trees import NeuronTrees
from robustbench_local.verifiers.branching.problem import Roots, inflated
from robustbench_local.verifiers.branching.pruning import Pruned
from robustbench_local.verifiers.slopes import Slopes
from torch import Tensor, nn

from robustbench_local.specs import Atom, Box, Query
from robustbench_local.verifiers import Graph, interval_bounds

from ..networks import Fn, fill, traced

INPUTS = Box(torch.full((2, 3), -0.3), torch.full((2, 3), 0.3))
WIDE = Box(torch.full((2, 3), -0.7), torch.full((2, 3), 0.7))


def _graph(seed: int, bias: bool = True) -> Graph:
    """Three hidden layers of 12, of which many neurons are off."""
    layers = [nn.Linear(3, 12), nn.Linear(12, 12, bias=bias), nn.Linear(12, 12), nn.Linear(12, 2)]
    network = nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])
    fill(network, seed)
    with torch.no_grad():
        for layer in layers[:2]:
            layer.weight[:3] *= 0.1  # off, whatever the others do
            if layer.bias is not None:
                layer.bias[:3] = -3
    return traced(network.eval().requires_grad_(False), 3)


def _points(count: int) -> Tensor:
    return (torch.rand(count, 3, generator=torch.Generator().manual_seed(count)) - 0.5) * 0.6


def _roots(graph: Graph) -> Roots:
    C, d = torch.zeros(2, 1, 2, dtype=torch.float64), torch.zeros(2, 1, dtype=torch.float64)
    query = Query(graph.run, WIDE, C, d, Atom(0, True))
    index = torch.arange(2)
    boxes = inflated(interval_bounds(graph, WIDE))
    return Roots.of(graph, query, boxes, (index, torch.zeros_like(index).unsqueeze(1)), {})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("bias", [True, False])
def test_what_is_left_computes_the_same(seed: int, bias: bool) -> None:
    graph = _graph(seed, bias)
    boxes = inflated(interval_bounds(graph, INPUTS))
    small = Pruned.of(graph, boxes)
    assert [n.index for n in small.graph.nodes] == [n.index for n in graph.nodes]
    x = _points(200)
    torch.testing.assert_close(small.graph.run(x), graph.run(x))
    left = sum(n.numel for n in small.graph.nodes)
    assert left <= sum(n.numel for n in graph.nodes) - 6  # three relus and what they read
    values = {graph.input: x}
    for node in graph.nodes[1:]:
        values[node] = node.run(*(values[p] for p in node.inputs))
        if node.index in small.kept and "relu" in str(node.op):
            off = torch.ones(node.numel, dtype=torch.bool)
            off[small.kept[node.index]] = False
            assert (values[node][:, off] == 0).all()
    for node, box in small.boxes(boxes).items():
        assert tuple(box.lower.shape[1:]) == node.shape


def test_what_other_operators_read_stays() -> None:
    """Sums and products of a layer need all of it; so does whoever reads it before the relu."""
    first, last = nn.Linear(3, 8), nn.Linear(8, 2)

    def added(x: Tensor, first: nn.Module, last: nn.Module) -> Tensor:
        y: Tensor = last(torch.relu(first(x) - 9) + 1)
        return y

    def twice(x: Tensor, first: nn.Module, last: nn.Module) -> Tensor:
        z = first(x)
        y: Tensor = last(torch.relu(z)) + z[:, :2]
        return y

    for function in (added, twice):
        graph = traced(Fn(function, first, last).requires_grad_(False), 3)
        with torch.no_grad():
            first.bias -= 9
        small = Pruned.of(graph, interval_bounds(graph, INPUTS))
        assert not small.kept
        x = _points(20)
        assert torch.equal(small.graph.run(x), graph.run(x))


@pytest.mark.parametrize("seed", range(4))
def test_leaves_show_on_the_whole_network_what_trees_found_on_the_smaller_one(seed: int) -> None:
    graph = _graph(seed)
    roots = _roots(graph)
    node = graph.nodes[5]  # the third linear map
    box = roots.boxes[node]
    problem, place = ((box.lower < 0) & (box.upper > 0)).nonzero().unbind(1)
    trees = NeuronTrees.of(roots, node, (problem, place), (4, 2, 16), float("inf"))
    low, high = trees.bounds()
    leaves, wide = trees.grown(), trees.roots.double()
    assert trees.lean[1].kept
    assert leaves.count > 2 * len(place)
    splits = leaves.splits.double()
    boxes, empty = boxes_of(wide, leaves.root, splits, refresh=False)
    rows = DomainRows(wide, leaves.root, splits, leaves.scale.double(), boxes)
    values: dict[object, Tensor] = {wide.graph.nodes[n.index]: v.double() for n, v in leaves.slopes.items()}
    values[Multipliers] = leaves.multipliers.double().unsqueeze(1)
    found = rows.lower(Slopes(values=values)).squeeze(1).masked_fill(empty, torch.inf)
    worst = torch.full((trees.roots.count,), torch.inf, dtype=torch.float64)
    worst = worst.scatter_reduce(0, leaves.root, found, "amin")
    ends = torch.cat((low, -high))
    assert (worst <= ends + 1e-6).all()  # a tree's root may be better than its leaves
    assert ((worst - ends).abs() < 1e-6).float().mean() > 0.5
    assert (worst[: len(place)] > box.lower[problem, place] + 1e-3).any()

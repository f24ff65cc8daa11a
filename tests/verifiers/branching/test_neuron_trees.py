"""Trees of hidden neurons hold every value a neuron takes; searches that use them stay right."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.branching.problem import Roots, inflated
from robustbench_local.verifiers.branching.refining import refinable, refined
from robustbench_local.verifiers.branching.settings import Settings
from torch import Tensor, nn

from robustbench_local.specs import Any, Atom, Ball, Box, Query
from robustbench_local.verifiers import (
    VERIFIERS,
    AlphaCROWN,
    BranchAndBound,
    Budget,
    Graph,
    Interval,
    Node,
    Tuning,
    interval_bounds,
)

from ..networks import fill, traced

BEST = Budget(tighten=True)


def _graph(seed: int, kind: type[nn.Module], sizes: tuple[int, ...], last: bool = False) -> Graph:
    layers = [[nn.Linear(a, b), kind()] for a, b in itertools.pairwise(sizes)]
    network = nn.Sequential(*[layer for pair in layers for layer in pair][: None if last else -1])
    fill(network, seed)
    return traced(network.eval().requires_grad_(False), sizes[0])


def _roots(graph: Graph, inputs: Box | Ball) -> Roots:
    C = torch.zeros(inputs.batch, 1, graph.output.numel, dtype=torch.float64)
    query = Query(graph.run, inputs, C, torch.zeros(inputs.batch, 1, dtype=torch.float64), Atom(0, True))
    index = torch.arange(inputs.batch)
    boxes = interval_bounds(graph, inputs)
    return Roots.of(graph, query, inflated(boxes), (index, torch.zeros_like(index).unsqueeze(1)), {})


def _values(graph: Graph, points: Tensor) -> dict[Node, Tensor]:
    values = {graph.input: points}
    for node in graph.nodes[1:]:
        values[node] = node.run(*(values[p] for p in node.inputs))
    return values


def _refined(
    graph: Graph, inputs: Box | Ball, rounds: int
) -> tuple[dict[Node, Interval], dict[Node, Interval]]:
    boxes = interval_bounds(graph, inputs)
    better = refined(_roots(graph, inputs), boxes, Settings(rounds=rounds, batch=16), Budget())
    return boxes, inflated(better)


@given(
    st.integers(0, 1000),
    st.sampled_from([nn.ReLU, nn.Tanh, nn.Sigmoid, nn.LeakyReLU]),
    st.integers(1, 6),
    st.booleans(),
)
@settings(max_examples=6, deadline=None)
def test_every_value_lies_within(seed: int, kind: type[nn.Module], rounds: int, ball: bool) -> None:
    graph = _graph(seed, kind, (3, 8, 8, 8, 2))
    source = torch.Generator().manual_seed(seed)
    centre = torch.rand(2, 3, generator=source) - 0.5
    inputs = Ball(centre, 0.6, 2.0) if ball else Box(centre - 0.6, centre + 0.6)
    before, after = _refined(graph, inputs, rounds)
    narrower = 0
    for b in range(2):
        one = inputs.select(torch.full((3000,), b))
        shift = torch.rand(3000, 3, generator=source) * 1.4 - 0.7
        points = one.project(centre[b] + shift)
        for node, z in _values(graph, points).items():
            box, old = after[node], before[node]
            assert (z >= box.lower[b] - 1e-5).all() and (z <= box.upper[b] + 1e-5).all(), node.name
            width, wide = box.upper[b] - box.lower[b], old.upper[b] - old.lower[b]
            narrower += int((width < 0.95 * wide).sum())
    assert narrower > 5  # else this would say nothing


@pytest.mark.parametrize("seed", range(3))
def test_rounds_bring_bounds_closer_to_the_true_ends(seed: int) -> None:
    graph = _graph(seed, nn.ReLU, (2, 5, 5, 1))
    inputs = Box(-torch.ones(1, 2), torch.ones(1, 2))
    axis = torch.linspace(-1, 1, 401)
    z = _values(graph, torch.cartesian_prod(axis, axis))[graph.nodes[3]]
    crossing = (z.amin(0) < -0.05) & (z.amax(0) > 0.05)  # others are left alone once their sign is known
    slack = []
    for rounds in (0, 3):
        box = _refined(graph, inputs, rounds)[1][graph.nodes[3]]
        low, high = z.amin(0) - box.lower[0], box.upper[0] - z.amax(0)
        slack.append(float((low + high)[crossing].sum()))
    assert bool(crossing.any()) and slack[1] < 0.7 * slack[0]


def test_time_is_kept_and_what_is_left_gets_plain_bounds() -> None:
    graph = _graph(1, nn.ReLU, (3, 8, 8, 8, 2))
    inputs = Box(-torch.ones(1, 3), torch.ones(1, 3))
    boxes = interval_bounds(graph, inputs)
    late = refined(_roots(graph, inputs), boxes, Settings(), Budget(seconds=0.0))
    points = torch.rand(2000, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    for node, z in _values(graph, points).items():
        assert (z >= late[node].lower - 1e-5).all() and (z <= late[node].upper + 1e-5).all()
        assert (late[node].lower >= boxes[node].lower).all()


def test_images_are_left_alone() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 2)).eval()
    assert not refinable(traced(network.requires_grad_(False), 1, 6, 6))
    assert refinable(_graph(0, nn.ReLU, (3, 4, 2)))


EARLY = BranchAndBound(
    root=AlphaCROWN(tuning=Tuning(steps=1), hidden=False),
    settings=Settings(refine=2, rounds=3, tighten=0, batch=4),
)


@pytest.mark.parametrize("seed", range(4))
def test_searches_with_trees_of_neurons_stay_right(seed: int) -> None:
    graph = _graph(seed, nn.ReLU, (3, 12, 12, 2))
    inputs = Box(torch.full((1, 3), -0.7), torch.full((1, 3), 0.7))
    eye = torch.eye(2, dtype=torch.float64).unsqueeze(0)
    free = Query(graph.run, inputs, eye[:, :1], torch.zeros(1, 1, dtype=torch.float64), Atom(0, True))
    exact = float(VERIFIERS["milp"].bound(graph, free, BEST).upper)
    for gap, holds in ((0.01, True), (-0.01, False)):
        d = torch.tensor([[-exact - gap, -1e3]], dtype=torch.float64)
        query = Query(graph.run, inputs, eye, d, Any((Atom(0, True), Atom(1, True))))
        found, state = EARLY.resumed(graph, query, None, Budget(seconds=60))
        assert state is not None and (not holds or state.trees[0].refined[0] != 0)
        assert bool(query.holds(found.upper)) == holds
        if not holds:
            assert found.points is not None and query.violated(found.points).all()
        again = EARLY.restored(graph, query, state.tensors())
        assert [one.refined for one in again.trees] == [one.refined for one in state.trees]


@pytest.mark.parametrize("seed", range(4))
def test_a_domain_without_the_label_is_refuted_by_its_split_alone(seed: int) -> None:
    """Below the kink of the label's relu the clause has no coefficients; no point is there, though."""
    graph = _graph(seed, nn.ReLU, (3, 12, 12, 2), last=True)
    inputs = Box(torch.full((1, 3), -0.7), torch.full((1, 3), 0.7))
    zero = torch.zeros(1, 1, dtype=torch.float64)
    scores = graph.until(graph.nodes[-2])
    ends = []
    for row in ([[[-1.0, 0.0]]], [[[0.0, 1.0]]]):
        C = torch.tensor(row, dtype=torch.float64)
        ends.append(
            float(
                VERIFIERS["milp"].bound(scores, Query(scores.run, inputs, C, zero, Atom(0, True)), BEST).upper
            )
        )
    shift = torch.tensor([ends[0] + 0.3, 0.1 - ends[1]])  # least score of the label 0.3, largest other 0.1
    bias = next(c for c in graph.nodes[-2].constants() if c.dim() == 1)
    bias += shift
    C = torch.tensor([[[-1.0, 1.0]]], dtype=torch.float64)
    query = Query(graph.run, inputs, C, zero, Atom(0, False))
    plain = BranchAndBound(root=EARLY.root, settings=Settings(refine=0, tighten=0, clip=0, batch=4))
    assert bool(query.holds(plain.bound(graph, query, Budget(seconds=60)).upper))


def test_nothing_is_bounded_where_nothing_is_undecided() -> None:
    """In a point every neuron is decided: no tree grows, also behind an index."""

    class Picked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.last = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.relu(self.first(x[:, [2, 0, 1, 0]]))
            z: Tensor = self.last(torch.relu(self.second(y[:, [5, 4, 3, 2, 1, 0]])))
            return z

    network = Picked()
    fill(network, 1)
    graph = traced(network.eval().requires_grad_(False), 3)
    point = torch.full((1, 3), 0.3)
    _, better = _refined(graph, Box(point, point.clone()), 2)
    y = network(point)
    box = better[graph.output]
    assert bool((box.lower <= y + 1e-6).all() and (y <= box.upper + 1e-6).all())

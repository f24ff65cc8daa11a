"""Hidden bounds of single domains hold every possible counterexample; searches that use them stay right."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.branching.bounding import boxes_of
from robustbench_local.verifiers.branching.domains import Splits
from robustbench_local.verifiers.branching.planes import planes_of
from robustbench_local.verifiers.branching.problem import Roots, inflated
from robustbench_local.verifiers.branching.settings import Settings
from robustbench_local.verifiers.branching.tightening import Restricted, taken_over
from robustbench_local.verifiers.branching.trees import Trees
from torch import Tensor, nn

from robustbench_local.specs import Any, Atom, Box, Query
from robustbench_local.verifiers import (
    VERIFIERS,
    AlphaCROWN,
    BranchAndBound,
    Budget,
    Graph,
    Tuning,
    from_torch,
    interval_bounds,
)

from ..networks import fill


def _graph(seed: int, kind: type[nn.Module], sizes: tuple[int, ...] = (3, 10, 10, 10, 2)) -> Graph:
    layers = [[nn.Linear(a, b), kind()] for a, b in pairwise(sizes)]
    network = nn.Sequential(*[layer for pair in layers for layer in pair][:-1])
    fill(network, seed)
    return from_torch(network.eval().requires_grad_(False), torch.zeros(1, sizes[0]))


def _roots(graph: Graph, least: float, size: float = 0.7) -> Roots:
    """Can the first output exceed `least`?"""
    inputs = Box(torch.full((1, 3), -size), torch.full((1, 3), size))
    C = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
    query = Query(graph.run, inputs, C, torch.full((1, 1), -least, dtype=torch.float64), Atom(0, True))
    index = torch.zeros(1, dtype=torch.int64)
    return Roots.of(graph, query, inflated(interval_bounds(graph, inputs)), (index, index.unsqueeze(1)), {})


def _values(graph: Graph, points: Tensor) -> list[Tensor]:
    values = [points]
    for node in graph.nodes[1:]:
        values.append(node.run(*(values[p.index] for p in node.inputs)))
    return values


@given(st.integers(0, 1000), st.sampled_from([nn.ReLU, nn.Tanh, nn.LeakyReLU]), st.integers(0, 3))
@settings(max_examples=5, deadline=None)
def test_bounds_hold_every_point_of_a_domain_that_could_be_a_counterexample(
    seed: int, kind: type[nn.Module], count: int
) -> None:
    graph = _graph(seed, kind)
    source = torch.Generator().manual_seed(seed)
    points = torch.rand(4000, 3, generator=source) * 1.4 - 0.7
    values = _values(graph, points)
    roots = _roots(graph, float(values[-1][:, 0].quantile(0.7)))
    planes = planes_of(roots)
    assert planes is not None
    splits, inside = Splits.none(1, roots.d), torch.ones(len(points), dtype=torch.bool)
    for _ in range(count):  # around one of the points, so that the domain has some
        number, places = planes.nodes[int(torch.randint(len(planes.nodes), (), generator=source))]
        place = places[torch.randint(len(places), (1,), generator=source)]
        z = values[number][:, int(place)]
        side = torch.sign(z[:1])
        splits = splits.with_split(torch.tensor([number]), place, side, torch.zeros(1))
        inside &= side * z >= 0
    bad = inside & (values[-1][:, 0] + roots.d[0, 0] >= 0)
    wide, root = roots.double(), torch.zeros(1, dtype=torch.int64)
    boxes, _ = boxes_of(wide, root, splits.double(), refresh=False)
    found = Restricted(wide, root, splits.double(), boxes, 1e-3).tightened(Budget())
    before = torch.full((1, 2, sum(len(p) for _, p in planes.nodes)), torch.inf)
    before[:, 0] = -torch.inf
    tight, empty = taken_over(found, planes, wide.graph.nodes, before)
    assert not (bool(empty) and bool(bad.any()))
    first, narrower = 0, 0
    for number, places in planes.nodes:
        part, z = tight[0, :, first : first + len(places)], values[number][bad][:, places]
        first += len(places)
        if not empty:
            assert (z >= part[0] - 1e-5).all() and (z <= part[1] + 1e-5).all()
        old = roots.boxes[graph.nodes[number]]
        width = (old.upper - old.lower)[0].flatten()[places]
        narrower += int((part[1] - part[0] < 0.99 * width).sum())
    assert bool(empty) or narrower > 0  # else this would say nothing


EARLY = BranchAndBound(
    root=AlphaCROWN(tuning=Tuning(steps=1), hidden=False), settings=Settings(tighten=2, batch=4)
)


@pytest.mark.parametrize("seed", range(3))
def test_searches_that_bound_hidden_neurons_anew_stay_right(seed: int) -> None:
    graph = _graph(seed, nn.ReLU, (3, 12, 12, 2))
    free = _roots(graph, 0.0).query
    exact = float(VERIFIERS["milp"].bound(graph, free, Budget(tighten=True)).upper)
    for gap, holds in ((0.01, True), (-0.01, False)):
        tree = Any((Atom(0, True), Atom(1, True)))
        C = torch.eye(2, dtype=torch.float64).unsqueeze(0)
        d = torch.tensor([[-exact - gap, -1e3]], dtype=torch.float64)
        query = Query(graph.run, free.inputs, C, d, tree)
        found, state = EARLY.resumed(graph, query, None, Budget(seconds=60))
        assert state is not None and (not holds or state.trees[0].tightened > 0)
        assert bool(query.holds(found.upper)) == holds
        if not holds:
            assert found.points is not None and query.violated(found.points).all()


class Picked(nn.Module):
    """A network that begins with an index, whose rule cannot take a batch of no problems."""

    def __init__(self, rest: nn.Module) -> None:
        super().__init__()
        self.rest = rest

    def forward(self, x: Tensor) -> Tensor:
        """Outputs (B, 2) of x (B, 3)."""
        y: Tensor = self.rest(x[:, [2, 0, 1, 0]])
        return y


def test_a_single_tree_is_planted_anew_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """No further root is left then: nothing must be bounded for nobody."""
    replanted: list[int] = []
    replant = Trees._replant

    def counted(self: Trees) -> None:
        replanted.append(len(self.open.roots))
        replant(self)

    monkeypatch.setattr(Trees, "_replant", counted)
    sizes = (4, 10, 10, 10, 2)
    layers = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())][:-1]
    network = Picked(nn.Sequential(*layers)).eval().requires_grad_(False)
    fill(network, 3)
    graph = from_torch(network, torch.zeros(1, 3))
    points = 1.4 * torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) - 0.7
    best = network(points)[:, 0].max().double()
    inputs = Box(torch.full((1, 3), -0.7), torch.full((1, 3), 0.7))
    C = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
    query = Query(
        graph.run, inputs, C, torch.full((1, 1), -float(best) - 0.02, dtype=torch.float64), Atom(0, True)
    )
    method = replace(EARLY, settings=replace(EARLY.settings, parts=400))
    upper = method.bound(graph, query, Budget(seconds=20)).upper
    assert replanted and replanted[0] == 1
    assert float(upper) >= -0.02 - 1e-5 and bool(upper.isfinite())

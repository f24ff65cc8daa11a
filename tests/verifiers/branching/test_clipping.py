"""Clipped bounds against points: every point of a domain that could be a counterexample lies within them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.branching.clipping import Clipper, tightened
from robustbench_local.verifiers.branching.domains import Splits
from robustbench_local.verifiers.branching.planes import planes_of
from robustbench_local.verifiers.branching.problem import Roots, inflated
from robustbench_local.verifiers.branching.settings import Settings
from torch import Tensor, nn

from robustbench_local.specs import Any, Atom, Box, Net, Query, Var, box, forall
from robustbench_local.verifiers import VERIFIERS, BranchAndBound, Budget, from_torch, interval_bounds


def _network(seed: int, kind: type[nn.Module], inputs: int) -> nn.Sequential:
    source = torch.Generator().manual_seed(seed)
    layers = [nn.Linear(inputs, 8), kind(), nn.Linear(8, 8), kind(), nn.Linear(8, 2)]
    for layer in layers:
        if isinstance(layer, nn.Linear):
            with torch.no_grad():
                size = layer.weight.shape
                layer.weight.copy_(torch.randn(size, generator=source) * (1.5 / size[1] ** 0.5))
                layer.bias.copy_(torch.randn(size[0], generator=source) * 0.3)
    return nn.Sequential(*layers).eval().requires_grad_(False)


def _roots(network: nn.Module, inputs: int) -> Roots:
    graph = from_torch(network, torch.zeros(1, inputs))
    unit = Box(-torch.ones(1, inputs), torch.ones(1, inputs))
    C, d = torch.eye(2).double()[None], torch.zeros(1, 2).double()
    query = Query(network, unit, C, d, Any((Atom(0, True), Atom(1, True))))
    index = torch.zeros(1, dtype=torch.int64)
    return Roots.of(graph, query, inflated(interval_bounds(graph, unit)), (index, index.unsqueeze(1)), {})


def _values(roots: Roots, points: Tensor) -> list[Tensor]:
    values = [points]
    for node in roots.graph.nodes[1:]:
        values.append(node.run(*(values[p.index] for p in node.inputs)))
    return values


@given(st.integers(0, 1000), st.sampled_from([nn.ReLU, nn.Tanh, nn.Sigmoid]), st.integers(1, 4))
@settings(max_examples=25)
def test_planes_enclose_their_coordinates(seed: int, kind: type[nn.Module], inputs: int) -> None:
    roots = _roots(_network(seed, kind, inputs), inputs)
    planes = planes_of(roots)
    assert planes is not None
    points = torch.rand(300, inputs, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    values, first = _values(roots, points), 0
    for number, places in planes.nodes:
        part = slice(first, first + places.shape[0])
        z = values[number][:, places]
        assert (points @ planes.rows[0, 0, part].T + planes.at[0, 0, part] <= z + 1e-5).all()
        assert (points @ planes.rows[1, 0, part].T + planes.at[1, 0, part] >= z - 1e-5).all()
        found = planes.number(torch.full_like(places, number), places)
        assert torch.equal(found, torch.arange(part.start, part.stop))
        first = part.stop


@given(st.integers(0, 1000), st.sampled_from([nn.ReLU, nn.Tanh]), st.integers(1, 4), st.integers(0, 4))
@settings(max_examples=40)
def test_clipped_bounds_hold_every_point_that_the_half_spaces_leave(
    seed: int, kind: type[nn.Module], inputs: int, count: int
) -> None:
    roots, source = _roots(_network(seed, kind, inputs), inputs), torch.Generator().manual_seed(seed)
    clipper = Clipper.of(roots)
    assert clipper is not None
    points = torch.rand(3000, inputs, generator=source) * 2 - 1
    values, inside = _values(roots, points), torch.ones(3000, dtype=torch.bool)
    splits, one = Splits.none(1, torch.zeros(1)), torch.zeros(1, dtype=torch.int64)
    for _ in range(count):
        number, places = clipper.planes.nodes[
            int(torch.randint(len(clipper.planes.nodes), (), generator=source))
        ]
        place = places[torch.randint(len(places), (1,), generator=source)]
        side = torch.randint(0, 2, (1,), generator=source).float() * 2 - 1
        point = torch.randn(1, generator=source) * 0.3
        splits = splits.with_split(torch.tensor([number]), place, side, point)
        inside &= float(side) * (values[number][:, int(place)] - point) >= 0
    normal, constant = torch.randn(1, inputs, generator=source), torch.randn(1, generator=source)
    inside &= points @ normal[0] + constant <= 0
    numbers = torch.cat([torch.full_like(places, n) for n, places in clipper.planes.nodes]).unsqueeze(0)
    places = torch.cat([places for _, places in clipper.planes.nodes]).unsqueeze(0)
    begun = clipper.start(one)
    tight, empty = clipper.clip(one, splits, begun, (normal, constant), (numbers, places))
    if bool(empty):
        assert not inside.any()
        return
    assert (tight[:, 0] >= begun[:, 0]).all() and (tight[:, 1] <= begun[:, 1]).all()
    known = {node: box.select(one) for node, box in roots.boxes.items()}
    boxes = tightened(known, clipper.planes, roots.graph.nodes, tight)
    for number, _ in clipper.planes.nodes:
        found, z = boxes[roots.graph.nodes[number]], values[number][inside]
        assert ((z >= found.lower - 1e-6) & (z <= found.upper + 1e-6)).all()


@pytest.mark.parametrize("seed", range(3))
def test_clipping_spares_domains_in_a_wide_layer_and_leaves_the_verdict(seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    network = nn.Sequential(nn.Linear(6, 24), nn.ReLU(), nn.Linear(24, 1)).eval().requires_grad_(False)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, generator=source) * 0.4)
    graph = from_torch(network, torch.zeros(1, 6))
    x, f = Var("x", 6), Net("f", 6, 1)
    milp = VERIFIERS["milp"]
    most = float(
        milp.bound(graph, forall(x, box(-1, 1), f(x)[0] <= 0).query(network), Budget(tighten=True)).upper
    )
    for gap, holds in ((0.02, True), (-0.02, False)):
        query = forall(x, box(-1, 1), f(x)[0] <= most + gap).query(network)
        found = BranchAndBound().bound(graph, query, Budget(seconds=30))
        assert bool(query.holds(found.upper)) == holds
        plain = BranchAndBound(settings=Settings(clip=0)).bound(graph, query, Budget(seconds=30))
        assert bool(query.holds(plain.upper)) == holds

"""Branch and bound against exact answers: grids, MILP, planted counterexamples; and its own invariants."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.branching.bounding import boxes_of
from robustbench_local.verifiers.branching.domains import Splits
from robustbench_local.verifiers.branching.problem import Roots, inflated
from robustbench_local.verifiers.branching.settings import Settings
from torch import Tensor, nn

from robustbench_local.specs import (
    All,
    Any,
    Atom,
    Box,
    Data,
    Net,
    Query,
    Var,
    argmax,
    ball,
    box,
    forall,
    sigmoid,
    vsum,
)
from robustbench_local.verifiers import (
    VERIFIERS,
    AlphaCROWN,
    BranchAndBound,
    Budget,
    from_torch,
    interval_bounds,
)

BAB = BranchAndBound()


def _network(seed: int, sizes: tuple[int, ...], kind: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    source = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for n, m in pairwise(sizes):
        linear = nn.Linear(n, m)
        with torch.no_grad():
            linear.weight.copy_(torch.randn(m, n, generator=source) * (1.5 / n**0.5))
            linear.bias.copy_(torch.randn(m, generator=source) * 0.3)
        layers += [linear, kind()]
    return nn.Sequential(*layers[:-1]).eval().requires_grad_(False)


def _grid(steps: int = 161) -> Tensor:
    axis = torch.linspace(-1, 1, steps)
    return torch.cartesian_prod(axis, axis)


@given(st.integers(0, 10_000), st.sampled_from([nn.ReLU, nn.Tanh, nn.Sigmoid, nn.LeakyReLU]))
@settings(max_examples=8)
def test_bounds_lie_above_every_point_of_a_grid_and_close_to_it(seed: int, kind: type[nn.Module]) -> None:
    network = _network(seed, (2, 8, 8, 3), kind)
    x, f = Var("x", 2), Net("f", 2, 3)
    query = forall(x, box(-1, 1), argmax(f(x)) == seed % 3).query(network)
    graph = from_torch(network, torch.zeros(1, 2))
    values = query.select(torch.zeros(161**2, dtype=torch.int64)).violation(_grid())
    truth = float(values.max())
    found = BAB.bound(graph, query, Budget(seconds=20))
    assert float(found.upper) >= truth - 1e-5
    first = float(AlphaCROWN(hidden=False).bound(graph, query).upper)
    assert float(found.upper) <= first + 1e-6
    if found.points is None:  # decided at the root
        assert query.holds(found.upper).all() and truth < 0
        return
    assert found.confirmed and query.inputs.contains(found.points).all()
    if found.complete:
        holds = bool(query.holds(found.upper))
        assert holds == (not bool(query.violated(found.points)))  # decided, one way or the other
        assert holds == (truth < 0) or abs(truth) < 1e-3


@given(st.integers(0, 10_000))
@settings(max_examples=4)
def test_thresholds_just_above_the_maximum_hold_and_just_below_do_not(seed: int) -> None:
    network = _network(seed, (2, 8, 8, 1))
    graph = from_torch(network, torch.zeros(1, 2))
    unit = Box(-torch.ones(1, 2), torch.ones(1, 2))
    C = torch.ones(1, 1, 1, dtype=torch.float64)
    free = Query(network, unit, C, torch.zeros(1, 1, dtype=torch.float64), Atom(0, True), "max")
    exact = float(VERIFIERS["milp"].bound(graph, free, Budget(tighten=True)).upper)
    for gap, holds in ((0.05, True), (-0.05, False)):
        d = torch.full((1, 1), -exact - gap, dtype=torch.float64)
        query = Query(network, unit, C, d, Atom(0, True), "threshold")
        found = BAB.bound(graph, query, Budget(seconds=30))
        assert bool(query.holds(found.upper)) == holds
        if not holds:
            assert found.points is not None and query.violated(found.points).all()


def test_many_problems_and_clauses_share_one_search() -> None:
    network = _network(5, (4, 16, 16, 4))
    graph = from_torch(network, torch.zeros(1, 4))
    centres = torch.rand(12, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    labels = network(centres).argmax(1)
    eye = torch.eye(4, dtype=torch.float64)
    C = torch.stack([torch.stack([eye[j] - eye[c] for j in range(4) if j != c]) for c in labels.tolist()])
    tree = Any(tuple(Atom(i, False) for i in range(3)))
    inputs = Box(centres - 0.35, centres + 0.35)
    query = Query(network, inputs, C, torch.zeros(12, 3, dtype=torch.float64), tree, "robust")
    together = BAB.bound(graph, query, Budget(seconds=60))
    assert together.complete
    holds = query.holds(together.upper)
    assert together.points is not None
    violated = query.violated(together.points)
    assert torch.equal(holds, ~violated) and 0 < int(holds.sum()) < 12
    for b in range(0, 12, 4):
        alone = BAB.bound(graph, query.select(torch.tensor([b])), Budget(seconds=60))
        assert bool(query.select(torch.tensor([b])).holds(alone.upper)) == bool(holds[b])


def test_a_conjunction_is_refuted_although_each_atom_can_be_true() -> None:
    # y0 = x, y1 = -x through a hidden layer: both above 0.1 at once is impossible
    hidden = nn.Linear(1, 2, bias=False)
    out = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        hidden.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        out.weight.copy_(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
    network = nn.Sequential(hidden, nn.ReLU(), out).eval().requires_grad_(False)
    unit = Box(-torch.ones(1, 1), torch.ones(1, 1))
    eye = torch.eye(2, dtype=torch.float64).unsqueeze(0)
    d = torch.full((1, 2), -0.1, dtype=torch.float64)
    query = Query(network, unit, eye, d, All((Atom(0, False), Atom(1, False))), "both")
    found = BAB.bound(from_torch(network, torch.zeros(1, 1)), query, Budget(seconds=20))
    assert query.holds(found.upper).all()


def test_a_needle_in_the_input_set_is_never_said_not_to_exist() -> None:
    """A bump of width 1e-3 that attacks hardly find: the bound stays above it however long the search."""
    for seed in range(4):
        place = float(torch.rand(1, generator=torch.Generator().manual_seed(seed)) * 1.6 - 0.8)
        hidden, out = nn.Linear(1, 3), nn.Linear(3, 1)
        with torch.no_grad():
            hidden.weight.fill_(1000.0)
            hidden.bias.copy_(torch.tensor([-(place - 1e-3), -place, -(place + 1e-3)]) * 1000)
            out.weight.copy_(torch.tensor([[1.0, -2.0, 1.0]]))
            out.bias.fill_(-0.5)
        network = nn.Sequential(hidden, nn.ReLU(), out).eval().requires_grad_(False)
        x, f = Var("x", 1), Net("f", 1, 1)
        query = forall(x, box(-1, 1), f(x)[0] <= 0).query(network)
        found = BAB.bound(from_torch(network, torch.zeros(1, 1)), query, Budget(seconds=10))
        assert not query.holds(found.upper).any()


@given(st.integers(0, 1000))
@settings(max_examples=15)
def test_boxes_of_a_domain_hold_every_point_of_it(seed: int) -> None:
    network = _network(seed, (2, 6, 6, 2))
    graph = from_torch(network, torch.zeros(1, 2))
    unit = Box(-torch.ones(1, 2), torch.ones(1, 2))
    query = Query(
        network,
        unit,
        torch.eye(2).double()[None],
        torch.zeros(1, 2).double(),
        Any((Atom(0, True), Atom(1, True))),
    )
    boxes = inflated(interval_bounds(graph, unit))
    roots = Roots.of(
        graph, query, boxes, (torch.zeros(1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int64)), {}
    )
    split = [node for node in graph.nodes if "linear" in str(node.op)][:2]
    source = torch.Generator().manual_seed(seed)
    splits = Splits.none(1, torch.zeros(1))
    for node in split:
        place = torch.randint(0, 6, (1,), generator=source)
        side = torch.randint(0, 2, (1,), generator=source).float() * 2 - 1
        splits = splits.with_split(torch.tensor([node.index]), place, side, torch.zeros(1))
    for refresh in (True, False):
        found, empty = boxes_of(roots, torch.zeros(1, dtype=torch.int64), splits, refresh=refresh)
        points = torch.rand(400, 2, generator=source) * 2 - 1
        values, inside = {graph.input: points}, torch.ones(400, dtype=torch.bool)
        for node in graph.nodes[1:]:
            values[node] = node.run(*(values[p] for p in node.inputs))
            for s in range(2):
                if int(splits.node[0, s]) == node.index:
                    z = values[node][:, int(splits.coordinate[0, s])]
                    inside &= float(splits.side[0, s]) * z >= 0
        assert not (bool(empty) and bool(inside.any()))
        for node, value in values.items():
            low, high = found[node].lower, found[node].upper
            assert ((value >= low - 1e-6) & (value <= high + 1e-6)).flatten(1).all(1)[inside].all()


def test_no_time_means_the_root_bound() -> None:
    network = _network(3, (3, 12, 12, 2))
    graph = from_torch(network, torch.zeros(1, 3))
    x, f = Var("x", 3), Net("f", 3, 2)
    query = forall(x, box(-1, 1), argmax(f(x)) == 0).query(network)
    found = BAB.bound(graph, query, Budget(seconds=0.0))
    assert not found.complete and not query.holds(found.upper).any() and not found.upper.isnan().any()


def test_weights_that_are_not_numbers_prove_nothing() -> None:
    network = _network(3, (2, 4, 2))
    graph = from_torch(network, torch.zeros(1, 2))
    with torch.no_grad():
        network[0].weight[0, 0] = torch.nan  # type: ignore[index]
    x, f = Var("x", 2), Net("f", 2, 2)
    query = forall(x, box(-1, 1), f(x) <= 100).query(network)
    assert not query.holds(BAB.bound(graph, query, Budget(seconds=5)).upper).any()


@pytest.mark.parametrize("tries", [1, 4])
def test_the_number_of_tries_changes_the_work_but_not_the_verdict(tries: int) -> None:
    network = _network(11, (3, 14, 14, 2))
    graph = from_torch(network, torch.zeros(1, 3))
    x, f = Var("x", 3), Net("f", 3, 2)
    top = float(network(torch.rand(5000, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1)[:, 0].max())
    query = forall(x, box(-1, 1), f(x)[0] <= top + 0.5).query(network)
    found = BranchAndBound(settings=Settings(tries=tries)).bound(graph, query, Budget(seconds=30))
    assert query.holds(found.upper).all()


def test_a_hidden_number_that_has_no_axis_can_be_cut() -> None:
    """sigmoid of one number per problem is a node of shape (): its bounds are clipped like any other's."""
    torch.manual_seed(0)
    network = _network(0, (4, 8, 4))
    x0, mask = Data("x0", 4), Data("mask", 4)
    x, f = Var("x", like=x0), Net("f", 4, 4)
    moved = sigmoid(vsum(mask * f(x))) - sigmoid(vsum(mask * f(x0)))
    spec = forall(x, ball(x0, 0.5), abs(moved) <= 0.04)
    query = spec.query(network, x0=torch.rand(3, 4), mask=torch.eye(4)[:3])
    graph = from_torch(query.network, query.inputs.centre()[:1].float())
    upper = BAB.bound(graph, query, Budget(seconds=3)).upper
    for _ in range(20):
        points = query.inputs.sample(torch.rand(3, *query.inputs.shape), torch.rand(3))
        assert bool((query.violation(points) <= upper).all())

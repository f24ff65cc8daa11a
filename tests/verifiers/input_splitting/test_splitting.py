"""Input splitting: against brute force over grids and against its base; what it cuts, trims and refuses."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.input_splitting import InputSplitting
from robustbench_local.verifiers.input_splitting.leaves import Leaves, Whole
from torch import Tensor, nn

from robustbench_local.specs import All, AtLeast, Atom, Ball, Box, InputSet, Query, Tree
from robustbench_local.specs import Any as AnyOf
from robustbench_local.verifiers import CROWN, VERIFIERS, Budget, Graph, support_of

from ..networks import Fn, fill, traced, uniform

ATOMS = [Atom(0, True), Atom(1, False), Atom(2, True)]
TREES: list[Tree] = [
    ATOMS[0],
    All(tuple(ATOMS)),
    AnyOf(tuple(ATOMS)),
    AtLeast(2, tuple(ATOMS)),
    AnyOf((All((ATOMS[0], ATOMS[1])), ATOMS[2])),
]


def curved(seed: int, inputs: int = 2) -> Graph:
    """A small network with kinks and curves, 3 outputs."""
    network = nn.Sequential(
        nn.Linear(inputs, 8),
        nn.ReLU(),
        nn.Linear(8, 8),
        nn.Tanh(),
        nn.Linear(8, 8),
        nn.ReLU(),
        nn.Linear(8, 3),
    )
    fill(network, seed)
    return traced(network.eval().requires_grad_(False), inputs)


def query_of(graph: Graph, inputs: InputSet, tree: Tree, seed: int, shift: float = 0.0) -> Query:
    C = uniform(seed, (inputs.batch, 3, 3))
    return Query(graph.run, inputs, C, 0.3 * uniform(seed + 1, (inputs.batch, 3)) + shift, tree)


def grid_of(box: Box, count: int) -> Tensor:
    """count^2 points of every box with two coordinates, (count^2, B, 2)."""
    axis = torch.linspace(0, 1, count, dtype=torch.float64)
    share = torch.cartesian_prod(axis, axis).unsqueeze(1)
    return box.lower + share * (box.upper - box.lower)


def on_grid(query: Query, points: Tensor) -> tuple[Tensor, Tensor]:
    """Largest atoms (B, m) and violation (B,) over points (N, B, n)."""
    y = query.network(points.float().flatten(0, 1)).double().unflatten(0, points.shape[:2])
    rows = torch.einsum("bmo,nbo->nbm", query.C, y) + query.d
    values = query.combine(rows.flatten(0, 1)).unflatten(0, points.shape[:2])
    return rows.amax(0), values.amax(0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(TREES))
def test_bounds_reach_the_largest_value_on_a_grid(seed: int, tree: Tree) -> None:
    graph = curved(seed)
    centre = uniform(seed, (3, 2))
    inputs = Box(centre - 0.5, centre + 0.5)
    query = query_of(graph, inputs, tree, seed)
    rows, value = on_grid(query, grid_of(inputs, 41))
    found = InputSplitting().bound(graph, query, Budget(tighten=True))
    assert bool((found.rows >= rows - 1e-5).all()) and bool((found.upper >= value - 1e-5).all())
    assert bool((found.upper <= value + 0.02).all()), "as tight as the grid is fine"
    base = CROWN().bound(graph, query)
    assert bool((found.upper <= base.upper).all() and (found.rows <= base.rows).all())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(TREES), st.sampled_from((-0.4, -0.1, 0.0)))
def test_verdicts_are_those_of_a_grid(seed: int, tree: Tree, shift: float) -> None:
    graph = curved(seed)
    centre = uniform(seed, (4, 2))
    inputs = Box(centre - 0.4, centre + 0.4)
    query = query_of(graph, inputs, tree, seed, shift)
    rows, value = on_grid(query, grid_of(inputs, 41))
    found = InputSplitting().bound(graph, query)
    assert bool((found.rows >= rows - 1e-5).all()) and bool((found.upper >= value - 1e-5).all())
    holds = query.holds(found.upper)
    assert not bool((holds & (value > 0)).any())
    assert bool(holds[value < -0.02].all())


def test_sets_that_are_no_boxes_keep_their_own_bound() -> None:
    graph = curved(5)
    inputs = Ball(uniform(5, (3, 2)), 0.4, p=2)
    query = query_of(graph, inputs, TREES[2], 5)
    base = CROWN().bound(graph, query)
    found = InputSplitting().bound(graph, query, Budget(tighten=True))
    points = grid_of(inputs.box(), 41)
    values = torch.stack([
        torch.where(inputs.contains(x.float()), query.violation(x.float()), -torch.inf) for x in points
    ])  # fmt: skip
    assert bool((found.upper >= values.amax(0) - 1e-5).all()) and bool((found.upper <= base.upper).all())
    assert bool((found.upper < base.upper - 1e-3).any())


def test_points_are_never_cut_and_many_varying_inputs_are_refused() -> None:
    """Thirty inputs of which two vary: the same as the two by themselves."""
    small = curved(7)
    wide = traced(Fn(lambda x: small.run(x[:, 4:6]) + 0 * x.sum(1, keepdim=True)), 30)
    low = uniform(3, (2, 30))
    high = low.clone()
    high[:, 4:6] += 0.5
    query = query_of(wide, Box(low, high), TREES[2], 3)
    narrow = query_of(small, Box(low[:, 4:6], high[:, 4:6]), TREES[2], 3)
    found, same = (InputSplitting().bound(g, q, Budget(tighten=True)).upper
                   for g, q in ((wide, query), (small, narrow)))  # fmt: skip
    torch.testing.assert_close(found, same, rtol=5e-3, atol=1e-5)

    refused = query_of(wide, Box(low, low + 0.1), TREES[2], 3)
    assert InputSplitting().applies(wide, refused) == "30 inputs vary, input splitting serves up to 20"
    reasons = {m.name: m.reason for m in support_of(wide, refused).methods}
    assert reasons["split"].startswith("30 inputs vary") and not reasons["crown"]
    assert torch.equal(InputSplitting().bound(wide, refused).upper, CROWN().bound(wide, refused).upper)
    assert InputSplitting(most=30, parts=100).applies(wide, refused) is None
    cut = InputSplitting(most=30, parts=300).bound(wide, refused, Budget(tighten=True)).upper
    assert bool((cut < CROWN().bound(wide, refused).upper).any())


def test_points_and_operators_without_a_rule() -> None:
    graph = curved(3)
    point = uniform(3, (2, 2))
    query = query_of(graph, Box(point, point), TREES[2], 3)
    found = InputSplitting().bound(graph, query, Budget(tighten=True))
    torch.testing.assert_close(found.upper, query.violation(point.float()), rtol=1e-4, atol=1e-5)
    strange = traced(Fn(lambda x: torch.linalg.eigvalsh(x.reshape(-1, 2, 2))), 4)
    reason = InputSplitting().applies(strange, None)
    assert reason is not None and "no bound rule" in reason


def test_without_time_the_base_s_bounds_come_back() -> None:
    graph = curved(1)
    query = query_of(graph, Box(-torch.ones(2, 2), torch.ones(2, 2)), TREES[2], 1)
    found = InputSplitting().bound(graph, query, Budget(seconds=0.0))
    assert not found.complete
    assert bool((found.upper <= CROWN().bound(graph, query, Budget(seconds=0.0)).upper).all())


def test_unknown_bounds_prove_nothing() -> None:
    """A network whose weights overflow: no bound is finite, no part is safe."""
    network = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    fill(network, 0)
    with torch.no_grad():
        network[0].weight.mul_(1e30)
        network[2].weight.mul_(1e30)
    graph = traced(network.eval().requires_grad_(False), 2)
    query = query_of(graph, Box(-torch.ones(1, 2), torch.ones(1, 2)), TREES[1], 1)
    assert not bool(query.holds(InputSplitting(parts=200).bound(graph, query).upper).any())


def leaves_of(lower: Tensor, upper: Tensor, score: Tensor, atoms: int = 3) -> Leaves:
    n = lower.shape[0]
    rows = torch.zeros(n, atoms, dtype=torch.float64)
    return Leaves(torch.arange(n), lower, upper, rows, rows[:, 0], score)


@given(st.integers(0, 10**6))
def test_halves_cover_their_leaf(seed: int) -> None:
    lower = uniform(seed, (5, 3))
    upper = lower + uniform(seed + 1, (5, 3), 0, 1).round()  # points in some coordinates
    halves, stuck = leaves_of(lower, upper, uniform(seed + 2, (5, 3), 0, 1)).cut(1e-6)
    able = upper > lower
    assert stuck.owner.tolist() == [i for i in range(5) if not bool(able[i].any())]
    for owner in set(halves.owner.tolist()):
        low, high = halves.lower[halves.owner == owner], halves.upper[halves.owner == owner]
        axis = int((low[0] != low[1]).nonzero())
        assert bool(able[owner, axis]) and torch.equal(high[0, axis], low[1, axis])
        assert torch.equal(low[0], lower[owner]) and torch.equal(high[1], upper[owner])
        assert int((low[0] != low[1]).sum()) == 1 == int((high[0] != high[1]).sum())


def test_the_widest_coordinates_are_cut() -> None:
    box = Box(torch.zeros(2, 4), torch.tensor([[0.0, 3.0, 1.0, 2.0], [1.0, 0.0, 0.0, 0.0]]))
    whole = Whole.of(box, 2, torch.device("cpu"))
    assert whole.axes[0].tolist() == [1, 3] and 0 in whole.axes[1].tolist()
    rows, value = torch.zeros(2, 1).double(), torch.zeros(2).double()
    leaves = whole.leaves(rows, value, torch.tensor([0, 1]))
    again = whole.boxes(leaves, (2, 2))
    assert torch.equal(again.lower.flatten(1), box.lower) and torch.equal(again.upper.flatten(1), box.upper)


def test_a_counterexample_is_returned_and_the_proved_share_of_the_volume() -> None:
    """x + y < 1.9 is false in a corner of the unit square; x + y < 1.6 holds on its lower half."""
    graph = traced(Fn(lambda x: x.sum(1, keepdim=True) + 0 * x.sin().sum(1, keepdim=True)), 2)
    inputs = Box(torch.zeros(2, 2), torch.tensor([[1.0, 1.0], [1.0, 0.5]]))
    d = torch.tensor([[-1.9], [-1.6]]).double()
    query = Query(graph.run, inputs, torch.ones(2, 1, 1).double(), d, Atom(0, True))
    found = InputSplitting().bound(graph, query)
    assert found.points is not None and found.share is not None
    assert query.violated(found.points).tolist() == [True, False]
    assert bool(inputs.contains(found.points).all())
    assert float(found.share[1]) == 1.0 and 0 <= float(found.share[0]) < 1.0


def test_the_share_grows_with_the_work() -> None:
    graph = curved(4)
    inputs = Box(-torch.ones(1, 2), torch.ones(1, 2))
    query = query_of(graph, inputs, TREES[0], 4)
    top = on_grid(query, grid_of(inputs, 41))[1]
    query = Query(graph.run, inputs, query.C, query.d - top.unsqueeze(1) - 1e-3, query.tree)
    shares = []
    for parts in (1, 64, 256, 4096):
        share = InputSplitting(parts=parts).bound(graph, query).share
        assert share is not None
        shares.append(float(share[0]))
    assert shares == sorted(shares) and shares[-1] > shares[0]


def test_the_ready_one_is_registered() -> None:
    assert isinstance(VERIFIERS["split"], InputSplitting)


def test_a_corner_that_crown_cannot_see() -> None:
    """|x| + |y| < 1.999 on |x|, |y| <= 1 is false at the corners only; < 2.001 holds."""
    network = Fn(lambda x: (x.relu() + (-x).relu() + (0.5 * x).sin() * 0).sum(1, keepdim=True))
    graph = traced(network, 2)
    inputs = Box(-torch.ones(2, 2), torch.ones(2, 2))
    C, d = torch.ones(2, 1, 1).double(), torch.tensor([[-1.999], [-2.001]]).double()
    found = InputSplitting(parts=500).bound(graph, Query(graph.run, inputs, C, d, Atom(0, True)))
    assert math.isclose(float(found.upper[0]), 0.001, abs_tol=1e-4)
    assert float(found.upper[1]) < 0


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_a_proof_is_certain_beyond_rounding(dtype: torch.dtype) -> None:
    """A property that holds clearly gets a bound clear of zero: nothing must be computed again."""
    graph = curved(2).to(dtype)
    inputs = Box(-0.5 * torch.ones(1, 2), 0.5 * torch.ones(1, 2))
    query = query_of(graph, inputs, TREES[0], 2)
    value = on_grid(query_of(graph.to(torch.float32), inputs, TREES[0], 2), grid_of(inputs, 41))[1]
    query = Query(graph.run, inputs, query.C, query.d - value.unsqueeze(1) - 0.01, query.tree)
    upper = InputSplitting().bound(graph, query).upper
    assert float(upper) <= -1000 * torch.finfo(dtype).eps * float(
        graph.run(inputs.centre().to(dtype)).abs().max()
    )

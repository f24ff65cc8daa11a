"""A search over hidden coordinates in slices: the domains and bounds of one run; states are values."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.branching.domains import Splits
from robustbench_local.verifiers.branching.settings import Settings
from robustbench_local.verifiers.branching.share import proved_share
from robustbench_local.verifiers.branching.state import BranchState
from torch import Tensor, nn

from robustbench_local.errors import SearchStateError
from robustbench_local.specs import All, Any, Atom, Box, Query, Tree
from robustbench_local.verifiers import AlphaCROWN, Bounds, BranchAndBound, Budget, Graph, Resumable, Tuning

from ..networks import fill, traced, uniform

SEARCH = BranchAndBound(
    root=AlphaCROWN(tuning=Tuning(steps=2)),
    settings=Settings(parts=64, batch=8, tuning=Tuning(steps=3), refine=4, rounds=2),
)
BOTH: Tree = All((Atom(0, True), Atom(1, True)))
TREES: list[Tree] = [
    Atom(0, True),
    Any((Atom(0, True), Atom(1, False), Atom(2, True))),
    Any((BOTH, Atom(2, True))),
]


def problem(seed: int, tree: int, size: float = 1.0) -> tuple[Graph, Query]:
    layers = [[nn.Linear(a, b), nn.ReLU()] for a, b in pairwise((4, 12, 12))]
    network = nn.Sequential(*(m for pair in layers for m in pair), nn.Linear(12, 3))
    fill(network, seed)
    graph = traced(network.eval().requires_grad_(False), 4)
    centre = uniform(seed, (3, 4))
    C, d = uniform(seed + 1, (3, 3, 3)), uniform(seed + 2, (3, 3)) * 0.3
    inputs = Box(centre - size, centre + size)
    free = Query(graph.run, inputs, C, d, TREES[tree])
    share = uniform(seed + 3, (500, 1, 4), 0, 1)
    points = (inputs.lower + share * (inputs.upper - inputs.lower)).float()
    top = torch.stack([free.atoms(graph.run(x)) for x in points]).amax(0)
    return graph, Query(graph.run, inputs, C, d - top - 0.02, TREES[tree])  # just above what points reach


def in_slices(graph: Graph, query: Query, sizes: list[int], saved: bool) -> tuple[Bounds, BranchState, int]:
    """The last bounds and state of slices of these sizes in turn, and how many there were."""
    state, calls = None, 0
    while True:
        bounds, state = SEARCH.resumed(graph, query, state, Budget(domains=sizes[calls % len(sizes)]))
        calls += 1
        assert state is not None
        if bounds.complete or state.domains >= SEARCH.settings.parts:
            return bounds, state, calls
        if saved:
            state = SEARCH.restored(graph, query, {k: v.clone() for k, v in state.tensors().items()})


@settings(max_examples=4, deadline=None)
@given(
    st.integers(0, 500),
    st.sampled_from(range(len(TREES))),
    st.lists(st.integers(4, 60), min_size=1),
    st.booleans(),
)
def test_slices_make_the_steps_of_one_run(seed: int, tree: int, sizes: list[int], saved: bool) -> None:
    graph, query = problem(seed, tree)
    whole, end = SEARCH.resumed(graph, query)
    if end is None:
        return
    found, state, _ = in_slices(graph, query, sizes, saved)
    assert state.domains == end.domains and found.complete == whole.complete
    assert torch.equal(query.holds(found.upper), query.holds(whole.upper))
    assert torch.equal(state.broken, end.broken)
    torch.testing.assert_close(found.upper, whole.upper, rtol=1e-5, atol=1e-6)
    first, last = end.tensors(), state.tensors()
    assert first.keys() == last.keys()
    for name, value in first.items():
        if name.split(".")[-1] in {"root", "node", "coordinate", "side", "left"}:
            assert torch.equal(last[name], value), name


def test_slices_are_slices_and_searches_are_searches() -> None:
    bounds, state, calls = in_slices(*problem(2, 0), [8], False)
    assert calls > 3 and state.domains > 40
    assert bounds.complete or state.open > 0


def test_a_state_is_a_value_and_bounds_get_better() -> None:
    graph, query = problem(2, 0)
    upper, state = torch.full((3,), torch.inf), None
    for _ in range(5):
        before = None if state is None else {k: v.clone() for k, v in state.tensors().items()}
        bounds, after = SEARCH.resumed(graph, query, state, Budget(domains=10))
        if before is not None and state is not None:
            assert all(torch.equal(v, before[k]) for k, v in state.tensors().items())
        state = after
        assert bool((bounds.upper <= upper).all())
        upper = bounds.upper


def test_problems_can_leave() -> None:
    graph, query = problem(2, 0)
    bounds, state = SEARCH.resumed(graph, query, None, Budget(domains=24))
    assert state is not None and state.open > 0
    kept = torch.tensor([2, 0])
    some = query.select(kept)
    part, rest = SEARCH.resumed(graph, some, state.select(kept), Budget(domains=40))
    assert rest is not None and rest.batch == 2
    assert bool((part.upper <= bounds.upper[kept] + 1e-6).all())
    box = some.inputs.box()
    share = uniform(0, (400, 1, 4), 0, 1)
    for x in (box.lower + share * (box.upper - box.lower)).float():
        assert bool((some.violation(x) <= part.upper + 1e-5).all())
    starts = state.starts(query, 5)
    inside = [query.inputs.contains(query.inputs.project(starts[:, i])) for i in range(5)]
    assert starts.shape == (3, 5, 4) and bool(torch.stack(inside).all())
    torch.testing.assert_close(query.inputs.project(starts[:, 0]), starts[:, 0], rtol=1e-5, atol=1e-5)


def test_the_proved_share_is_what_no_open_domain_holds() -> None:
    """Against a count over other points, domain by domain."""
    graph, query = problem(2, 0)
    points = uniform(7, (2000, 4), 0, 1).float()
    box, told = query.inputs.box(), []
    for steps in (8, 40):
        bounds, state = SEARCH.resumed(graph, query, None, Budget(domains=steps))
        assert state is not None and bounds.share is not None
        told.append(bounds.share)
        for b in range(3):
            lower, upper = box.lower[b].float(), box.upper[b].float()
            open_ = torch.zeros(2000, dtype=torch.bool)
            for one in state.trees:
                for domains, k in one.open:
                    if int(state.wanted[one.problem[domains.root[k]]]) == b:
                        open_ |= holds_splits(graph, lower + points * (upper - lower), domains.splits, k)
            part = 1 - float(open_.float().mean())
            assert part - 0.12 < float(bounds.share[b]) < part + 0.03 or bool(query.holds(bounds.upper)[b])
    assert bool((told[1] >= told[0]).all()) and bool((told[1] > told[0]).any())


def holds_splits(graph: Graph, x: Tensor, splits: Splits, k: int) -> Tensor:
    """Which points (N,) meet all splits of domain k."""
    values = {graph.input: x}
    for node in graph.nodes[1:]:
        values[node] = node.run(*(values[p] for p in node.inputs))
    met = torch.ones(len(x), dtype=torch.bool)
    for s in range(splits.node.shape[1]):
        if int(splits.node[k, s]) >= 0:
            z = values[graph.nodes[int(splits.node[k, s])]].flatten(1)[:, int(splits.coordinate[k, s])]
            met &= (z >= splits.point[k, s]) if float(splits.side[k, s]) > 0 else (z <= splits.point[k, s])
    return met


def test_no_share_is_claimed_of_what_is_given_up_or_refuted() -> None:
    graph, query = problem(2, 0)
    _, state = SEARCH.resumed(graph, query, None, Budget(domains=24))
    assert state is not None
    given_up = replace(state.trees[0], worst=torch.full_like(state.trees[0].worst, -1.0))
    for changed in (replace(state, trees=(given_up,)), replace(state, broken=~state.broken)):
        share = proved_share(graph, query, changed, torch.inf, 2**20)
        assert share is not None
        open_ = query.holds(changed.upper.index_copy(0, changed.wanted, changed.searched())).logical_not()
        assert bool((share[open_] == 0).all()) and bool(open_.any())
    assert proved_share(graph, query, state, 0.0, 2**20) is None, "no time to count"
    little, much = (proved_share(graph, query, state, torch.inf, memory) for memory in (1, 2**30))
    assert little is not None and much is not None and torch.equal(little, much)


def test_foreign_states_are_refused() -> None:
    graph, query = problem(2, 0)
    _, state = SEARCH.resumed(graph, query, None, Budget(domains=20))
    assert isinstance(SEARCH, Resumable) and state is not None and state.open > 0
    with pytest.raises(SearchStateError, match="3 problem"):
        SEARCH.resumed(graph, query, state.select(torch.tensor([0])))
    tensors = state.tensors()
    changes = {
        "rows": tensors["rows"][:1],
        "box.1.lower": tensors["box.1.lower"][:, :1],
        "trees.0.problem": tensors["trees.0.problem"] + 3,
    }
    for name, value in changes.items():
        with pytest.raises(SearchStateError, match="no search of this network"):
            SEARCH.restored(graph, query, {**tensors, name: value})
    del tensors["closed"]
    with pytest.raises(SearchStateError, match="closed"):
        SEARCH.restored(graph, query, tensors)

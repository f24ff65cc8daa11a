"""A search over inputs in slices: the same parts and bounds as in one run, and states that are values."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.input_splitting import InputSplitting
from robustbench_local.verifiers.input_splitting.state import SplitState

from robustbench_local.errors import SearchStateError
from robustbench_local.specs import Box, Query
from robustbench_local.verifiers import Bounds, Budget, Graph, Resumable

from ..networks import uniform
from .test_splitting import ATOMS, TREES, curved, query_of

SEARCH = InputSplitting(parts=120)
SMALL = Budget(memory_bytes=2**16)  # batches of a few dozen parts
BEST = replace(SMALL, tighten=True)


@pytest.fixture(autouse=True, scope="module")
def _still() -> Iterator[None]:
    """A clock that stands still, so that no choice between ways to bound parts depends on it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "process_time", lambda: 0.0)
        patch.setattr(time, "monotonic", lambda: 0.0)
        yield


def problem(seed: int, tree: int = 0) -> tuple[Graph, Query]:
    graph, centre = curved(seed), uniform(seed, (4, 2))
    return graph, query_of(graph, Box(centre - 1.5, centre + 1.5), TREES[tree], seed, -0.5)


def in_slices(
    graph: Graph, query: Query, sizes: list[int], budget: Budget = BEST
) -> tuple[Bounds, SplitState, int]:
    """The last bounds and state of slices of these sizes in turn, and how many there were."""
    state, calls = None, 0
    while True:
        bounds, state = SEARCH.resumed(
            graph, query, state, replace(budget, domains=sizes[calls % len(sizes)])
        )
        calls += 1
        assert state is not None
        if bounds.complete:
            return bounds, state, calls


@settings(max_examples=6, deadline=None)
@given(
    st.integers(0, 500),
    st.sampled_from(range(len(TREES))),
    st.lists(st.integers(1, 100), min_size=1),
    st.booleans(),
)
def test_slices_make_the_steps_of_one_run(seed: int, tree: int, sizes: list[int], tighten: bool) -> None:
    graph, query = problem(seed, tree)
    budget = replace(SMALL, tighten=tighten)
    whole, end = SEARCH.resumed(graph, query, None, budget)
    assert end is not None and whole.share is not None
    found, state, _ = in_slices(graph, query, sizes, budget)
    assert found.share is not None
    assert torch.equal(state.tally.count, end.tally.count)
    for name, value in end.tensors().items():
        if name.split(".")[0] != "course":
            assert torch.equal(state.tensors()[name], value), name
    assert torch.equal(found.upper, whole.upper) and torch.equal(found.rows, whole.rows)
    assert torch.equal(found.share, whole.share)


def test_slices_are_slices() -> None:
    """The property above says something only where a search takes more than one slice."""
    assert in_slices(*problem(0), [20])[2] > 4


def test_a_state_is_a_value_and_survives_its_tensors() -> None:
    graph, query = problem(3)
    _, state = SEARCH.resumed(graph, query, None, replace(BEST, domains=20))
    assert state is not None and state.open > 0
    before = {name: value.clone() for name, value in state.tensors().items()}
    once, _ = SEARCH.resumed(graph, query, state, BEST)
    assert all(torch.equal(value, before[name]) for name, value in state.tensors().items())
    again, _ = SEARCH.resumed(graph, query, SEARCH.restored(graph, query, before), BEST)
    assert torch.equal(once.upper, again.upper) and torch.equal(once.rows, again.rows)


def test_bounds_only_get_better() -> None:
    graph, query = problem(4)
    upper, state = torch.full((4,), torch.inf), None
    for _ in range(8):
        bounds, state = SEARCH.resumed(graph, query, state, replace(BEST, domains=30))
        assert bool((bounds.upper <= upper).all())
        upper = bounds.upper


def test_problems_can_leave() -> None:
    """What is left is searched as before: sound, and no worse than what was known."""
    graph, query = problem(5)
    bounds, state = SEARCH.resumed(graph, query, None, replace(BEST, domains=30))
    kept = torch.tensor([3, 1])
    assert state is not None
    part, rest = SEARCH.resumed(graph, query.select(kept), state.select(kept), BEST)
    assert rest is not None and rest.batch == 2 and bool((part.upper <= bounds.upper[kept]).all())
    box = query.inputs.box()
    share = uniform(0, (400, 1, 2), 0, 1)
    points = (box.lower[kept] + share * (box.upper - box.lower)[kept]).float()
    for x in points:
        assert bool((query.select(kept).violation(x) <= part.upper + 1e-5).all())


def test_what_does_not_apply_leaves_no_state() -> None:
    graph = curved(0, 30)
    query = query_of(graph, Box(torch.zeros(1, 30), torch.ones(1, 30)), ATOMS[0], 0)
    assert SEARCH.resumed(graph, query)[1] is None


def test_foreign_states_are_refused() -> None:
    graph, query = problem(0)
    _, state = SEARCH.resumed(graph, query, None, replace(BEST, domains=20))
    assert isinstance(SEARCH, Resumable) and state is not None
    with pytest.raises(SearchStateError, match="4 problem"):
        SEARCH.resumed(graph, query, state.select(torch.tensor([0])))
    tensors = state.tensors()
    assert len(tensors["pending.owner"])
    changes = {
        "pending.owner": tensors["pending.owner"] + 4,
        "pending.value": tensors["pending.value"][:-1],
        "tally.axes": tensors["tally.axes"] + 1,
        "tally.best": tensors["tally.best"].float(),
    }
    for name, value in changes.items():
        with pytest.raises(SearchStateError, match="no search over these inputs"):
            SEARCH.restored(graph, query, {**tensors, name: value})
    del tensors["tally.safe"]
    with pytest.raises(SearchStateError, match=r"tally\.safe"):
        SEARCH.restored(graph, query, tensors)

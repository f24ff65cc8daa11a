"""The leaves that a search keeps: together all of the input set, and none twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from robustbench_local.verifiers.branching.domains import Domains
from robustbench_local.verifiers.branching.state import BranchState, TreesState
from torch import Tensor

from robustbench_local.specs import Query
from robustbench_local.verifiers import VERIFIERS, Budget, Graph

from ..networks import uniform
from .test_state import SEARCH, problem

KEEPING = replace(SEARCH, settings=replace(SEARCH.settings, keep=True))


def searched(seed: int, tree: int, most: int) -> tuple[Graph, Query, BranchState]:
    graph, query = problem(seed, tree)
    _, state = KEEPING.resumed(graph, query, None, Budget(domains=most))
    assert state is not None
    return graph, query, state


def parts_of(trees: TreesState) -> list[tuple[Domains, int]]:
    """All leaves, done or open, one by one."""
    closed = [(domains, k) for domains in trees.closed for k in range(domains.count)]
    return [*closed, *trees.open]


def values_of(graph: Graph, x: Tensor) -> dict[int, Tensor]:
    """What every node computes at points (P, *in), flat, by its number."""
    values = {graph.input: x}
    for node in graph.nodes[1:]:
        values[node] = node.run(*(values[parent] for parent in node.inputs))
    return {node.index: value.flatten(1) for node, value in values.items()}


@pytest.mark.parametrize(("seed", "tree", "most"), [(0, 0, 48), (2, 0, 48), (0, 2, 48), (2, 1, 16)])
def test_every_point_lies_in_one_leaf_of_every_tree(seed: int, tree: int, most: int) -> None:
    graph, query, state = searched(seed, tree, most)
    assert_one_leaf_each(graph, query, state, uniform(seed, (200, 4), 0, 1))


@pytest.mark.parametrize(("seed", "first"), [(0, 4), (1, 4), (1, 8), (2, 8)])
def test_every_point_lies_in_one_leaf_where_trees_were_planted_anew(seed: int, first: int) -> None:
    """What was kept of the tree before is gone."""
    from .test_tightening import EARLY, _graph, _roots

    graph = _graph(seed, torch.nn.ReLU, (3, 12, 12, 2))
    free = _roots(graph, 0.0).query
    exact = VERIFIERS["milp"].bound(graph, free, Budget(tighten=True)).upper.double()
    query = replace(free, d=free.d - exact.reshape(1, 1) - 0.01)
    search = replace(EARLY, settings=replace(EARLY.settings, keep=True, tighten=first))
    _, state = search.resumed(graph, query, None, Budget(seconds=60))
    assert state is not None and state.trees[0].tightened > 0
    assert_one_leaf_each(graph, query, state, uniform(seed, (200, 3), 0, 1))


def assert_one_leaf_each(graph: Graph, query: Query, state: BranchState, share: Tensor) -> None:
    """That each of some points of a box lies in one leaf of each tree: shares (P, n) of the box's widths."""
    box, splits = query.inputs.box(), 0
    for trees in state.trees:
        waiting = set(trees.left.tolist())
        for root, k in enumerate(trees.problem.tolist()):
            if bool(state.broken[k]):  # a counterexample ends the search
                continue
            low, high = (end[state.wanted[k]] for end in (box.lower, box.upper))
            values = values_of(graph, (low + share * (high - low)).to(graph.like))
            count = torch.zeros(len(share))
            for domains, place in parts_of(trees):
                if int(domains.root[place]) == root:
                    count += inside(values, domains, place)
                    splits += int(domains.splits.depth[place])
            assert (count == (0 if root in waiting else 1)).all()
    assert splits > 0


def inside(values: dict[int, Tensor], domains: Domains, k: int) -> Tensor:
    """Which of the points (P,) with these values lie in a domain."""
    splits = domains.splits.select(torch.tensor([k]))
    found = torch.ones(len(values[0]), dtype=torch.bool)
    columns = (splits.node, splits.coordinate, splits.side, splits.point)
    for node, place, side, point in zip(*(column[0].tolist() for column in columns), strict=True):
        if node >= 0:
            found &= side * (values[node][:, place] - point) >= 0
    return found


def test_leaves_are_kept_only_where_asked_for() -> None:
    graph, query = problem(0, 0)
    same = replace(SEARCH.settings, refine=0)  # hidden neurons are refined later where leaves are kept
    _, plain = replace(SEARCH, settings=same).resumed(graph, query, None, Budget(domains=64))
    keep = replace(KEEPING, settings=replace(same, keep=True))
    _, keeping = keep.resumed(graph, query, None, Budget(domains=64))
    assert plain is not None and keeping is not None
    assert all(trees.closed == () for trees in plain.trees)
    assert plain.domains == keeping.domains and torch.equal(plain.searched(), keeping.searched())
    assert sum(domains.count for trees in keeping.trees for domains in trees.closed) > 0


def test_leaves_follow_their_problems() -> None:
    _, query, state = searched(0, 2, 48)
    for b in range(query.batch):
        for trees in state.select(torch.tensor([b])).trees:
            for domains, k in parts_of(trees):
                assert int(trees.problem[domains.root[k]]) == 0
    kept = sum(
        len(parts_of(trees)) for b in range(query.batch) for trees in state.select(torch.tensor([b])).trees
    )
    assert kept == sum(len(parts_of(trees)) for trees in state.trees)


def test_a_search_in_slices_keeps_the_leaves_of_all() -> None:
    graph, query, whole = searched(2, 0, 48)
    state = None
    for _ in range(12):
        _, state = KEEPING.resumed(graph, query, state, Budget(domains=4))
        assert state is not None
        if state.domains >= whole.domains:
            break
    assert state is not None and state.domains >= whole.domains
    assert sum(len(parts_of(t)) for t in state.trees) >= sum(len(parts_of(t)) for t in whole.trees)

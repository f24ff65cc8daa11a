"""Which open domains are split next: those of the problems that are nearest to their end."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.branching.domains import Domains, Splits
from robustbench_local.verifiers.branching.frontier import Frontier
from robustbench_local.verifiers.branching.settings import Settings
from torch import Tensor, nn

from robustbench_local.specs import Atom, Box, Query
from robustbench_local.verifiers import BranchAndBound, Budget, from_torch


def _domains(lower: list[float], root: list[int]) -> Domains:
    """Domains without splits, of these bounds."""
    bounds, count = torch.tensor(lower), len(lower)
    none, empty = torch.zeros(count, 0), torch.zeros(count, 2, 0)
    whole = torch.zeros(count, 0, dtype=torch.int64)
    branch = (whole, whole, none, none)
    splits = Splits.none(count, bounds)
    return Domains(
        torch.tensor(root), bounds, splits, none, none, {}, branch, empty, (none, torch.zeros(count))
    )


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-9, 0)), min_size=1, max_size=40), st.integers(1, 50))
@settings(max_examples=60)
def test_small_trees_come_first_and_nothing_is_lost(items: list[tuple[int, float]], count: int) -> None:
    frontier = Frontier()
    problem = torch.tensor([b for b, _ in items])
    frontier.put(_domains([v for _, v in items], [b for b, _ in items]), problem)
    sizes = torch.bincount(problem, minlength=5)
    taken = frontier.take(count)
    assert taken.count == min(count, len(items)) and len(frontier) == len(items) - taken.count
    gone = torch.bincount(taken.root, minlength=5)
    touched = [b for b in range(5) if gone[b]]
    whole = [b for b in touched if gone[b] == sizes[b]]
    assert len(touched) - len(whole) <= 1, "at most one tree is taken in part"
    for b in frontier.problems:
        assert all(sizes[b] >= sizes[done] for done in whole), "and no smaller one is left waiting"
    left = ((int(domains.root[k]), float(domains.lower[k])) for domains, k in frontier.entries)
    rest = sorted((*left, *zip(taken.root.tolist(), taken.lower.tolist(), strict=True)))
    assert rest == sorted((b, float(torch.tensor(v))) for b, v in items)


def test_within_a_problem_the_worst_bound_comes_first_and_what_is_no_number_before_it() -> None:
    frontier = Frontier()
    frontier.put(_domains([-1.0, -3.0, float("nan"), -2.0], [0, 0, 0, 0]), torch.zeros(4, dtype=torch.int64))
    order = [float(frontier.take(1).lower) for _ in range(4)]
    assert order[0] != order[0] and order[1:] == [-3.0, -2.0, -1.0]


def test_the_domains_of_a_decided_problem_leave_with_their_bounds() -> None:
    frontier = Frontier()
    frontier.put(_domains([-1.0, -2.0, -3.0], [4, 5, 6]), torch.tensor([0, 1, 0]))
    assert sorted(frontier.drop(0)) == [(4, -1.0), (6, -3.0)]
    assert frontier.problems == (1,) and frontier.drop(7) == []


def test_one_endless_tree_does_not_keep_the_search_from_the_short_ones() -> None:
    """Eight small boxes beside a large one, whose domains have the worst bounds of all for a long time."""
    source = torch.Generator().manual_seed(3)
    layers: list[nn.Module] = []
    for n, m in ((12, 30), (30, 30), (30, 30), (30, 1)):
        linear = nn.Linear(n, m)
        linear.weight.data = torch.randn(m, n, generator=source) * 1.4 / n**0.5
        linear.bias.data = 0.2 * torch.randn(m, generator=source)
        layers += [linear, nn.ReLU()]
    network = nn.Sequential(*layers[:-1]).eval().requires_grad_(False)
    graph = from_torch(network, torch.zeros(1, 12))
    centres = torch.rand(9, 12, generator=source) * 2 - 1
    radius = torch.tensor([0.12] * 8 + [1.5]).unsqueeze(1)
    inputs = Box(centres - radius, centres + radius)

    def search(thresholds: Tensor, parts: int) -> tuple[Query, Tensor]:
        C = torch.ones(9, 1, 1, dtype=torch.float64)
        query = Query(network, inputs, C, -thresholds.double().unsqueeze(1), Atom(0, True), "threshold")
        method = BranchAndBound(settings=Settings(parts=parts, batch=8))
        return query, method.bound(graph, query, Budget()).upper

    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 12)
    reached = torch.stack([network(c + r * corners).max() for c, r in zip(centres, radius, strict=True)])
    roots = search(torch.full((9,), -100.0), 1)[1] - 100.0  # upper bounds of the outputs
    thresholds = reached + 0.4 * (roots - reached)  # a few splits for the small boxes
    thresholds[8] = reached[8] + 0.02 * (roots[8] - reached[8])  # and very many for the large one
    query, upper = search(thresholds, 250)
    assert query.holds(upper).tolist() == [True] * 8 + [False]

"""Ways to bound parts: the better one is taken, a slow one is cut off, and batches fit the time left."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pytest
import torch
from robustbench_local.verifiers.input_splitting.bounding import Bounding, Forward, Found, bounding_of
from robustbench_local.verifiers.input_splitting.evaluating import Evaluator
from robustbench_local.verifiers.input_splitting.leaves import Leaves
from robustbench_local.verifiers.input_splitting.state import Course
from torch import Tensor, nn

from robustbench_local.specs import Atom, Box, Query
from robustbench_local.verifiers import DEFAULT_BUDGET, Budget, Graph, InputSplitting

from ..networks import Fn, fill, traced


def problem(width: int = 8, threshold: float = 3.0) -> tuple[Graph, Query]:
    """A network of two inputs with curves, below a threshold or not."""
    network = nn.Sequential(nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
    network.append(nn.Linear(width, 1)).requires_grad_(False)
    fill(network, 3)
    C, d = torch.ones(1, 1, 1, dtype=torch.float64), torch.full((1, 1), -threshold, dtype=torch.float64)
    query = Query(network, Box(-torch.ones(1, 2), torch.ones(1, 2)), C, d, Atom(0, True))
    return traced(Fn(lambda x, f: f(x), network), 2), query


@dataclass
class Slow:
    """A way that uses all the time that it is given, and would take 30 s."""

    seconds: list[float] = field(default_factory=list)

    def bound(self, graph: Graph, query: Query, axes: Tensor, seconds: float | None = None) -> Found:
        spent = min(30.0, 30.0 if seconds is None else seconds)
        self.seconds.append(spent)
        time.sleep(spent)
        return Forward(0, DEFAULT_BUDGET).bound(graph, query, axes)


def test_a_way_that_is_far_too_slow_is_cut_off() -> None:
    graph, query = problem()
    slow = Slow()
    bounding = Bounding((Forward(16, DEFAULT_BUDGET), slow), 2)
    bounding.bound(graph, query, torch.tensor([[0, 1]]), torch.tensor([-1.0], dtype=torch.float64))
    assert (
        bounding.now == 0 and not bounding.pauses.get(0) and len(slow.seconds) == 1 and slow.seconds[0] < 10
    )


@pytest.mark.parametrize("left", [-1.0, 0.05])
def test_no_way_is_given_more_time_than_there_is(left: float) -> None:
    graph, query = problem()
    slow = Slow()
    bounding = Bounding((slow, Forward(16, DEFAULT_BUDGET)), 2, deadline=time.monotonic() + left)
    found = bounding.bound(graph, query, torch.tensor([[0, 1]]), torch.tensor([-1.0], dtype=torch.float64))
    assert slow.seconds and sum(slow.seconds) <= max(0.0, left)
    value = query.violation(2 * torch.rand(1, 2) - 1)
    assert float(found.rows) >= float(value), "bounds out of time are bounds all the same"


@pytest.mark.parametrize(("width", "counts"), [(8, [0, 16, 50, 400]), (2**18, [0, 16, 32])])
def test_wide_networks_have_smaller_forms(width: int, counts: list[int]) -> None:
    network = nn.Sequential(nn.Tanh(), nn.Linear(2, width)).requires_grad_(False)
    graph = traced(Fn(lambda x, f: f(x), network), 2)
    ways = bounding_of(graph, DEFAULT_BUDGET, 50, 2, Course()).ways
    assert [way.symbols for way in ways if isinstance(way, Forward)] == counts


@pytest.mark.parametrize("seconds", [0.25, 1.0, 3.0])
def test_a_batch_of_parts_fits_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """A clock on which every part takes a tenth of a second."""
    now = [0.0]
    whole = Evaluator.bounded

    def bounded(parts: Evaluator, leaves: Leaves) -> Leaves:
        now[0] += 0.1 * len(leaves)
        return whole(parts, leaves)

    monkeypatch.setattr(Evaluator, "bounded", bounded)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    graph, query = problem()
    found = InputSplitting().bound(graph, query, Budget(seconds=seconds, tighten=True))
    assert seconds - 0.2 <= now[0] <= seconds + 0.2 and not found.complete

"""Parameters of rows of their own, or shared by a sample: chosen by memory, valid, never below CROWN."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.sharing import TuningPlan, tuning_plan
from robustbench_local.verifiers.slopes import Slopes
from torch import nn

from robustbench_local.specs import Box
from robustbench_local.strategies import RandomNetwork, networks, queries
from robustbench_local.verifiers import CROWN, AlphaCROWN, Budget, InvProp, Tuning, from_torch

from .networks import Fn, query_of, set_points, traced, uniform

FEW = Tuning(steps=4)


def image() -> Fn:
    """Rows of it start on windows, and become dense."""
    parts = (nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(256, 3))
    return Fn(
        lambda x, a, b, c: c(torch.relu(b(torch.tanh(a(x)))).flatten(1)), *parts, seed=3
    ).requires_grad_(False)


@pytest.mark.parametrize("together", [False, True])
def test_the_choice_follows_the_memory(together: bool) -> None:
    graph = traced(image(), 1, 8, 8)
    plans = [
        tuning_plan(graph, graph.output, rows, graph.like, Budget(memory_bytes=memory), together=together)
        for rows in (1, 16, 100)
        for memory in (1_000, 100_000, 400_000, 10_000_000)
    ]
    own, shared = plans[3].row_bytes, plans[0].row_bytes
    assert own > 1.5 * shared
    least = [1] * 4 + [16] * 4 + [100 if together else 16] * 4
    for plan, rows, memory in zip(plans, least, [1_000, 100_000, 400_000, 10_000_000] * 3, strict=True):
        assert plan.per_row == (rows * own <= memory)
        assert plan == TuningPlan(plan.per_row, own if plan.per_row else shared)
    assert {plan.per_row for plan in plans} == {True, False}


@settings(max_examples=15)
@given(data=st.data(), network=networks(depth=5), memory=st.sampled_from([1_000, 20_000]))
def test_shared_parameters_give_valid_bounds_not_looser_than_crown(
    data: st.DataObject, network: RandomNetwork, memory: int
) -> None:
    graph = from_torch(network, torch.zeros(1, *network.input_shape))
    query = data.draw(queries(network))
    little = Budget(memory_bytes=memory, tighten=True)
    with torch.inference_mode():
        crown = CROWN().bound(graph, query).rows
        tuned = AlphaCROWN(tuning=FEW).bound(graph, query, little).rows
        points = set_points(query.inputs, 40, 7, torch.float32)
        rows = torch.stack([query.atoms(network(x)) for x in points]).amax(0)
    slack = 2e-5 * (1 + torch.maximum(rows.abs(), tuned.abs()).amax(1, keepdim=True))
    assert bool((rows <= tuned + slack).all())
    assert bool((tuned <= crown + slack).all())  # pieces sum in another order


def test_rows_of_their_own_are_tightest_and_shared_ones_still_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x = image(), uniform(1, (3, 1, 8, 8)).float()
    graph, query = traced(network, 1, 8, 8), query_of(network, Box(x - 0.1, x + 0.1), 3)
    used: list[bool] = []
    real = Slopes.at

    def watched(self: Slopes, *args: object) -> torch.Tensor | None:
        used.append(self.per_row)
        return real(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Slopes, "at", watched)
    crown, found = CROWN().bound(graph, query).rows, []
    for memory in (10_000_000, 50_000):
        used.clear()
        found.append(AlphaCROWN(tuning=FEW).bound(graph, query, Budget(None, memory, tighten=True)).rows)
        assert set(used) == {memory == 10_000_000}
    own, shared = found
    assert float((crown - shared).mean()) > 1e-3 and float((shared - own).mean()) > 1e-3
    assert bool((own <= crown).all() and (shared <= crown + 1e-5).all())


def test_output_constraints_work_with_shared_parameters() -> None:
    network, x = image(), uniform(1, (2, 1, 8, 8)).float()
    graph, query = traced(network, 1, 8, 8), query_of(network, Box(x - 0.1, x + 0.1), 3, rows=1)
    method = InvProp(tuning=FEW, rounds=1)
    shared = method.bound(graph, query, Budget(memory_bytes=50_000)).upper
    points = set_points(query.inputs, 100, 3, torch.float32)
    worst = torch.stack([query.violation(x) for x in points]).amax(0)
    assert bool((worst <= shared + 1e-5).all())
    assert bool((shared <= CROWN().bound(graph, query).upper + 1e-5).all())

"""Chunks of samples and rows under a memory budget, and what happens when the time is over."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from robustbench_local.verifiers.crown import HiddenRows
from robustbench_local.verifiers.memory import row_chunks
from torch import Tensor, nn

from robustbench_local.specs import Ball, Box
from robustbench_local.verifiers import CROWN, IBP, AlphaCROWN, Budget, CrownIBP, Tuning, resumed

from .networks import ENGINES, Fn, query_of, traced, uniform, value

NETWORK = Fn(
    lambda x, a, b, c, d: d(torch.relu(c(torch.relu(b(torch.relu(a(x)).flatten(1)))))),
    nn.Conv2d(1, 3, 3, padding=1),
    nn.Linear(108, 20),
    nn.Linear(20, 20),
    nn.Linear(20, 3),
).requires_grad_(False)


@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    memory=st.integers(1, 400),
    row_bytes=st.integers(1, 20),
    seed=st.integers(0, 99),
)
def test_chunks_hold_every_row_once_within_the_budget(
    counts: list[int], memory: int, row_bytes: int, seed: int
) -> None:
    mask = torch.zeros(len(counts), 9, dtype=torch.bool)
    for row, count in zip(mask, counts, strict=True):
        row[uniform(seed, (9,)).argsort()[:count]] = True
    seen = torch.zeros_like(mask, dtype=torch.int64)
    for samples, part in row_chunks(mask, row_bytes, Budget(memory_bytes=memory)):
        assert part.shape == (len(samples), 9) and len(set(samples.tolist())) == len(samples)
        seen[samples] += part
        if bool(part.any()):
            rows = len(samples) * int(part.sum(1).max())
            assert rows == 1 or 2 * rows * row_bytes <= memory
    assert torch.equal(seen, mask.long())


@pytest.mark.parametrize("limit", [0.5, 1.5, 2.5, 4.5])
def test_passes_one_after_the_other_share_one_limit(monkeypatch: pytest.MonkeyPatch, limit: float) -> None:
    """A clock on which every backward pass of hidden neurons takes a second."""
    now = [0.0]
    whole = HiddenRows.lower

    def slow(rows: HiddenRows, *arguments: Any, **settings: Any) -> Tensor:
        now[0] += 1.0
        return whole(rows, *arguments, **settings)

    def clock() -> float:
        now[0] += 1e-6
        return now[0]

    monkeypatch.setattr(HiddenRows, "lower", slow)
    monkeypatch.setattr(time, "monotonic", clock)
    x = uniform(1, (1, 1, 6, 6)).float()
    query = query_of(NETWORK, Box(x - 0.3, x + 0.3), 3)
    found, _ = resumed(AlphaCROWN(), traced(NETWORK, 1, 6, 6), query, budget=Budget(seconds=limit))
    assert now[0] <= limit + 1.01 and not found.complete and bool(found.upper.isfinite().all())


@pytest.mark.parametrize("memory", [10_000, 50_000])
def test_networks_in_parts_have_the_same_bounds(memory: int) -> None:
    x = uniform(1, (6, 1, 6, 6)).float()
    radius = torch.tensor([0.0, 0.01, 0.1, 0.3, 0.02, 1.0])
    graph = traced(NETWORK, 1, 6, 6)
    for inputs in (Ball(x, radius, float("inf")), Ball(x, radius, 2), Ball(x, radius, 1)):
        query = query_of(NETWORK, inputs, 3)
        for engine in ENGINES.values():
            parts = engine.bound(graph, query, Budget(memory_bytes=memory))
            torch.testing.assert_close(value(parts), value(engine.bound(graph, query)), rtol=1e-5, atol=1e-5)
            assert parts.complete


def test_without_time_crown_has_the_hidden_bounds_of_intervals() -> None:
    x = uniform(1, (3, 1, 6, 6)).float()
    graph, query = traced(NETWORK, 1, 6, 6), query_of(NETWORK, Box(x - 0.1, x + 0.1), 3)
    none, full, fast = (
        engine.bound(graph, query, budget)
        for engine, budget in ((CROWN(), Budget(seconds=0)), (CROWN(), Budget()), (CrownIBP(), Budget()))
    )
    assert not none.complete and full.complete
    torch.testing.assert_close(none.rows, fast.rows)
    assert bool((full.rows <= none.rows + 1e-5).all()) and bool((full.rows < none.rows - 1e-3).any())


@pytest.mark.parametrize("engine", [IBP(), CrownIBP()], ids=lambda e: e.name)
def test_one_pass_methods_always_finish(engine: IBP | CrownIBP) -> None:
    x = uniform(1, (3, 1, 6, 6)).float()
    graph, query = traced(NETWORK, 1, 6, 6), query_of(NETWORK, Box(x - 0.1, x + 0.1), 3)
    hurried = engine.bound(graph, query, Budget(seconds=0))
    assert hurried.complete
    assert torch.equal(hurried.rows, engine.bound(graph, query).rows)


def test_networks_without_hidden_neurons_need_no_time() -> None:
    network = Fn(lambda x, a: a(x), nn.Linear(3, 3)).requires_grad_(False)
    query = query_of(network, Box(-torch.ones(1, 3), torch.ones(1, 3)), 3)
    assert CROWN().bound(traced(network, 3), query, Budget(seconds=0)).complete


@pytest.mark.parametrize("most", [1, 7, 40])
def test_rows_that_run_out_of_memory_are_halved(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = uniform(1, (4, 1, 6, 6)).float()
    query, graph = query_of(NETWORK, Box(x - 0.2, x + 0.2), 3), traced(NETWORK, 1, 6, 6)
    engines = (CROWN(), AlphaCROWN(tuning=Tuning(steps=2)))
    want = [engine.bound(graph, query).rows for engine in engines]
    real, refused = HiddenRows.lower, []

    def scarce(self: HiddenRows, *args: object, **settings: object) -> torch.Tensor:
        if self.pick.numel() > most:
            refused.append(self.pick.numel())
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.9 GiB")
        return real(self, *args, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(HiddenRows, "lower", scarce)
    for engine, rows in zip(engines, want, strict=True):
        torch.testing.assert_close(engine.bound(graph, query).rows, rows, rtol=1e-4, atol=1e-4)
    assert refused
    monkeypatch.setattr(HiddenRows, "lower", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        CROWN().bound(graph, query)

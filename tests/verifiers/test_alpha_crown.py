"""alpha-CROWN: sound, never looser than CROWN, as tight as the LP relaxation, and obedient to its budget."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.tuning import Tuning
from torch import Tensor, nn

from robustbench_local.specs import Ball, Box, Query
from robustbench_local.strategies import RandomNetwork, networks, queries
from robustbench_local.verifiers import CROWN, VERIFIERS, AlphaCROWN, Budget, find_verifier, from_torch

from .networks import Fn, query_of, set_points, traced, uniform

FEW = AlphaCROWN(tuning=Tuning(steps=4))
TIGHTEN = Budget(tighten=True)


def mlp(seed: int = 0) -> Fn:
    layers = (nn.Linear(4, 12), nn.Linear(12, 12), nn.Linear(12, 3))
    return Fn(lambda x, a, b, c: c(torch.relu(b(torch.relu(a(x))))), *layers, seed=seed).requires_grad_(False)


def image() -> Fn:
    parts = (nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1), nn.Linear(108, 3))

    def forward(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module) -> Tensor:
        h = torch.relu(a(x))
        return c(torch.relu(h + b(h)).flatten(1))

    return Fn(forward, *parts).requires_grad_(False)


def slack(*rows: Tensor) -> Tensor:
    return 2e-5 * (1 + torch.stack([r.abs().amax(1) for r in rows]).amax(0)).unsqueeze(1)


@settings(max_examples=20)
@given(data=st.data(), network=networks(depth=6), tighten=st.booleans())
def test_points_stay_below_and_crown_is_never_tighter(
    data: st.DataObject, network: RandomNetwork, tighten: bool
) -> None:
    graph = from_torch(network, torch.zeros(1, *network.input_shape))
    query: Query = data.draw(queries(network))
    with torch.inference_mode():
        crown = CROWN().bound(graph, query)
        tuned = FEW.bound(graph, query, Budget(tighten=tighten))
        points = set_points(query.inputs, 40, 7, torch.float32)
        rows = torch.stack([query.atoms(network(x)) for x in points]).amax(0)
    assert bool((rows <= tuned.rows + slack(rows, tuned.rows)).all())
    assert bool((tuned.rows <= crown.rows).all())
    assert torch.equal(tuned.upper, query.combine(tuned.rows)) and tuned.complete


def test_two_neurons_by_hand() -> None:
    """relu(x) - relu(x - 1) on [-1, 2]: the LP bounds are known, and no adaptive slope gives them."""
    first, last = nn.Linear(1, 2), nn.Linear(2, 1)
    network = Fn(lambda x, a, b: b(torch.relu(a(x))), first, last).requires_grad_(False)
    first.weight.copy_(torch.ones(2, 1))
    first.bias.copy_(torch.tensor([0.0, -1.0]))
    last.weight.copy_(torch.tensor([[1.0, -1.0]]))
    last.bias.zero_()
    graph, query = (
        traced(network, 1),
        query_of(network, Box(torch.tensor([[-1.0]]), torch.tensor([[2.0]])), 1, 2),
    )
    # upper: chord 2/3 (x + 1) - max(0, x - 1) at x = 1 is 4/3; its negative: chord 1/3 (x + 1) - max(0, x)
    # with pre-activations in [-2, 1] at x = 0 is 1/3
    C = torch.tensor([[[1.0], [-1.0]]], dtype=torch.float64)
    query = Query(network, query.inputs, C, torch.zeros(1, 2, dtype=torch.float64), query.tree)
    found = AlphaCROWN(tuning=Tuning(steps=100)).bound(graph, query, TIGHTEN).rows
    torch.testing.assert_close(found, torch.tensor([[4 / 3, 1 / 3]]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("build", "memory"), [(mlp, 24_000), (mlp, 60_000), (image, 210_000), (image, 400_000)]
)
def test_work_in_parts_gives_the_same_bounds(build: type[Fn], memory: int) -> None:
    network = build()
    shape = (4,) if build is mlp else (1, 6, 6)
    graph, x = traced(network, *shape), uniform(1, (4, *shape)).float()
    query = query_of(network, Box(x - 0.1, x + 0.1), 3)
    whole, parts = (FEW.bound(graph, query, Budget(memory_bytes=m, tighten=True)) for m in (None, memory))
    torch.testing.assert_close(parts.rows, whole.rows, rtol=1e-3, atol=1e-3)
    order = torch.tensor([2, 0])
    some = FEW.bound(graph, query.select(order), TIGHTEN)
    torch.testing.assert_close(some.rows, whole.rows[order], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_balls_are_tuned_too(p: float) -> None:
    network = mlp()
    query = query_of(network, Ball(uniform(1, (5, 4)).float(), 0.8, p), 3)
    graph = traced(network, 4)
    crown, tuned = CROWN().bound(graph, query).rows, FEW.bound(graph, query, TIGHTEN).rows
    assert bool((tuned <= crown).all()) and float((crown - tuned).mean()) > 0.01
    points = set_points(query.inputs, 200, 3, torch.float32)
    rows = torch.stack([query.atoms(network(x)) for x in points]).amax(0)
    assert bool((rows <= tuned + slack(rows)).all())


def test_no_time_leaves_the_bounds_of_crown() -> None:
    network, x = mlp(), uniform(1, (3, 4)).float()
    graph, query = traced(network, 4), query_of(network, Box(x - 0.5, x + 0.5), 3)
    late = AlphaCROWN().bound(graph, query, Budget(seconds=0.0, tighten=True))
    assert not late.complete
    assert bool((late.rows <= VERIFIERS["ibp"].bound(graph, query).rows + 1e-5).all())


def test_decided_samples_keep_the_bounds_of_crown_unless_asked() -> None:
    network, x = mlp(), uniform(1, (3, 4)).float()
    graph, query = traced(network, 4), query_of(network, Box(x - 0.3, x + 0.3), 3)
    easy = Query(network, query.inputs, query.C, query.d - 100, query.tree)
    crown = CROWN().bound(graph, easy).rows
    assert torch.equal(AlphaCROWN().bound(graph, easy).rows, crown)
    assert float(AlphaCROWN().bound(graph, easy, TIGHTEN).rows.mean()) < float(crown.mean())


def test_no_number_stays_no_number() -> None:
    network, x = mlp(), uniform(1, (2, 4)).float()
    graph = traced(network, 4)
    query = query_of(network, Box(x - 0.3, x + 0.3), 3)
    network.get_parameter("part1.weight")[0, 0] = math.nan
    bounds = FEW.bound(graph, query)
    assert bool(bounds.upper.isnan().all()) and not bool(query.holds(bounds.upper).any())


def test_weights_and_their_gradients_are_left_alone() -> None:
    network, x = mlp().requires_grad_(True), uniform(1, (2, 4)).float()
    graph, query = traced(network, 4), query_of(network, Box(x - 0.3, x + 0.3), 3)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    rows = find_verifier("alpha-crown").bound(graph, query, TIGHTEN).rows
    assert not rows.requires_grad
    for name, parameter in network.named_parameters():
        assert parameter.grad is None and torch.equal(parameter, before[name])

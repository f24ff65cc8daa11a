"""Bounds of outputs over boxes, the registry of verifiers, and graphs as values."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from robustbench_local.errors import DtypeError, EmptySetError, ShapeError, UnknownNameError
from robustbench_local.specs import Box
from robustbench_local.verifiers import (
    CROWN,
    IBP,
    VERIFIERS,
    Budget,
    CrownIBP,
    Verifier,
    find_verifier,
    output_bounds,
    verifier,
)

from .networks import ENGINES, Fn, box_points, query_of, run_points, traced, uniform

NETWORK = Fn(
    lambda x, a, b: b(torch.relu(a(x))).unflatten(1, (2, 3)), nn.Linear(4, 8), nn.Linear(8, 6)
).requires_grad_(False)
GRAPH = traced(NETWORK, 4)
LOWER, UPPER = uniform(1, (3, 4)).float() - 0.2, uniform(1, (3, 4)).float() + 0.3


@pytest.mark.parametrize("engine", ENGINES)
def test_outputs_keep_their_shape(engine: str) -> None:
    low, high = output_bounds(GRAPH, LOWER, UPPER, ENGINES[engine])
    assert low.shape == high.shape == (3, 2, 3)
    y = run_points(NETWORK, box_points(LOWER, UPPER))
    assert bool((low <= y + 1e-5).all() and (y <= high + 1e-5).all())


def test_rows_may_be_shared_or_per_sample() -> None:
    C = uniform(2, (5, 6))
    shared = output_bounds(GRAPH, LOWER, UPPER, CROWN(), C)
    own = output_bounds(
        GRAPH, LOWER, UPPER, CROWN(), C.float().expand(3, 5, 6), budget=Budget(memory_bytes=1)
    )
    for one, other in zip(shared, own, strict=True):
        assert one.shape == (3, 5)
        torch.testing.assert_close(one, other)


def test_bounds_of_a_row_and_of_its_negative_mirror() -> None:
    C = uniform(2, (5, 6))
    low, high = output_bounds(GRAPH, LOWER, UPPER, CROWN(), C)
    mirrored = output_bounds(GRAPH, LOWER, UPPER, CROWN(), -C)
    torch.testing.assert_close(mirrored[0], -high)
    torch.testing.assert_close(mirrored[1], -low)


def test_an_output_of_one_number() -> None:
    graph = traced(Fn(lambda x, a: torch.relu(a(x)).sum(1), nn.Linear(4, 3)), 4)
    assert graph.output_shape == ()
    for engine in ENGINES.values():
        low, high = output_bounds(graph, LOWER, UPPER, engine)
        assert low.shape == (3,) and bool((low <= high).all())


def test_hand_computed_bounds() -> None:
    network = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([[1.0, 1.0], [1.0, -1.0]]))
        network[2].weight.copy_(torch.tensor([[1.0, -1.0]]))
    graph, one = traced(network.eval().requires_grad_(False), 2), torch.ones(1, 2)
    # hidden values lie in [-2, 2], each ReLU in [0, 2]
    low, high = output_bounds(graph, -one, one, IBP())
    assert (float(low), float(high)) == (-2, 2)
    # y <= (h1 / 2 + 1) - 0 * h2 (slope 0 at the tie) = (x1 + x2) / 2 + 1 <= 2, and alike from below
    for engine in (CROWN(intersect=False), CrownIBP(intersect=False)):
        low, high = output_bounds(graph, -one, one, engine)
        assert (float(low), float(high)) == (-2, 2)
    # on [0, 1]^2 h1 is active and h2 in [-1, 1]: x1 + x2 - (x1 - x2 + 1) / 2 <= y <= x1 + x2 - 0
    low, high = output_bounds(graph, 0 * one, one, CROWN(intersect=False))
    assert (float(low), float(high)) == (-0.5, 2)


def test_misfits_are_named() -> None:
    with pytest.raises(ShapeError, match=r"C has shape \(3, 5, 7\)") as caught:
        output_bounds(GRAPH, LOWER, UPPER, IBP(), torch.zeros(5, 7))
    assert caught.value.cure == "give (3, K, 6) or (K, 6): one column per network output"
    with pytest.raises(ShapeError, match="C has shape"):
        output_bounds(GRAPH, LOWER, UPPER, IBP(), torch.zeros(2, 5, 6))
    with pytest.raises(EmptySetError):
        output_bounds(GRAPH, UPPER, LOWER, IBP())
    with pytest.raises(ShapeError) as caught:
        output_bounds(GRAPH, LOWER[:, :3], UPPER[:, :3], IBP())
    assert caught.value.what == "the input set has shape (3,), the network takes (4,)"
    assert caught.value.cure == "declare the variable of the specification with the network's input shape"


@pytest.mark.parametrize("name", VERIFIERS)
def test_every_verifier_checks_that_query_and_network_fit(name: str) -> None:
    engine = VERIFIERS[name]
    assert isinstance(engine, Verifier) and find_verifier(name) is engine
    with pytest.raises(ShapeError, match=r"the input set has shape \(4, 1\), the network takes \(4,\)"):
        engine.bound(GRAPH, query_of(NETWORK, Box(LOWER[..., None], UPPER[..., None]), 6))
    with pytest.raises(ShapeError, match="the specification speaks of 5 outputs, the network has 6"):
        engine.bound(GRAPH, query_of(NETWORK, Box(LOWER, UPPER), 5))


def test_an_unknown_verifier_is_named() -> None:
    with pytest.raises(UnknownNameError, match="unknown verifier 'crwon'") as caught:
        find_verifier("crwon")
    assert caught.value.cure is not None and "did you mean 'crown'" in caught.value.cure


def test_classes_and_objects_register() -> None:
    try:
        assert verifier("a class")(IBP) is IBP
        verifier("an object")(CROWN(intersect=False))
        assert VERIFIERS["a class"] == IBP()
        assert VERIFIERS["an object"] == CROWN(intersect=False)
    finally:
        for name in ("a class", "an object"):
            VERIFIERS.pop(name, None)


def test_graphs_change_dtype_as_values() -> None:
    double = GRAPH.to(torch.float64)
    assert (GRAPH.dtype, double.dtype) == (torch.float32, torch.float64)
    assert (GRAPH.to("cpu").dtype, GRAPH.device.type) == (torch.float32, "cpu")
    with pytest.raises(DtypeError, match=r"cannot run in torch\.int64. Use torch\.float32 or torch\.float64"):
        GRAPH.to(torch.int64)
    bare = traced(nn.ReLU(), 3)
    assert bare.dtype == torch.float32
    assert bare.to(torch.float64).dtype == torch.float64
    assert traced(nn.ReLU(), 3, dtype=torch.float64).dtype == torch.float64


def test_running_a_graph_on_other_shapes_is_refused() -> None:
    with pytest.raises(ShapeError) as caught:
        GRAPH.run(torch.zeros(4, 1))
    assert str(caught.value) == (
        "the network takes samples of shape (4,), got (1,). Give a batch: axis 0 counts samples"
    )
    with pytest.raises(ShapeError, match="computes nothing"):
        GRAPH.input.run()

"""All engines on random networks and sets: sound, ordered, and independent of how the work is cut up."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_local.attacks import pgd
from robustbench_local.specs import Query
from robustbench_local.strategies import RandomNetwork, networks, queries
from robustbench_local.verifiers import CROWN, Budget, Graph, from_torch

from .networks import ENGINES, set_points, value

MANY = settings(max_examples=30)
FEW = settings(max_examples=12)
DEEP = networks(depth=6)


def problem(data: st.DataObject, network: RandomNetwork, batch: int | None = None) -> tuple[Graph, Query]:
    graph = from_torch(network, torch.zeros(1, *network.input_shape))
    return graph, data.draw(queries(network, batch=batch))


def slack(*rows: torch.Tensor) -> torch.Tensor:
    """What float32 may lose on values of this size."""
    return 2e-5 * (1 + torch.stack([r.abs().amax(1) for r in rows]).amax(0)).unsqueeze(1)


@MANY
@given(data=st.data(), network=DEEP)
def test_points_and_attacks_stay_below_every_bound(data: st.DataObject, network: RandomNetwork) -> None:
    graph, query = problem(data, network)
    with torch.no_grad():
        bounds = {name: engine.bound(graph, query) for name, engine in ENGINES.items()}
        points = set_points(query.inputs, 40, 7, torch.float32)
        rows = torch.stack([query.atoms(network(x)) for x in points]).amax(0)
    ibp, extra = bounds["ibp"].rows, slack(bounds["ibp"].rows)
    assert bool((bounds["crown-ibp"].rows <= ibp + extra).all()), "looser than intervals"
    assert bool((bounds["crown"].rows <= ibp + extra).all()), "looser than intervals"
    found = pgd(query, steps=5, step_size=0.5, restarts=2, early_stop=False)
    for name, bound in bounds.items():
        extra = slack(rows, bound.rows)
        assert bool((rows <= bound.rows + extra).all()), name
        assert bool((found.violation <= bound.upper + extra[:, 0]).all()), name
        assert not bool((query.holds(bound.upper) & found.violated).any()), name
        assert torch.equal(bound.upper, query.combine(bound.rows)) and bound.complete


@FEW
@given(data=st.data(), network=DEEP)
def test_float32_and_float64_agree(data: st.DataObject, network: RandomNetwork) -> None:
    graph, query = problem(data, network)
    double = graph.to(torch.float64)
    for name, engine in ENGINES.items():
        with torch.no_grad():
            small, large = value(engine.bound(graph, query)), value(engine.bound(double, query))
        assert (small.dtype, large.dtype) == (torch.float32, torch.float64)
        assert bool(((small - large).abs() <= 5 * slack(large)).all()), name


@FEW
@given(data=st.data(), network=DEEP)
def test_a_sample_does_not_depend_on_the_batch(data: st.DataObject, network: RandomNetwork) -> None:
    graph, query = problem(data, network, batch=5)
    order = torch.tensor([3, 0, 4])
    for name, engine in ENGINES.items():
        with torch.no_grad():
            whole = value(engine.bound(graph, query))
            part = value(engine.bound(graph, query.select(order)))
            single = value(engine.bound(graph, query.select(torch.tensor([2]))))
        extra = slack(whole)
        assert bool(((part - whole[order]).abs() <= extra[order]).all()), name
        assert bool(((single - whole[2:3]).abs() <= extra[2:3]).all()), name


@FEW
@given(data=st.data(), network=DEEP, memory=st.sampled_from([1, 300, 3000, 30_000]))
def test_any_memory_budget_gives_the_same_bounds(
    data: st.DataObject, network: RandomNetwork, memory: int
) -> None:
    graph, query = problem(data, network)
    for name, engine in ENGINES.items():
        with torch.no_grad():
            free = value(engine.bound(graph, query))
            tight = value(engine.bound(graph, query, Budget(memory_bytes=memory)))
        assert bool(((free - tight).abs() <= slack(free)).all()), name


@FEW
@given(data=st.data(), network=DEEP, seconds=st.sampled_from([0.0, 0.001]))
def test_out_of_time_bounds_are_valid_and_no_tighter(
    data: st.DataObject, network: RandomNetwork, seconds: float
) -> None:
    graph, query = problem(data, network)
    with torch.no_grad():
        full, hurried = (CROWN().bound(graph, query, b) for b in (Budget(), Budget(seconds=seconds)))
        points = set_points(query.inputs, 20, 7, torch.float32)
        rows = torch.stack([query.atoms(network(x)) for x in points]).amax(0)
    assert full.complete
    assert bool((rows <= hurried.rows + slack(rows, hurried.rows)).all())
    if not hurried.complete:
        ibp = value(ENGINES["ibp"].bound(graph, query))
        assert bool((hurried.rows <= ibp + slack(ibp)).all())
        assert bool(hurried.upper.isfinite().all()) and math.isfinite(float(full.upper.sum()))

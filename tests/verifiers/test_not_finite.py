"""NaN, infinity and overflow: nothing that is not a number ever proves anything, whichever the verifier."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.errors import NonFiniteError, RobustBenchError, UnboundedSetError
from robustbench_local.specs import Any, Atom, Ball, Box, Query
from robustbench_local.verifiers import VERIFIERS, Graph, output_bounds

from .networks import Fn, traced, uniform

VERIFIER = pytest.mark.parametrize("verifier", VERIFIERS)
BAD = pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])

NETWORKS = {
    "relu": lambda: Fn(lambda x, a, b: b(torch.relu(a(x))), nn.Linear(3, 3), nn.Linear(3, 2)),
    "tanh": lambda: Fn(lambda x, a, b: b(torch.tanh(a(x))), nn.Linear(3, 2), nn.Linear(2, 2)),
    "image": lambda: Fn(
        lambda x, a, b, c: c(F.max_pool2d(torch.relu(b(a(x.view(-1, 1, 1, 3)))), (1, 2)).flatten(1)),
        nn.Conv2d(1, 2, (1, 2)),
        nn.BatchNorm2d(2),
        nn.Linear(2, 2),
    ),
}


@cache
def network(name: str) -> Fn:
    return NETWORKS[name]().requires_grad_(False)


@cache
def graph(name: str) -> Graph:
    return traced(network(name), 3)


def easy(name: str, inputs: Box | Ball | None = None) -> Query:
    """A property that plainly holds: no output reaches 1000."""
    sets = Box(-torch.ones(2, 3), torch.ones(2, 3)) if inputs is None else inputs
    C = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]], dtype=torch.float64).expand(sets.batch, -1, -1)
    d = torch.full((sets.batch, 3), -1000.0, dtype=torch.float64)
    return Query(network(name), sets, C, d, Any(tuple(Atom(i, strict=True) for i in range(3))))


def proved(verifier: str, name: str, query: Query) -> Tensor:
    """What the verifier claims to hold; a refusal claims nothing."""
    with torch.no_grad():
        try:
            bounds = VERIFIERS[verifier].bound(graph(name), query)
        except RobustBenchError:
            return torch.zeros(query.batch, dtype=torch.bool)
    return query.holds(bounds.upper)


@contextmanager
def overwritten(tensor: Tensor, place: int, number: float) -> Iterator[None]:
    flat = tensor.view(-1)
    before = flat[place].clone()
    try:
        flat[place] = number
        yield
    finally:
        flat[place] = before


@BAD
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_that_are_not_finite_are_refused_by_name(name: str, bad: float) -> None:
    module = NETWORKS[name]().requires_grad_(False)
    where = "part0.weight"
    with overwritten(dict(module.named_parameters())[where], 1, bad), pytest.raises(NonFiniteError) as caught:
        traced(module, 3)
    assert str(caught.value) == (
        "a weight is NaN or infinite (part0.weight). Retrain or reload the weights; nothing can be proved"
    )


def test_statistics_that_are_not_finite_are_refused() -> None:
    module = NETWORKS["image"]().requires_grad_(False)
    with (
        overwritten(dict(module.named_buffers())["part1.running_var"], 0, math.inf),
        pytest.raises(NonFiniteError, match=r"part1\.running_var"),
    ):
        traced(module, 3)


@VERIFIER
@pytest.mark.parametrize("name", NETWORKS)
def test_the_property_holds_while_all_is_well(name: str, verifier: str) -> None:
    assert bool(proved(verifier, name, easy(name)).all())


@BAD
@VERIFIER
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_that_go_bad_after_the_trace_prove_nothing(name: str, verifier: str, bad: float) -> None:
    step = 5 if verifier == "auto-lirpa" else 1  # rebuilds its model each time
    query = easy(name)
    for key, tensor in network(name).state_dict().items():
        if not tensor.is_floating_point() or (key.endswith("running_var") and bad > 0):
            continue  # the scale of an infinite variance is a plain zero
        for place in range(0, tensor.numel(), step):
            with overwritten(tensor, place, bad):
                assert not bool(proved(verifier, name, query).any()), (key, place)


@pytest.mark.parametrize("verifier", ["ibp", "crown-ibp", "crown"])  # auto-LiRPA saturates at infinity
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("factor", [-3e38, 3e38])
def test_weights_that_overflow_prove_nothing(name: str, verifier: str, factor: float) -> None:
    weight = network(name).part0.weight
    before = weight.clone()
    try:
        weight.fill_(factor)
        far = Box(torch.full((2, 3), 2.0), torch.full((2, 3), 3.0))
        assert not bool(proved(verifier, name, easy(name, far)).any())
    finally:
        weight.copy_(before)


@VERIFIER
@BAD
def test_coefficients_that_are_not_finite_prove_nothing(verifier: str, bad: float) -> None:
    good = easy("relu")
    C, d = good.C.clone(), good.d.clone()
    C[0, 1, 0], d[1, 2] = bad, abs(bad)
    query = Query(good.network, good.inputs, C, d, good.tree)
    assert not bool(proved(verifier, "relu", query).any())


@BAD
def test_sets_that_are_not_finite_are_refused(bad: float) -> None:
    x = uniform(1, (2, 3)).float()
    broken = x.clone()
    broken[1, 2] = bad
    for make in (lambda: Box(broken, x), lambda: Box(x, broken), lambda: Ball(broken, 0.1, 2)):
        with pytest.raises((NonFiniteError, UnboundedSetError)):
            make()
    with pytest.raises((NonFiniteError, UnboundedSetError)):
        output_bounds(graph("relu"), x, broken, VERIFIERS["crown"])


@VERIFIER
def test_a_set_of_the_largest_numbers_proves_nothing(verifier: str) -> None:
    huge = torch.full((1, 3), 3e38)
    assert not bool(proved(verifier, "relu", easy("relu", Box(-huge, huge))).any())

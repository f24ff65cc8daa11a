"""auto-LiRPA against our engines over every network that it loads, and the table of what it loads."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustbench_local.errors import UnsupportedOpError
from robustbench_local.models import load_model
from robustbench_local.specs import Any, Atom, Ball, Box, Query
from robustbench_local.strategies import RandomNetwork, networks
from robustbench_local.verifiers import CROWN, VERIFIERS, AutoLirpa, from_torch

from .auto_lirpa_ops import BEGIN, END, METHODS, PAGE, PROBES, verdicts
from .families import FAMILIES, family
from .networks import box_points, run_points

#: Operations for which both take the same lines, so that the bounds are equal; others on small boxes only.
EQUAL = frozenset(
    (
        *("relu", "leaky relu", "sum", "mean", "concatenation", "conv2d", "transposed conv2d"),
        *("batch norm", "average pooling", "global average"),
    )
)
EQUAL_WHEN_SMALL = frozenset(("sigmoid", "tanh", "exp", "log", "reciprocal", "atan"))
#: What its CROWN loads.
LOADED = [
    "relu", "leaky relu", "sigmoid", "tanh", "silu", "exp", "log", "reciprocal", "abs", "sin", "cos", "atan",
    "matmul of two", "sum", "mean", "concatenation", "conv2d", "transposed conv2d", "batch norm",
    "average pooling", "max pooling", "global average",
]  # fmt: skip


def bounds_of(network: nn.Module, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Upper bounds of all outputs and their negatives, by us and by it; and the largest sampled values."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = from_torch(network, lower)
        y = run_points(graph.run, box_points(lower, upper, count=20)).flatten(2)
        rows = torch.cat((torch.eye(y.shape[2]), -torch.eye(y.shape[2]))).double().expand(len(lower), -1, -1)
        tree = Any(tuple(Atom(i, strict=True) for i in range(rows.shape[1])))
        query = Query(network, Box(lower, upper), rows, torch.zeros(rows.shape[:2]), tree)
        theirs = AutoLirpa("crown").bound(graph, query).rows
        return CROWN(intersect=False).bound(graph, query).rows, theirs, torch.cat((y, -y), 2).amax(0)


def assert_no_contradiction(ours: Tensor, theirs: Tensor, most: Tensor) -> None:
    extra = 2e-5 * (1 + most.abs().amax(1, keepdim=True))
    assert bool((most <= ours + extra).all()), "ours exclude a sampled value"
    assert bool((most <= theirs + extra).all()), "its bounds exclude a sampled value"


def width(rows: Tensor) -> float:
    """Mean of upper minus lower bounds: the second half of the rows are the negatives of the first."""
    return float((rows[:, : rows.shape[1] // 2] + rows[:, rows.shape[1] // 2 :]).mean())


@pytest.mark.parametrize("radius", [0.05, 0.5])
@pytest.mark.parametrize("name", LOADED)
def test_bounds_agree_with_its_bounds(name: str, radius: float) -> None:
    make, shape = PROBES[name]
    centre = 0.3 * torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    ours, theirs, most = bounds_of(make().eval(), centre - radius, centre + radius)
    assert_no_contradiction(ours, theirs, most)
    if name in EQUAL or (name in EQUAL_WHEN_SMALL and radius < 0.1):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-5)
    assert width(ours) <= 1.06 * width(theirs)  # sin, cos and exp take a tangent in another point: up to 5 %


@settings(max_examples=10)
@given(data=st.data(), network=networks(depth=4))
def test_random_networks_hold_no_contradiction(data: st.DataObject, network: RandomNetwork) -> None:
    seed = data.draw(st.integers(0, 1000))
    centre = torch.rand(2, *network.input_shape, generator=torch.Generator().manual_seed(seed))
    try:
        ours, theirs, most = bounds_of(network, centre - 0.1, centre + 0.1)
    except UnsupportedOpError as error:
        assert "auto-LiRPA" in str(error)
        return
    assert_no_contradiction(ours, theirs, most)


@pytest.mark.parametrize("weights", ["nominal", "certified"])
@pytest.mark.parametrize("name", ["digits-mlp", "digits-cnn"])
def test_digit_classifiers_get_equal_bounds(name: str, weights: str) -> None:
    centre = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    ours, theirs, most = bounds_of(load_model(name, weights).eval(), centre - 0.02, centre + 0.02)
    assert_no_contradiction(ours, theirs, most)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_families_load_or_are_refused(name: str) -> None:
    shape, radius = FAMILIES[name].shape, FAMILIES[name].radius
    centre = torch.rand(1, *shape, generator=torch.Generator().manual_seed(4))
    try:
        assert_no_contradiction(*bounds_of(family(name), centre - radius, centre + radius))
    except UnsupportedOpError as error:
        assert "auto-LiRPA" in str(error)


def rows_of_the_page() -> dict[str, list[str]]:
    table = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0].strip().splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {cell[0]: cell[1:] for cell in cells}


@pytest.mark.parametrize("name", PROBES)
def test_the_page_tells_what_it_loads(name: str) -> None:
    assert rows_of_the_page()[name] == verdicts(name)


def test_the_page_lists_every_operation() -> None:
    rows = rows_of_the_page()
    assert list(rows) == list(PROBES)
    crown = METHODS.index("crown")
    assert [name for name, cells in rows.items() if cells[crown] == "yes"] == LOADED


def test_every_method_has_a_name() -> None:
    found = {name: v.method for name, v in VERIFIERS.items() if isinstance(v, AutoLirpa)}
    assert found == {
        "auto-lirpa": "crown",
        "auto-lirpa-alpha": "alpha-crown",
        "auto-lirpa-crown-ibp": "crown-ibp",
        "auto-lirpa-ibp": "ibp",
    }
    assert all(v.name == name for name, v in VERIFIERS.items() if isinstance(v, AutoLirpa))


def test_its_false_bounds_of_sqrt_are_refused() -> None:
    make, shape = PROBES["sqrt"]
    network, centre = make().eval(), torch.zeros(1, *shape)
    query = Query(network, Ball(centre, 0.1), torch.ones(1, 1, 3).double(), torch.zeros(1, 1), Atom(0, True))
    graph = from_torch(network, centre)
    with torch.no_grad():
        assert bool(AutoLirpa("ibp").bound(graph, query).rows.isfinite().all())
        for method in ("crown", "crown-ibp", "alpha-crown"):
            with pytest.raises(UnsupportedOpError, match="bounds of Sqrt are false"):
                AutoLirpa(method).bound(graph, query)
    assert "Sqrt" in (AutoLirpa("alpha-crown").applies(graph, query) or "")
    assert AutoLirpa("ibp").applies(graph, query) is None
    assert AutoLirpa().applies(graph, None) is None

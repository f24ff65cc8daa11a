"""Sums of products in forward mode: sound, never looser than product by product, exact on convex forms."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.dot_products import sum_of_products
from robustbench_local.verifiers.forward import forward_planes
from torch import Tensor, nn

from robustbench_local.specs import Any, Atom, Ball, Box, Query
from robustbench_local.verifiers import Graph, forward_bounds

from .networks import Fn, fill, traced

N = 4


def network(seed: int, form: Callable[[Tensor, Tensor], Tensor]) -> Graph:
    """form(u, v) of two images of a small network, in float64."""
    one, other = nn.Sequential(nn.Linear(N, 6), nn.Tanh(), nn.Linear(6, N)), nn.Linear(N, N)
    for layer in (one, other):
        fill(layer.requires_grad_(False), seed)
    return traced(Fn(lambda x, f, g: form(f(x), g(x)), one, other), N).to(torch.float64)


FORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": lambda u, v: ((u - v) * (u + v)).sum(1, keepdim=True),
    "sum without its axis": lambda u, v: torch.stack(((u * v).sum(1), (v * v).sum(1)), 1),
    "mean": lambda u, v: (u * v).mean(1, keepdim=True),
    "square": lambda u, v: torch.square(u).sum(1, keepdim=True) - (v**2).sum(1, keepdim=True),
    "rows": lambda u, v: ((u * v).unflatten(1, (2, 2)) * (u + v).unflatten(1, (2, 2))).sum(2),
    "columns": lambda u, v: (u.unflatten(1, (2, 2)) * v.unflatten(1, (2, 2))).sum(1),
}


def query_of(graph: Graph, inputs: Box | Ball) -> Query:
    """The outputs and their negatives, each an atom."""
    m = graph.output.numel
    eye = torch.eye(m, dtype=torch.float64)
    C = torch.cat((eye, -eye)).expand(inputs.batch, -1, -1)
    tree = Any(tuple(Atom(i, True) for i in range(2 * m)))
    return Query(nn.Identity(), inputs, C, torch.zeros(inputs.batch, 2 * m, dtype=torch.float64), tree)


def points(inputs: Box | Ball, count: int = 200) -> Tensor:
    """Points (B, count, N) of the sets, corners and sampled ones."""
    box = inputs.box()
    share = torch.rand(inputs.batch, count, N, dtype=torch.float64).round(decimals=1)
    inside = box.lower.unsqueeze(1) + share * (box.upper - box.lower).unsqueeze(1)
    if isinstance(inputs, Box):
        return inside
    return torch.stack([inputs.project(inside[:, i]) for i in range(count)], 1)


@pytest.mark.parametrize("form", FORMS)
@settings(max_examples=12)
@given(st.integers(0, 10**6), st.sampled_from((1e-3, 0.1, 1.0)), st.sampled_from((0, 3, 50)), st.booleans())
def test_functions_are_above_the_atoms(form: str, seed: int, size: float, symbols: int, round_: bool) -> None:
    torch.manual_seed(seed)
    graph = network(seed, FORMS[form])
    centre = torch.randn(2, N, dtype=torch.float64)
    inputs = Ball(centre, size, 2) if round_ else Box(centre - size, centre + size)
    query = query_of(graph, inputs)
    found = forward_planes(graph, query, symbols=symbols)
    x = points(inputs)
    y = graph.run(x.flatten(0, 1)).reshape(2, x.shape[1], -1)
    atoms = torch.cat((y, -y), 2)
    slack = 1e-9 * (1 + atoms.abs().amax())
    assert bool((found.top.unsqueeze(1) >= atoms - slack).all())
    if isinstance(inputs, Box):  # the function itself: top minus what it falls by from its largest value
        best = (found.slopes * centre.unsqueeze(1)).sum(2) + found.slopes.abs().sum(2) * size
        value = torch.einsum("bmn,bpn->bpm", found.slopes, x) + (found.top - best).unsqueeze(1)
        assert bool((value >= atoms - slack).all())


@pytest.mark.parametrize("form", FORMS)
def test_bounds_are_tighter_on_the_whole_than_product_by_product(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = network(1, FORMS[form])
    assert any(sum_of_products(graph, node) for node in graph.nodes[1:])
    centre = torch.randn(8, N, dtype=torch.float64)
    inputs = Box(centre - 0.2, centre + 0.2)
    tight, _ = forward_bounds(graph, inputs, symbols=50)
    monkeypatch.setattr("robustbench_local.verifiers.forward.dot_form", lambda *_: None)
    loose, _ = forward_bounds(graph, inputs, symbols=50)
    narrow, wide = (box[graph.output].upper - box[graph.output].lower for box in (tight, loose))
    assert float(narrow.mean()) <= (0.9 if form == "sum" else 1.0) * float(wide.mean())  # terms that cancel


def test_the_tangent_of_a_convex_form_is_all_that_is_lost() -> None:
    """A form without negative parts is bounded below by its tangent at the centre."""
    graph = traced(Fn(lambda x: (x * (x @ torch.ones(N, N).to(x) + x)).sum(1, keepdim=True)), N)
    graph = graph.to(torch.float64)
    box = Box(torch.full((1, N), 0.5, dtype=torch.float64), torch.full((1, N), 1.5, dtype=torch.float64))
    top = forward_planes(graph, query_of(graph, box)).top.squeeze(0)
    # f = (sum x)^2 + |x|^2: value 20 and slope 10 in every coordinate at the centre
    assert float(-top[1]) == pytest.approx(20 - 4 * 10 * 0.5, abs=1e-9)
    assert float(top[0]) == pytest.approx(1.5**2 * 16 + 1.5**2 * 4, abs=1e-9)


def test_factors_that_cancel_leave_nothing() -> None:
    """(u - v) (u + v) with v = u - 1/8: exactly u/4 - 1/64, whose products have large terms."""
    graph = traced(Fn(lambda x: ((x - (x - 0.125)) * (x + (x - 0.125))).sum(1, keepdim=True)), N)
    graph = graph.to(torch.float64)
    box = Box(-torch.ones(1, N, dtype=torch.float64), torch.ones(1, N, dtype=torch.float64))
    bounds = forward_bounds(graph, box)[0][graph.output]
    expected = N * torch.tensor([-0.25 - 1 / 64, 0.25 - 1 / 64], dtype=torch.float64)
    torch.testing.assert_close(torch.cat((bounds.lower, bounds.upper), 1), expected.unsqueeze(0))


def test_what_is_not_finite_is_left_to_the_products() -> None:
    graph = network(2, FORMS["sum"])
    wide = torch.full((1, N), 1e200, dtype=torch.float64)
    bounds = forward_bounds(graph, Box(-wide, wide))[0][graph.output]
    assert not bool((torch.isfinite(bounds.lower) | torch.isfinite(bounds.upper)).any())

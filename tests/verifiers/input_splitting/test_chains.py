"""Chains of affine maps and ReLUs: found, the same function, and their bounds against samples."""

from __future__ import annotations

from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.input_splitting.bounding import planes_of
from robustbench_local.verifiers.input_splitting.chains import Chain, chain_of
from torch import Tensor, nn

from robustbench_local.specs import All, Atom, Box, Query
from robustbench_local.verifiers import Graph, forward_bounds

from ..networks import Fn, fill, traced, uniform

TREE = All((Atom(0, True), Atom(1, True), Atom(2, True)))


class Shifted(nn.Module):
    """Affine operators of many kinds in a row, an image between, and a sparse map."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 12), nn.Linear(12, 32)
        self.conv, self.norm = nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.last = nn.Linear(48, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.first((x - 0.3) * 2)).relu().reshape(-1, 2, 4, 4)
        return self.last(self.norm(self.conv(x)).relu().flatten(1)) - 0.1


def deep(seed: int, *, shifted: bool) -> Graph:
    """A chain with 4 inputs and 3 outputs."""
    layers: list[nn.Module] = [nn.Linear(4, 10), nn.ReLU()]
    for _ in range(3):
        layers += [nn.Linear(10, 10), nn.ReLU()]
    network = Shifted() if shifted else nn.Sequential(*layers, nn.Linear(10, 3))
    fill(network, seed)
    return traced(network.eval().requires_grad_(False), 4)


def found(graph: Graph) -> Chain:
    chain = chain_of(graph)
    assert chain is not None
    return chain


def query_of(graph: Graph, seed: int, size: float, n: int = 5) -> Query:
    lower = uniform(seed, (n, 4))
    upper = lower + size * uniform(seed + 1, (n, 4), 0, 1) * (uniform(seed + 2, (n, 4)) > -0.8)
    return Query(graph.run, Box(lower, upper), uniform(seed + 3, (n, 3, 3)), uniform(seed + 4, (n, 3)), TREE)


AXES = torch.arange(4).expand(5, -1)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6),
    st.booleans(),
    st.sampled_from((0.0, 0.05, 0.5, 3.0)),
    st.sampled_from((0, 3, 100)),
    st.sampled_from((torch.float32, torch.float64)),
)
def test_functions_lie_above_every_sample(
    seed: int, shifted: bool, size: float, symbols: int, dtype: torch.dtype
) -> None:
    graph = deep(seed, shifted=shifted).to(dtype)
    query = query_of(graph, seed, size)
    planes = found(graph).planes(graph, query, AXES, symbols)
    box = query.inputs.box()
    middle = 0.5 * (box.lower + box.upper)
    radius = 0.5 * (box.upper - box.lower)
    at_middle = planes.top - (planes.slopes.abs() @ radius.unsqueeze(2)).squeeze(2)
    slack = 1e-4 if dtype == torch.float32 else 1e-9
    for share in uniform(seed + 5, (50, 5, 4), 0, 1).round(decimals=1):
        x = torch.lerp(box.lower, box.upper, share)
        atoms = query.atoms(graph.run(x.to(dtype))).double()
        above = at_middle + (planes.slopes @ (x - middle).unsqueeze(2)).squeeze(2)
        assert bool((atoms <= above + slack * (1 + above.abs())).all())
        assert bool((above <= planes.top + slack * (1 + above.abs())).all())


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from((0.05, 0.5)))
def test_bounds_are_those_of_forward_bounds_with_all_errors(seed: int, size: float) -> None:
    """The same mathematics by another way, in float64."""
    graph = deep(seed, shifted=False).to(torch.float64)
    query = query_of(graph, seed, size)
    quick = found(graph).planes(graph, query, AXES, 1000)
    boxes, _ = forward_bounds(graph, query.inputs, symbols=1000)
    other = planes_of(graph, query, boxes, AXES)
    torch.testing.assert_close(quick.top, other.top, rtol=1e-6, atol=1e-8)


def test_points_are_exact_and_matrices_compute_the_network() -> None:
    for shifted in (False, True):
        graph = deep(1, shifted=shifted)
        query = query_of(graph, 1, 0.0)
        planes = found(graph).planes(graph, query, AXES, 10)
        exact = query.atoms(graph.run(query.inputs.centre().float()))
        torch.testing.assert_close(planes.top.float(), exact, rtol=1e-4, atol=1e-5)


def test_sparse_maps_compute_the_same() -> None:
    network = nn.Sequential(nn.Linear(4, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 3))
    fill(network, 0)
    with torch.no_grad():
        network[2].weight.mul_(torch.rand(256, 256, generator=torch.Generator().manual_seed(0)) < 0.02)
    graph = traced(network.eval().requires_grad_(False), 4)
    chain = found(graph)
    assert [one.sparse is not None for one in chain.maps] == [False, True, False]
    dense = Chain(tuple(replace(one, sparse=None) for one in chain.maps))
    dense.casts[torch.float32] = tuple(replace(m, sparse=None) for m in chain.of_dtype(torch.float32))
    query = query_of(graph, 3, 0.5)
    one, other = (c.planes(graph, query, AXES, 20) for c in (chain, dense))
    torch.testing.assert_close(one.top, other.top, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(one.slopes, other.slopes, rtol=1e-3, atol=1e-3)


def test_bounds_that_overflow_are_unknown() -> None:
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    fill(network, 0)
    with torch.no_grad():
        network[2].weight[0, 0] = 3e38
        network[0].bias += 10.0  # every neuron of the first layer is on
    graph = traced(network.eval().requires_grad_(False), 4)
    query = query_of(graph, 3, 0.5)
    for symbols in (0, 10):
        top = found(graph).planes(graph, query, AXES, symbols).top
        assert not bool((top < 0).any()) and not bool(torch.isfinite(top).all())


def test_other_networks_are_no_chains() -> None:
    for fn in (
        lambda x: x.relu() + x,
        lambda x: x.tanh(),
        lambda x: torch.cat((x[:, :2].relu(), x[:, 2:].relu()), 1),
        lambda x: (x.relu() - 0.1).relu() + x.relu(),
    ):
        assert chain_of(traced(Fn(fn), 4)) is None
    assert chain_of(traced(Fn(lambda x: (2 * x).relu() - 1), 4)) is not None

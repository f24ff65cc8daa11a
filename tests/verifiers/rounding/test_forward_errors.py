"""The error bounds enclose what float32 does, in whatever order; and verdicts about it are never too good."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from robustbench_local.verifiers.rounding import (
    BFLOAT16,
    ROUNDINGS,
    SINGLE,
    Format,
    forward_errors,
    in_format,
    outward_intervals,
)
from torch import Tensor, nn

import robustbench_local as rbl
from robustbench_local.errors import SpecError, UnknownNameError, UnsupportedOpError
from robustbench_local.specs import Atom, Box, Query
from robustbench_local.verifiers import CROWN, IBP, AlphaCROWN, CrownIBP, Graph, from_torch, outward

from ..networks import box_points, run_points, uniform
from ..rules.cases import CASES
from ..rules.test_every_rule import boxes, graphs

KNOWN = [
    name
    for op in ROUNDINGS
    for name in [next((n for n, c in CASES.items() if c.op is op or c.op == op), None)]
    if name is not None
]
VERIFIERS = [IBP(), CrownIBP(), CROWN(), AlphaCROWN()]


def errors_of(graph: Graph, lower: Tensor, upper: Tensor, kind: Format) -> tuple[Graph, Tensor]:
    exact = in_format(graph, kind)
    intervals = outward_intervals(exact, Box(lower, upper))
    return exact, forward_errors(exact, intervals, kind)[exact.output]


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(
    ("name", "kind"), [*((n, SINGLE) for n in KNOWN), *((n, BFLOAT16) for n in KNOWN[::6])], ids=str
)
def test_computed_values_lie_within_their_errors(name: str, kind: Format) -> None:
    graph = graphs(name)[0]
    lower, upper = boxes(CASES[name].shape)
    try:
        exact, errors = errors_of(graph, lower, upper, kind)
    except UnsupportedOpError:
        pytest.skip("another operator of the case has no known rounding")
    points = box_points(lower, upper, 20).to(kind.dtype)
    wide = points.double()
    inside = ((wide >= lower) & (wide <= upper)).flatten(2).all(2)
    try:
        computed = run_points(graph.to(kind.dtype).run, points).double()
    except RuntimeError as error:
        pytest.skip(f"torch cannot compute this in {kind.name}: {error}")
    true = run_points(exact.run, wide)
    inside = inside.reshape(*inside.shape, *(1 for _ in true.shape[2:]))
    assert bool((((computed - true).abs() <= errors) | ~inside).all())


def dense(seed: int) -> nn.Sequential:
    network = nn.Sequential(nn.Linear(40, 30), nn.ReLU(), nn.Linear(30, 20), nn.Tanh(), nn.Linear(20, 3))
    with torch.no_grad():
        for k, p in enumerate(network.parameters()):
            p.copy_(uniform(seed + k, tuple(p.shape)) * (0.4 if p.dim() > 1 else 1.0))
    return network.eval()


@pytest.mark.parametrize("seed", range(4))
def test_every_order_of_summation_lies_within_the_errors_which_are_not_absurd(seed: int) -> None:
    network, x = dense(seed), uniform(50 + seed, (8, 40)).float()
    exact, errors = errors_of(from_torch(network, x[:1]), x - 0.01, x + 0.01, SINGLE)
    true, worst = exact.run(x.double()), torch.zeros_like(errors)
    for order in range(6):
        h = x
        for part in network:
            if isinstance(part, nn.Linear):
                place = torch.randperm(h.shape[1], generator=torch.Generator().manual_seed(order))
                total = part.bias.expand(8, -1) if order % 2 else torch.zeros(8, part.out_features)
                for i in place.split(1 + order):  # in pieces, one after the other
                    total = total + h[:, i] @ part.weight[:, i].T
                h = total if order % 2 else total + part.bias
            else:
                h = part(h)
        worst = torch.maximum(worst, (h.double() - true).abs().detach())
    assert bool((worst <= errors).all())
    assert bool((errors <= 1e4 * worst.amax()).all())


class Absorbing(nn.Module):
    """(1e8 + x) - 1e8: x over the real numbers, a multiple of 8 in float32 (Jia and Rinard 2020)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(1 - torch.relu((x + 1e8) - 1e8))


def test_a_network_that_detects_rounding_holds_over_the_reals_only() -> None:
    network = Absorbing()
    inputs = Box(torch.full((1, 1), 1.0), torch.full((1, 1), 2.0))
    query = Query(network, inputs, torch.ones(1, 1, 1), torch.full((1, 1), -0.5), Atom(0, strict=True))
    assert float(network(torch.ones(1, 1))) == 1.0  # float32 violates e = y - 0.5 <= 0
    real = outward(CROWN())
    assert real is not None
    graph = from_torch(network, torch.zeros(1, 1))
    assert bool(query.holds(real.bound(graph, query).upper)[0])
    assert rbl.verify(None, query, arithmetic="fp32", method="crown").verdict.value == "UNKNOWN"
    assert rbl.verify(None, query, arithmetic="fp32").verdict.value == "VIOLATED"


def exact_interval(network: nn.Sequential, low: list[Fraction], high: list[Fraction]) -> list[Fraction]:
    """Upper ends of interval propagation through linear layers and ReLU, in rational numbers."""
    for part in network:
        if not isinstance(part, nn.Linear):
            low, high = [max(v, Fraction(0)) for v in low], [max(v, Fraction(0)) for v in high]
            continue
        W = [[Fraction(float(w)) for w in row] for row in part.weight.tolist()]
        b = [Fraction(float(v)) for v in part.bias.tolist()]
        ends = [(low, high), (high, low)]
        low, high = (
            [
                c + sum(w * (n[j] if w >= 0 else p[j]) for j, w in enumerate(row))
                for row, c in zip(W, b, strict=True)
            ]
            for n, p in ends
        )
    return high


@pytest.mark.parametrize("seed", range(5))
def test_outward_bounds_are_never_below_the_exact_ones(seed: int) -> None:
    network = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2), nn.ReLU())
    with torch.no_grad():
        for k, p in enumerate(network.parameters()):
            p.copy_(uniform(seed + k, tuple(p.shape)))
    centre = uniform(90 + seed, (1, 5)).float()
    box = Box(centre - 0.3, centre + 0.3)
    intervals = outward_intervals(in_format(from_torch(network, centre), SINGLE), box)
    low, high = ([Fraction(float(v)) for v in t[0]] for t in (box.lower, box.upper))
    found = list(intervals.values())[-1].upper[0]
    for bound, true in zip(found.tolist(), exact_interval(network, low, high), strict=True):
        assert Fraction(bound) >= true
        assert bound - float(true) <= 1e-12


@pytest.mark.parametrize("verifier", VERIFIERS, ids=lambda v: v.name)
def test_outward_bounds_enclose_samples_and_are_those_of_the_method(verifier: IBP) -> None:
    network = dense(7).double()
    x = uniform(8, (3, 40))
    counterpart = outward(verifier)
    assert counterpart is not None
    graph = from_torch(network, x[:1])
    low, high = rbl.bounds(network, x - 0.02, x + 0.02, method=counterpart)
    y = run_points(graph.run, box_points(x - 0.02, x + 0.02))
    assert bool((low <= y).all() and (y <= high).all())
    if not isinstance(verifier, AlphaCROWN):  # which tunes hidden neurons too
        plain = rbl.bounds(network, x - 0.02, x + 0.02, method=verifier)
        torch.testing.assert_close((low, high), plain, rtol=1e-10, atol=1e-10)


def test_what_has_no_rounding_rule_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedOpError, match=r"floor.*node"):
        in_format(graphs("floor")[0], SINGLE)
    with pytest.raises(UnsupportedOpError, match="composite"):
        in_format(from_torch(Cell(), torch.zeros(1, 2)), SINGLE)
    with pytest.raises(UnknownNameError, match="fp33"):
        rbl.verify("digits-mlp", "robust", arithmetic="fp33")
    with pytest.raises(SpecError, match="gives no bounds"):
        rbl.verify("digits-mlp", "robust", arithmetic="fp32", method="bab")


class Cell(nn.Module):
    """A gated unit, which torch computes by one kernel."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.glu(x, 1)


def test_overflow_in_the_format_proves_nothing() -> None:
    network = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1))
    with torch.no_grad():
        for p, value in zip(network.parameters(), (1e30, 0.0, 1e-30, 0.0), strict=True):
            p.fill_(value)
    x = torch.tensor([[1e9], [1.0]])
    _, errors = errors_of(from_torch(network, x[:1]), x, x, SINGLE)
    assert torch.isinf(errors[0]).all() and torch.isfinite(errors[1]).all()

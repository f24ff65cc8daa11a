"""Networks of the zoo's families: graphs compute the same, gradients reach the weights, bounds enclose."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch

from robustbench_local.verifiers import (
    CROWN,
    IBP,
    AlphaCROWN,
    CrownIBP,
    Graph,
    Tuning,
    from_torch,
    output_bounds,
)

from .families import FAMILIES, family
from .networks import box_points, run_points, uniform

NAMES = pytest.mark.parametrize("name", FAMILIES)


@cache
def graph(name: str) -> Graph:
    return from_torch(family(name), torch.zeros(1, *FAMILIES[name].shape))


@NAMES
def test_the_graph_computes_the_same(name: str) -> None:
    network = family(name)
    double = copy.deepcopy(network).double()
    for batch in (1, 2, 5):
        x = uniform(batch, (batch, *FAMILIES[name].shape))
        torch.testing.assert_close(graph(name).to(torch.float64).run(x), double(x), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(graph(name).run(x.float()), network(x.float()), rtol=1e-4, atol=1e-5)


@NAMES
def test_gradients_reach_every_weight(name: str) -> None:
    network = family(name)
    x = uniform(1, (3, *FAMILIES[name].shape)).float()
    traced = from_torch(network, x)
    parameters = [p for p in network.parameters() if p.requires_grad]
    want = torch.autograd.grad(network(x).square().sum(), parameters, allow_unused=True)
    got = torch.autograd.grad(traced.run(x).square().sum(), parameters, allow_unused=True)
    for one, other in zip(want, got, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-4)


@NAMES
def test_bounds_enclose_samples(name: str) -> None:
    """Also of small boxes and points; CROWN is nowhere looser than IBP."""
    case = FAMILIES[name]
    centre = uniform(2, (4, *case.shape))
    radius = case.radius * torch.tensor([1.0, 0.1, 1e-4, 0.0]).double()
    radius = radius.reshape(4, *(1 for _ in case.shape))
    lower, upper = (centre - radius).float(), (centre + radius).float()
    y = run_points(graph(name).run, box_points(lower, upper, count=20)).flatten(2)
    slack = 1e-4 * (1 + y.abs().amax())
    widths = []
    for engine in (IBP(), CrownIBP(), CROWN()):
        with torch.no_grad():
            low, high = (b.flatten(1) for b in output_bounds(graph(name), lower, upper, engine))
        assert bool(torch.isfinite(low).all() and torch.isfinite(high).all()), engine.name
        assert bool((low - slack <= y).all() and (y <= high + slack).all()), engine.name
        assert bool((high - low)[3].amax() <= 10 * slack), f"{engine.name} is exact at points"
        widths.append((high - low).mean(1))
    assert bool((widths[2] <= widths[0] + slack).all())


@NAMES
def test_every_method_is_tighter_than_the_one_before(name: str) -> None:
    """IBP, CROWN, alpha-CROWN (a few steps, on the outputs' rows alone), in the mean over outputs."""
    case = FAMILIES[name]
    centre = uniform(5, (1, *case.shape)).float()
    lower, upper = centre - case.radius, centre + case.radius
    y = run_points(graph(name).run, box_points(lower, upper, count=20)).flatten(2)
    slack = 1e-4 * (1 + y.abs().amax())
    widths = []
    for engine in (IBP(), CROWN(), AlphaCROWN(tuning=Tuning(steps=4, step_size=0.1), hidden=False)):
        low, high = (b.detach().flatten(1) for b in output_bounds(graph(name), lower, upper, engine))
        assert bool((low - slack <= y).all() and (y <= high + slack).all()), engine.name
        widths.append(float((high - low).mean()))
    assert widths[0] > widths[1] > widths[2]

"""Counterexamples that attacks rarely find: whatever the method, the property is never proved."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch

import robustbench_local as rbl
from robustbench_local.attacks import pgd
from robustbench_local.errors import RobustBenchError, SpecError, UnknownNameError
from robustbench_local.planted import PLANTED, Planted, plant
from robustbench_local.verifiers import CROWN, VERIFIERS, BranchAndBound, Budget, Graph, Verifier, from_torch

from .blind import attacks_off

FAMILY = pytest.mark.parametrize("family", PLANTED)
ENGINES: dict[str, Verifier] = {**VERIFIERS, "branch and bound": BranchAndBound()}
SLOW = {"invprop", "lipschitz", "sdp", "milp", "lp", *(n for n in VERIFIERS if n.startswith("auto"))}


@cache
def trap(family: str, seed: int = 0, p: float = math.inf) -> tuple[Planted, Graph]:
    found = plant(family, seed, size=4, p=p)
    return found, from_torch(found.network, found.witness)


@FAMILY
def test_the_witness_replays_and_only_the_bump_breaks_the_property(family: str) -> None:
    found, _ = trap(family)
    assert bool(found.query.inputs.contains(found.witness)) and bool(found.query.violated(found.witness))
    wide = found.query.with_network(plant(family, 0, size=4, dtype=torch.float64).network)
    assert float(wide.violation(found.witness.double())) > 0.1
    bare = from_torch(found.bare, found.witness)
    assert bool(found.query.holds(CROWN().bound(bare, found.query).upper)), "robust without it"
    for axis in torch.eye(4).reshape(4, *found.witness.shape[1:]):
        near = found.witness + 5e-3 * axis
        assert not bool(found.query.violated(near)), "only there"


@FAMILY
def test_the_gradient_of_the_bump_is_nothing_away_from_it(family: str) -> None:
    found = plant(family, 0, size=4, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    x = (2 * torch.rand(500, *found.witness.shape[1:], generator=generator).double() - 1).requires_grad_()
    ends = [network(x) for network in (found.network, found.bare)]
    assert torch.allclose(*ends, atol=1e-3)
    slopes = [torch.autograd.grad(y.sum(), x)[0] for y in ends]
    assert torch.allclose(*slopes, atol=1e-3)


def test_pgd_rarely_finds_a_planted_counterexample() -> None:
    found = [bool(pgd(trap(family)[0].query, steps=20, restarts=4).violated) for family in PLANTED]
    assert sum(found) == 0


def test_the_same_arguments_plant_the_same_network() -> None:
    one, two, other = plant("dense", 5), plant("dense", 5), plant("dense", 6)
    x = torch.linspace(-1, 1, 8).unsqueeze(0)
    assert torch.equal(one.network(x), two.network(x)) and not torch.equal(one.network(x), other.network(x))
    assert torch.equal(one.witness, two.witness)


def test_what_cannot_be_planted_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="dense"):
        plant("dens", 0)
    with pytest.raises(SpecError, match="no square"):
        plant("conv", 0, size=8)
    with pytest.raises(SpecError, match="width"):
        plant("dense", 0, width=0.0)


@pytest.mark.parametrize(
    ("engine", "family"),  # slow ones: the dense family stands for all
    [(engine, family) for engine in ENGINES for family in PLANTED if engine not in SLOW or family == "dense"],
)
def test_no_verifier_proves_it(engine: str, family: str) -> None:
    found, graph = trap(family)
    try:
        bounds = ENGINES[engine].bound(graph, found.query, Budget(seconds=0.2))
    except RobustBenchError:
        return  # a refusal claims nothing
    assert not bool(found.query.holds(bounds.upper))
    assert float(bounds.upper.detach()) >= float(found.query.violation(found.witness)) - 1e-3


@FAMILY
def test_no_verification_proves_it_without_an_attack(family: str) -> None:
    found, _ = trap(family)
    with attacks_off():
        result = rbl.verify(found.network, found.query, timeout=0.5)
    assert result.verdict != "HOLDS"
    if result.verdict == "VIOLATED":  # branch and bound may come across the bump
        assert result.witness is not None and bool(found.query.violated(result.witness.unsqueeze(0)))


@pytest.mark.parametrize("p", [1, 2])
def test_neither_in_balls_of_other_norms(p: float) -> None:
    found, graph = trap("dense", 0, p)
    assert bool(found.query.violated(found.witness)) and bool(found.query.inputs.contains(found.witness))
    for name in ("ibp", "crown", "alpha-crown", "split"):
        bounds = VERIFIERS[name].bound(graph, found.query, Budget(seconds=0.2))
        assert not bool(found.query.holds(bounds.upper)), name

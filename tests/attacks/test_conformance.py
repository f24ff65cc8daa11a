"""Every attack on networks whose breakable samples are known: no false claims, nothing seen is lost."""

from __future__ import annotations

import pytest
import torch

from robustbench_local.attacks import ATTACKS, worst_of
from robustbench_local.conformance import Case, Recorder, conformance_cases

from .toys import ATTACK_NAMES, brief

CASES = {case.name: case for case in conformance_cases()}
_FOR_RANDOM = ("eot", "autoattack-rand")


def test_the_truth_of_the_cases_agrees_with_random_points() -> None:
    source = torch.Generator().manual_seed(0)
    for case in CASES.values():
        assert not case.bad(case.inputs).any(), case.name
        low, high = case.bounds
        for _ in range(200):
            noise = case.eps * (2 * torch.rand(case.inputs.shape, generator=source) - 1)
            ends = torch.where(
                torch.rand(case.inputs.shape, generator=source) < 0.5, noise, case.eps * noise.sign()
            )
            found = case.bad((case.inputs + ends).clamp(low, high), draws=100)
            assert not (found & ~case.breakable).any(), case.name


@pytest.mark.parametrize("name", CASES)
def test_the_ensemble_finds_all_bad_points_and_claims_no_other(name: str) -> None:
    case = CASES[name]
    attack = ATTACKS["autoattack-rand"] if case.random else worst_of(ATTACKS["bpda"], brief("autoattack"))
    result = attack(case.query())
    assert torch.equal(result.violated, case.breakable)
    assert (case.bad(result.points) | ~result.violated).all()


@pytest.mark.parametrize("name", ATTACK_NAMES)
@pytest.mark.parametrize("case", [c for c in CASES.values() if not c.random], ids=lambda c: c.name)
def test_no_attack_claims_what_is_not_so_or_loses_what_it_saw(case: Case, name: str) -> None:
    """Sample by sample, so that every point a network sees is known to belong to that sample."""
    kinds = [case.breakable.nonzero().flatten()[:1], (~case.breakable).nonzero().flatten()[:1]]
    for row in torch.cat(kinds).unsqueeze(1):
        one = case.select(row)
        query = one.query()
        recorder = Recorder(query)
        result = brief(name)(query.with_network(recorder))
        assert not (result.violated & ~one.breakable).any()
        assert bool(result.violated) or not recorder.seen  # no silent success
        assert query.inputs.contains(result.points).all()


@pytest.mark.parametrize("name", _FOR_RANDOM)
def test_random_networks_are_judged_by_their_mean(name: str) -> None:
    case = CASES["random"]
    for seed in range(3):
        result = brief(name)(case.query(), seed=seed)
        assert torch.equal(result.violated, case.breakable)
        assert (case.bad(result.points, draws=2000) | ~result.violated).all()


def test_a_recorder_sees_what_it_should() -> None:
    """The check above can fail: a search that returns its start although it met a bad point."""
    case = CASES["walk-through"].select(torch.tensor([0]))
    recorder = Recorder(case.query())
    recorder(case.inputs)
    assert not recorder.seen
    recorder(case.inputs + 0.12)
    assert recorder.seen
    outside = Recorder(case.query())
    outside(case.inputs + 0.5)
    outside(torch.full_like(case.inputs, 0.9))
    assert not outside.seen

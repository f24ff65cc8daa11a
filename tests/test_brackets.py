"""Quantities and claims about many problems: brackets hold the truth, verdicts follow from them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import robustbench_local as rbl
from robustbench_local.errors import RadiusError, ShapeError, SpecError
from robustbench_local.specs import (
    Data,
    Label,
    Net,
    Param,
    Var,
    argmax,
    ball,
    box,
    chance,
    each,
    exists,
    forall,
    measure,
    norm,
    normal,
    rate,
    robustness,
    uniform,
    vmax,
)

X, F = Var("x", 2), Net("f", 2, 3)


def _network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3)).eval().requires_grad_(False)


def _grid(low: float, high: float, steps: int = 201) -> torch.Tensor:
    axis = torch.linspace(low, high, steps)
    return torch.cartesian_prod(axis, axis)


def _linear() -> nn.Module:
    network = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    return network.eval().requires_grad_(False)


def test_exists_is_proved_by_a_witness_and_refuted_by_a_bound() -> None:
    network = _network()
    reached = network(_grid(0, 1)).argmax(1).unique().tolist()
    every = each(range(3), lambda k: exists(X, box(0, 1), argmax(F(X)) == k))
    result = rbl.verify(network, every)
    for k, spec in enumerate(every.specs):
        one = rbl.verify(network, spec)
        assert one.verdict == ("HOLDS" if k in reached else "VIOLATED"), one
        if k in reached:
            assert one.witness is not None and int(network(one.witness[None]).argmax()) == k
    assert result.verdict == ("HOLDS" if len(reached) == 3 else "VIOLATED") and len(result.cases) == 3


def test_measure_brackets_the_largest_value_on_a_grid() -> None:
    network = _network(1)
    quantity = measure(X, box(-1, 1), norm(F(X), math.inf) ** 2)
    (bracket,) = rbl.measure(network, quantity)
    truth = float(network(_grid(-1, 1)).abs().amax(1).max() ** 2)
    assert bracket.lower <= bracket.upper and truth <= bracket.upper + 1e-4
    assert bracket.lower >= 0.95 * truth and bracket.upper <= 2 * truth and bracket.stage
    assert bracket.point is not None
    assert float(network(bracket.point[None]).abs().max() ** 2) == pytest.approx(bracket.lower, rel=1e-5)


def test_measure_of_a_vector_is_refused() -> None:
    with pytest.raises(ShapeError, match="Measure a number"):
        measure(X, box(0, 1), F(X))


def test_the_radius_of_a_linear_classifier_is_found_from_both_sides() -> None:
    # argmax (x0, x1) = 0 holds in the linf ball of radius r around (a, b) iff r < (a - b) / 2
    points = torch.tensor([[0.8, 0.2], [0.6, 0.5], [0.1, 0.9]])
    spec = robustness(2, 2, bounds=None)
    values = {"x0": points, "c": torch.zeros(3, dtype=torch.int64)}
    found = rbl.radius(_linear(), spec, values=values, tolerance=1e-3)
    for bracket, truth in zip(found[:2], (0.3, 0.05), strict=True):
        assert bracket.holds <= truth + 1e-6 <= bracket.violated + 2e-6
        assert bracket.violated - bracket.holds < 3e-3
    assert math.isnan(found[2].holds) and found[2].violated == 0.0
    with pytest.raises(RadiusError):
        rbl.radius(_linear(), spec, values=values, low=1.0, high=0.5)


def test_a_rate_lies_between_what_is_proved_and_what_is_not_refuted() -> None:
    points = torch.tensor([[0.8, 0.2], [0.6, 0.5], [0.1, 0.9], [0.9, 0.1]])
    values = {"x0": points, "c": torch.zeros(4, dtype=torch.int64), "eps": 0.1}
    robust = rate(robustness(2, 2))
    network = _linear()
    good = rbl.verify(network, robust >= 0.5, values=values)
    assert good.verdict == "HOLDS" and good.upper == pytest.approx(0.0)
    bad = rbl.verify(network, robust >= 0.6, values=values)
    assert bad.verdict == "VIOLATED" and bad.lower == pytest.approx(0.1)
    assert rbl.verify(network, robust <= 0.5, values=values).verdict == "HOLDS"
    with pytest.raises(SpecError, match="number from 0 to 1"):
        _ = rate(robustness(2, 2)) >= 60


def test_chances_of_halfspaces_are_known() -> None:
    # x0 > x1 for independent equal normals: one half; x0 <= 1 for uniform on [0, 4]: a quarter
    half = chance(X, normal(0, 1), Net("g", 2, 2)(X)[0] - Net("g", 2, 2)(X)[1] > 0)
    (bracket,) = rbl.chance(_linear(), half, tolerance=0.02, timeout=60, seed=1)
    assert bracket.lower <= 0.5 <= bracket.upper and bracket.upper - bracket.lower <= 0.02
    assert bracket.sampled[0] <= 0.5 <= bracket.sampled[1] and bracket.samples == 10_000
    quarter = chance(X, uniform(0, 4), Net("g", 2, 2)(X)[0] <= 1)
    (bracket,) = rbl.chance(_linear(), quarter, tolerance=1e-3, samples=0)
    assert bracket.lower <= 0.25 <= bracket.upper and bracket.upper - bracket.lower <= 1e-3
    assert bracket.sampled == (0.0, 1.0)


def test_a_claim_about_a_chance_is_decided_by_the_proved_bounds() -> None:
    body = Net("g", 2, 2)(X)[0] <= 1
    network = _linear()
    assert rbl.verify(network, chance(X, uniform(0, 4), body) >= 0.2).verdict == "HOLDS"
    assert rbl.verify(network, chance(X, uniform(0, 4), body) >= 0.3).verdict == "VIOLATED"
    assert rbl.verify(network, chance(X, uniform(0, 4), body) <= 0.3).verdict == "HOLDS"


def test_chances_of_a_batch_have_their_own_centres() -> None:
    x0, c = Data("x0", 2), Label("c", 2)
    x, g = Var("x", like=x0), Net("g", 2, 2)
    near = chance(x, normal(x0, Param("sd", 0.1)), argmax(g(x)) == c)
    values = {"x0": torch.tensor([[1.0, 0.0], [0.0, 1.0]]), "c": torch.tensor([0, 0])}
    first, second = rbl.chance(_linear(), near, values=values, tolerance=1e-3, samples=1000)
    assert first.lower > 0.99 and second.upper < 0.01
    assert first.sampled[1] == 1.0 and second.sampled[0] == 0.0


def test_a_negated_query_is_true_where_the_query_is_not() -> None:
    network = _network(2)
    query = forall(X, box(-1, 1), (vmax(F(X)) <= 0.5) & (argmax(F(X)) == 1)).query(network)
    x = _grid(-1, 1, 41)
    many = query.select(torch.zeros(len(x), dtype=torch.int64))
    assert torch.equal(many.negated().violated(x), ~many.violated(x))
    assert torch.allclose(many.negated().violation(x), -many.violation(x))


def test_several_specs_must_all_hold() -> None:
    low = forall(X, box(0, 1), Net("g", 2, 2)(X) >= -1e-6)
    high = forall(X, box(0, 1), Net("g", 2, 2)(X) <= 0.5)
    assert rbl.verify(_linear(), [low, low]).verdict == "HOLDS"
    result = rbl.verify(_linear(), [low, high])
    assert result.verdict == "VIOLATED" and len(result.cases) == 2


def test_two_networks_by_name() -> None:
    f, g = Net("f", 2, 3), Net("g", 2, 3)
    spec = forall(X, box(0, 1) & ball(0.5, 0.4, p=2), abs(f(X) - g(X)) <= 1e-5)
    same = _network()
    assert rbl.verify({"f": same, "g": same}, spec).verdict == "HOLDS"
    assert rbl.verify({"f": same, "g": _network(5)}, spec).verdict == "VIOLATED"
    query = spec.query({"f": same, "g": _network(5)})
    assert rbl.verify(None, query).verdict == "VIOLATED"


class _Unbounded(nn.Module):
    """An operation that no rule bounds: the attack still measures it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(x)


def test_a_bracket_says_why_an_end_is_missing() -> None:
    (bracket,) = rbl.measure(_Unbounded(), measure(X, box(0, 1), Net("g", 2, 2)(X)[0]))
    assert math.isinf(bracket.upper) and "bessel" in bracket.error

"""Printing and reading are inverse: texts, ids, and what the properties say of points."""

from __future__ import annotations

import runpy
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from robustbench_local.specs import (
    ChanceClaim,
    Data,
    Every,
    Label,
    Net,
    Param,
    Query,
    RateClaim,
    Spec,
    Var,
    argmax,
    ball,
    box,
    chance,
    each,
    exists,
    forall,
    normal,
    parse_spec,
    parse_vnnlib,
    rate,
    read_spec,
    uniform,
)

from ..expressions.random_formulas import K
from ..expressions.random_formulas import claims as affine_claims
from ..library.test_every_spec import WORKED
from ..library.worked import Worked
from .random_specs import specs

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "examples"
SAID = {
    name: value
    for name, value in runpy.run_path(str(GUIDE / "properties.py")).items()
    if isinstance(value, Spec | Every | RateClaim | ChanceClaim)
}

X0 = Data("x0", 2)
X, F = Var("x", like=X0), Net("f", 2, K)

quickly = settings(
    max_examples=150, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)


def read(spec: Spec) -> Spec:
    arrays = {c.digest: c.number for c in spec.constants.values()}
    return parse_spec(spec.text, arrays=arrays).only


@given(specs())
@quickly
def test_reading_what_was_printed_gives_the_same_property(spec: Spec) -> None:
    again = read(spec)
    assert again.text == spec.text and again.id == spec.id
    assert again.quantifier is spec.quantifier and list(again.slots) == list(spec.slots)


class Affine(torch.nn.Module):
    """x A + b with small numbers."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(inputs + outputs)
        self.A = torch.randint(-2, 3, (inputs, outputs), generator=source).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.double() @ self.A + 0.5


@given(affine_claims(F(X)), st.integers(0, 1000))
@quickly
def test_both_say_the_same_of_points(claim: object, seed: int) -> None:
    if "f(x)" not in claim.formula.text:  # type: ignore[attr-defined]
        return
    spec = forall(X, ball(X0, 1), claim.formula).unchecked()  # type: ignore[attr-defined]
    source = torch.Generator().manual_seed(seed)
    values = {"x0": torch.randn(4, 2, generator=source, dtype=torch.float64), "c": seed % K, "t": 0.25}
    given_values = {name: values[name] for name in spec.slots}
    network = Affine(2, K)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # equalities, said elsewhere
        queries: list[Query] = [s.unchecked().query(network, **given_values) for s in (spec, read(spec))]
    first, second = queries
    assert first.text == second.text and first.tree == second.tree
    assert torch.equal(first.C, second.C) and torch.equal(first.d, second.d)
    x = first.inputs.centre() + 2 * torch.randn(first.inputs.centre().shape, generator=source)
    assert torch.equal(first.violation(x), second.violation(x))
    assert torch.equal(first.inputs.contains(x), second.inputs.contains(x))


@pytest.mark.parametrize("case", WORKED, ids=[f"{case}-{k}" for k, case in enumerate(WORKED)])
def test_ready_properties(case: Worked) -> None:
    again = read(case.spec)
    assert again.text == case.spec.text and again.id == case.spec.id


@pytest.mark.parametrize("name", sorted(SAID))
def test_the_examples_of_the_guide(name: str) -> None:
    claim = SAID[name]
    (again,) = parse_spec(claim.text).values()
    assert again.text == claim.text and again.id == claim.id


def test_the_examples_of_the_guide_as_they_are_written_in_a_text() -> None:
    file = read_spec(GUIDE / "properties.rbspec")
    assert not file.warnings
    assert {name: claim.text for name, claim in file.items()} == {name: c.text for name, c in SAID.items()}


def test_names_and_units_of_elements() -> None:
    s = Var("s", 2, names=["th", "om"], units=["rad", "rad/s"])
    spec = forall(s, box(0, 1) & (s.th <= 0.5), Net("f", 2, 1)(s)[0] <= 1)
    again = read(spec)
    assert again.text == spec.text and "s: real[2](th: 'rad', om: 'rad/s') in" in spec.text
    assert again.variables[0].names == ("th", "om") and again.variables[0].units == ("rad", "rad/s")


def test_families_shares_and_probabilities() -> None:
    body = argmax(F(X)) == Label("c", K)
    claims = {
        "cov": each(range(K), lambda k: exists(X, box(0, 1), argmax(F(X)) == k)),
        "acc": rate(forall(X, ball(X0, Param("eps")), body)) >= 0.6,
        "few": rate(forall(X, ball(X0, 0.5), body)) <= 2 / 3,
        "prob": chance(X, normal(X0, 0.1), body) >= 0.99,
        "rare": chance(X, uniform(X0 - 1, X0 + 1), ~body) <= 0.01,
    }
    for claim in claims.values():
        file = parse_spec(claim.text)
        (again,) = file.values()
        assert type(again) is type(claim) and again.text == claim.text and again.id == claim.id
    assert isinstance(claims["cov"], Every) and claims["cov"].text.count("prop main[") == K


def test_printing_what_was_read_changes_nothing_more() -> None:
    text = """
spec everything v1   # a comment
net f: f32[2] -> f32[3] tap hidden = "0": f64[4]
net g: iso f
data x0: real[2]
label c: class[3]
param eps = 8/255
const w: real[2,2] = [[1, 1/3], [-0.5, 1e-3]]
let margin(y, k) = y[k] - max(concat(y[:1], y[2:]))
prop rob: forall x: real[2] in ball(x0, eps, p=inf) and box(0, 1): argmax(f(x)) == c
prop band: forall x: real[2] in ball(x0, eps, p=2):
    -0.1 <= f(x)[0] - g(w @ x)[0] <= 1/10 and not margin(f(x), 1) > 0
prop tap: exists x: real[2] in box(0, 1): sum(f.tap(hidden, x)) >= 1
prop pair: forall x: real[2] in box(0, 1): forall y: real[2] in ball(x, 0.1): f(x)[0] <= f(y)[0] + 0.5
prop all: each k in range(3): each j in [0, 1/2]: forall x: real[2] in box(0, 1): f(x)[k] <= j
prop share: rate(rob) >= 60/100
"""
    file = parse_spec(text)
    again = parse_spec(file.text)
    assert again.text == file.text and again.id == file.id and list(again) == list(file)
    assert parse_spec("\n# nothing\n" + file.text.replace("\n", "   # note\n")).id == file.id
    assert file.name == "everything" and len(file["all"].claims) == 6
    assert {name: claim.id for name, claim in again.items()} == {name: c.id for name, c in file.items()}


def test_a_file_of_the_verification_library_as_a_text() -> None:
    cases = " ".join(f"(and (> Y[0] {k}.5) (< Y[1] {k}.25))" for k in range(200))
    declared = "(declare-network f (declare-input X real [2]) (declare-output Y real [3]))"
    box_of = "(assert (and (>= X[0] 0.0) (<= X[0] 1.0) (>= X[1] 0.0) (<= X[1] 1.0)))"
    spec = parse_vnnlib(f"(vnnlib-version <2.0>) {declared} {box_of} (assert (or {cases}))").spec()  # type: ignore[union-attr]
    assert read(spec).id == spec.id

"""Codes, warnings and explanations: what the language says about a property before anything is computed."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import robustbench_local as rbl
from robustbench_local import errors
from robustbench_local.cli import run
from robustbench_local.errors import CODES, RobustBenchError, SpecError, SpecWarning
from robustbench_local.specs import (
    Net,
    Param,
    Var,
    argmax,
    box,
    exists,
    forall,
    rank,
    robustness,
    softmax,
    unreachable,
)

ROOT = Path(__file__).resolve().parent.parent
X, F = Var("x", 2), Net("f", 2, 3)
Y = F(X)


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def test_every_code_in_the_source_is_documented() -> None:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, RobustBenchError)]
    known = {c.code for c in classes} | set(CODES)
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    used = set()
    for folder in ("specs", "verifiers", "attacks", "models", "robustbench_local"):
        for path in (ROOT / folder).rglob("*.py"):
            used |= set(re.findall(r'"(E-[A-Z]+)"', path.read_text(encoding="utf-8")))
    assert used and used <= known, used - known
    for code in known:
        assert f"| `{code}` |" in page, code
    for code, meaning in CODES.items():
        assert f"| `{code}` | {meaning} |" in page


@pytest.mark.parametrize(
    "body",
    [
        (Y[0] < 1) | (Y[0] > 0.5),  # overlapping: always true
        Y[0] <= Y[0] + 1,
        (Y[0] <= Y[1]) | (Y[1] <= Y[0]),
        Param("t", 1.0) <= 2.0 * (0 * Y[0] + 1),
    ],
    ids=lambda body: body.text,
)
def test_a_property_that_nothing_could_violate_is_an_error(body: object) -> None:
    spec = forall(X, box(0, 1), body)  # type: ignore[arg-type]
    with pytest.raises(SpecError) as caught:
        spec.query(_network())
    assert caught.value.code == "E-TRIVIAL" and "unchecked()" in str(caught.value)
    query = spec.unchecked().query(_network())
    assert unreachable(query).all() and rbl.verify(_network(), query).verdict == "HOLDS"


@pytest.mark.parametrize(
    "body",
    [
        (Y[0] < 0.5) | (Y[0] > 0.5),  # violated at 0.5
        (Y[0] <= Y[1]) | (Y[2] <= Y[0]),
        argmax(Y) == 1,
        rank(Y, 1) <= 2,
        (Y[0] <= 1) & (Y[0] >= 2),  # never true, which is another matter
    ],
    ids=lambda body: body.text,
)
def test_a_property_that_could_be_violated_is_none(body: object) -> None:
    query = forall(X, box(0, 1), body).query(_network())  # type: ignore[arg-type]
    assert not unreachable(query).any()


def test_quantifiers_cannot_be_nested() -> None:
    inner = exists(X, box(0, 1), Y[0] <= 1)
    with pytest.raises(SpecError) as caught:
        forall(Var("z", 2), box(0, 1), inner)  # type: ignore[arg-type]
    assert caught.value.code == "E-ALT" and "forall z contains" in str(caught.value)


def test_equality_in_the_violation_is_a_coded_warning() -> None:
    with pytest.warns(SpecWarning, match=r"asks for equality.*\[E-EQ\]") as caught:
        forall(X, box(0, 1), Y[0] != 1).query(_network())
    assert isinstance(caught[0].message, SpecWarning) and caught[0].message.code == "E-EQ"


def test_an_explanation_names_sets_features_atoms_and_dangers() -> None:
    z = Var("z", 2)
    body = (softmax(F(X))[0] <= F(z)[0] / F(X)[1] + 0.5) | (rank(F(X), 1) <= 2)
    query = forall([X, z], box(0, 1)(X) & box(0, 1)(z), body).query(_network())
    found = rbl.explain(query)
    assert "x: coordinates 0 to 1" in found.inputs and "z: coordinates 2 to 3" in found.inputs
    assert "softmax(f(x)): 3 numbers" in found.features
    assert found.atoms[0] == "e0 = +1 softmax(f(x))[0] -1 f(z)[0] / f(x)[1] -0.5 > 0"
    assert found.tree[0] == "all(e0, at least 2 of(e3, e4))"
    assert any(line.startswith("E-DIV: the denominator of node") for line in found.warnings)
    assert found.support.ok and json.dumps(found.as_dict())


def test_a_violation_at_the_centre_is_said() -> None:
    query = forall(X, box(0, 1), Y[0] >= 100).query(_network())
    assert any("violated at the centre" in line for line in rbl.explain(query).warnings)


def test_the_command_explains(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "why.json"
    assert run(["verify", "digits-mlp", "robustness", "--explain", "--json", str(out)]) == 0
    text = capsys.readouterr().out
    assert "argmax(f(x)) == c" in text and "9 clauses" in text and "alpha-crown" in text
    assert json.loads(out.read_text())["features"] == ["y: 10 numbers"]


def test_an_error_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", "no-such-model", "robustness", "--json", "-"]) == 2
    out, err = capsys.readouterr()
    assert json.loads(out)["error"]["code"] == "E-NAME" and len(err.strip().splitlines()) == 1


def test_a_query_of_ready_specs_is_never_trivial() -> None:
    query = robustness(2, 3).query(_network(), x0=torch.rand(4, 2), c=torch.tensor([0, 1, 2, 0]), eps=0.1)
    assert not unreachable(query).any()

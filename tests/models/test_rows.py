"""Every row of the zoo: complete cards, gates that its shipped weights reach, claims, brackets."""

from __future__ import annotations

import functools
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.attacks import pgd
from robustbench_local.errors import DataError, UnknownNameError
from robustbench_local.models import (
    ROWS,
    SHIPPED,
    Claim,
    Gate,
    RowCard,
    add_row,
    find_row,
    load_model,
    read_index,
    read_plan,
)
from robustbench_local.specs import Query
from robustbench_local.verifiers import IBP, from_torch
from robustbench_local.zoo import SHIPPED_EVALUATION, read_records, status_of, zoo_rows

CLAIMS = [(row, claim.name) for row, entry in ROWS.items() for claim in entry.claims]
POSED = [(row, claim, weights) for row, claim in CLAIMS for weights in ROWS[row].fits]


@functools.cache
def posed(row: str, claim: str, weights: str) -> Query:
    return ROWS[row].claim(claim).query(load_model(ROWS[row].model, weights))


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_in_the_plan_and_its_weights_are_shipped(row: str) -> None:
    assert row in {planned.id for planned in read_plan()}
    records = {r.weights: r for r in read_index().values() if r.model == ROWS[row].model}
    assert set(records) == set(ROWS[row].fits) >= {"nominal", "spec"}
    assert all(r.recipe["row"] == row for r in records.values())
    assert all(r.metrics["train_seconds"] < 180 for r in records.values())


def test_the_weights_of_all_rows_are_small() -> None:
    shipped = [r for r in read_index().values() if "row" in r.recipe]
    assert sum((SHIPPED / r.file).stat().st_size for r in shipped) < 15e6


@pytest.mark.parametrize("row", ROWS)
def test_shipped_weights_reach_the_gate_as_recorded(row: str) -> None:
    gate = ROWS[row].gate
    for name in ROWS[row].fits:
        value = gate.measure(load_model(ROWS[row].model, name))
        assert gate.met(value)
        recorded = read_index()[f"{ROWS[row].model}:{name}"].metrics[gate.metric]
        assert value == pytest.approx(recorded, rel=0.01, abs=0.002 if gate.least else 1e-12)


@pytest.mark.parametrize(("row", "claim", "weights"), POSED)
def test_a_claim_is_attacked_and_bounded(row: str, claim: str, weights: str) -> None:
    """No attack gets above a verifier, on any weights."""
    query = posed(row, claim, weights)
    found = pgd(query, steps=2, seed=0)
    assert bool(query.inputs.contains(found.points).all())
    assert isinstance(query.network, nn.Module)
    upper = IBP().bound(from_torch(query.network, query.inputs.centre()[:1].float()), query).upper
    assert upper.shape == (query.batch,)
    assert bool((query.violation(found.points).double() <= upper + 1e-4 * (1 + upper.abs())).all())


@pytest.mark.parametrize(("row", "claim"), CLAIMS)
def test_a_claim_can_be_broken(row: str, claim: str) -> None:
    """Its control violates it somewhere in its set: the claim says something."""
    record = read_records(SHIPPED_EVALUATION)[row]
    assert record.controls[claim]


@pytest.mark.parametrize("row", ROWS)
def test_the_shipped_evaluation_is_of_this_code_and_brackets_the_row(row: str) -> None:
    weights = {r.weights: r.sha256 for r in read_index().values() if r.model == ROWS[row].model}
    record = read_records(SHIPPED_EVALUATION)[row]
    assert status_of(record, weights) == ("bracketed", "")
    assert {c.name for c in record.claims} == {c.name for c in ROWS[row].claims}
    assert {c.weights for c in record.claims} == set(ROWS[row].fits)


def test_the_status_follows_the_evaluation() -> None:
    """Each step that is missing takes the row back to the step before it."""
    record = read_records(SHIPPED_EVALUATION)["12.03"]
    weights = dict(record.weights)
    first, *others = record.claims

    def status(**changes: object) -> str:
        return status_of(replace(record, **changes), weights)[0]

    assert status() == "bracketed"
    assert status(controls={}) == "bounded"
    assert status(claims=(replace(first, crossed=1), *others)) == "bounded"
    assert status(claims=(replace(first, upper=None), *others)) == "attacked"
    assert status(claims=(replace(first, upper=float("nan")), *others)) == "attacked"
    assert status(claims=(replace(first, lower=None), *others)) == "gated"
    assert status(gate_met={**record.gate_met, "spec": False}) == "built"
    assert status(code={**record.code, "physics/pendulum.py": "0"}) == "built"
    assert status(weights={**weights, "spec": "0"}) == "built"
    assert status_of(None, weights)[0] == "built"
    open_ = tuple(replace(c, holds=0, violated=0) for c in record.claims)
    assert status(claims=open_) == "bounded"


def test_gates_refuse_nan() -> None:
    for least in (True, False):
        assert not Gate("x", lambda _: 0.0, 1.0, least=least).met(float("nan"))
    assert Gate("x", lambda _: 0.0, 1.0, least=True).text == "x >= 1"


def test_a_card_requires_every_field() -> None:
    card = ROWS["12.03"].card
    for field in fields(RowCard):
        with pytest.raises(DataError, match=field.name):
            replace(card, **{field.name: type(getattr(card, field.name))()})
    with pytest.raises(DataError, match="parts"):
        replace(card, parts=("",))


def test_rows_that_cannot_be_are_refused() -> None:
    row = ROWS["12.03"]
    with pytest.raises(DataError, match="id is taken"):
        add_row(row)
    fresh = replace(row.card, id="99.99")
    with pytest.raises(UnknownNameError, match="unknown model 'pendulun'"):
        add_row(replace(row, card=fresh, model="pendulun"))
    with pytest.raises(DataError, match="no claims"):
        add_row(replace(row, card=fresh, claims=()))
    with pytest.raises(DataError, match="fits for nominal, weight sets nominal, spec"):
        add_row(replace(row, card=fresh, fits={"nominal": row.fits["nominal"]}))
    assert "99.99" not in ROWS


def test_rows_are_found_by_id_and_by_model() -> None:
    assert find_row("12.03") is find_row("pendulum") is ROWS["12.03"]
    with pytest.raises(UnknownNameError, match="Did you mean 'pendulum'"):
        find_row("pendulun")
    with pytest.raises(UnknownNameError, match=r"unknown claim of 12\.03"):
        find_row("12.03").claim("energy")


def test_the_table_is_read_without_torch() -> None:
    code = (
        "import sys\n"
        "from robustbench_local.zoo import zoo_rows\n"
        "rows = zoo_rows()\n"
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules\n"
        "assert [r.status for r in rows if r.id == '12.03'] == ['bracketed']\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_an_evaluation_elsewhere_counts_instead_of_the_shipped_one(tmp_path: Path) -> None:
    from robustbench_local.zoo import EVALUATION, write_records

    record = read_records(SHIPPED_EVALUATION)["12.03"]
    write_records({"12.03": replace(record, controls={})}, tmp_path / EVALUATION)
    status = {row.id: row.status for row in zoo_rows(tmp_path)}
    assert status["12.03"] == "bounded" and status["12.01"] == "bracketed" and status["7.01"] == "planned"

    def forward(self, x: Tensor) -> Tensor:
        return x * 0 + torch.tensor([0.0, 0.0])


def test_a_row_that_fails_stops_no_other(tmp_path: Path) -> None:
    from robustbench_local.zoo import evaluate_rows

    good = ROWS["12.03"]
    quick = replace(good.claims[0], methods=("pgd", "ibp"), seconds=5.0)
    missing = replace(good, model="undefended", claims=(quick,), fits={"best": good.fits["nominal"]})
    failed: list[str] = []
    records = evaluate_rows(
        [missing, replace(good, claims=(quick,))],
        tmp_path,
        failed=lambda row, error: failed.append(str(error)),
    )
    assert list(records) == ["12.03"] and "unknown weight set of 'undefended' 'best'" in failed[0]
    assert {c.name for c in records["12.03"].claims} == {quick.name}
    assert (tmp_path / "results.parquet").is_file() and isinstance(quick, Claim)

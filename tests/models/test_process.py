"""The process around the models: every rule holds of every row, and fails where something is missing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from robustbench_local.cli import run
from robustbench_local.errors import GateError, UnknownNameError
from robustbench_local.models import ROWS, Gate, read_index
from robustbench_local.zoo import (
    PROCESSES,
    SHIPPED_EVALUATION,
    card_html,
    card_markdown,
    card_of,
    evaluate_process,
    fit_row,
    read_records,
    write_records,
    zoo_rows,
)
from robustbench_local.zoo.privacy import advantage, advantages_of, overfitted_advantage
from robustbench_local.zoo.process import facts_of

RECORDS = read_records(SHIPPED_EVALUATION)


@pytest.mark.parametrize("id", PROCESSES)
def test_every_row_fulfils_the_rule_and_broken_facts_do_not(id: str) -> None:
    record = evaluate_process(id, list(ROWS.values()), RECORDS)
    (claim,) = record.claims
    assert claim.cases == claim.holds == len(ROWS) and claim.upper == 0
    assert record.controls == {claim.name: True}


@pytest.mark.parametrize("id", PROCESSES)
def test_a_row_that_breaks_the_rule_is_counted(id: str) -> None:
    facts = facts_of(ROWS["12.03"], RECORDS["12.03"], read_index().values())
    assert PROCESSES[id].missing(facts) == 0
    assert PROCESSES[id].missing(PROCESSES[id].broken(facts)) > 0


def test_the_status_of_a_rule_falls_when_a_row_changes(tmp_path: Path) -> None:
    record = evaluate_process("P.01", list(ROWS.values()), RECORDS)
    write_records({"P.01": record}, tmp_path / "zoo.json")
    assert {r.id: r.status for r in zoo_rows(tmp_path)}["P.01"] == "bracketed"
    write_records({"P.01": replace(record, weights={**record.weights, "7.01": "0"})}, tmp_path / "zoo.json")
    row = next(r for r in zoo_rows(tmp_path) if r.id == "P.01")
    assert row.status == "built" and "7.01 changed" in row.reason
    with pytest.raises(UnknownNameError, match=r"P\.01"):
        evaluate_process("P.00", [], {})


def test_rows_without_a_claim_say_so() -> None:
    rows = {row.id: row for row in zoo_rows()}
    assert "pgd" in rows["E.02"].reason
    assert not rows["E.02"].release and not rows["7.01"].release and rows["12.03"].release


def test_an_attack_tells_those_trained_on_only_where_a_network_overfits() -> None:
    assert advantage(torch.tensor([0.0, 0.0, 3.0]), torch.tensor([2.0, 2.0])) == pytest.approx(2 / 3)
    assert advantage(torch.ones(4), torch.ones(5)) == 0
    assert math.isnan(advantage(torch.tensor([0.0, torch.nan]), torch.ones(2)))
    row = ROWS["12.13"]
    found = advantages_of(row)
    assert set(found) == set(row.fits) and max(found.values()) < 0.05
    assert overfitted_advantage(row) > 0.2
    assert advantages_of(ROWS["12.03"]) == {}
    facts = facts_of(row, RECORDS["12.13"], read_index().values())
    rule = PROCESSES["P.07"]
    for broken in ({"status": "gated"}, {"advantages": {"nominal": 0.2}}, {"advantages": {"spec": math.nan}}):
        assert rule.missing(replace(facts, **broken)) == 1
    assert rule.missing(replace(facts, card=replace(facts.card, sections=()))) == 1


def test_a_card_says_the_same_in_both_forms(tmp_path: Path) -> None:
    row = ROWS["12.03"]
    weights = {r.weights: r.sha256 for r in read_index().values() if r.model == row.model}
    for record, flag in ((RECORDS["12.03"], "Release: yes"), (None, "Release: no")):
        card = card_of(row, record, weights)
        text, page = card_markdown(card), card_html(card)
        assert flag in text and flag in page
        for part in (card.title, *(s.title for s in card.sections), "Red line", "energy-0.005"):
            assert part in text and part in page
    odd = replace(card, title="a < b & c", blocks=("x | <b>",))
    assert "<h1>a &lt; b &amp; c</h1>" in card_html(odd) and "<p>x | &lt;b&gt;</p>" in card_html(odd)
    assert card_markdown(odd, level=2).startswith("## a < b")


def test_cards_are_written_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["zoo", "card", "pendulum"]) == 0
    assert capsys.readouterr().out.startswith("# 12.03 pendulum\n")
    page = tmp_path / "card.html"
    assert run(["zoo", "card", "12.03", "--out", str(page), "--json", "-"]) == 0
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert json.loads(capsys.readouterr().out)["row"] == "12.03"
    assert run(["zoo", "card", "12.03", "--format", "html"]) == 0
    assert "</html>" in capsys.readouterr().out
    assert run(["zoo", "card", "pendulun"]) == 2
    assert "Did you mean 'pendulum'" in capsys.readouterr().err


def test_rules_are_evaluated_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["zoo", "evaluate", "P.02", "--out", str(tmp_path), "--json", "-"]) == 0
    (record,) = json.loads(capsys.readouterr().out)["rules"]
    assert record["row"] == "P.02" and list(read_records(tmp_path / "zoo.json")) == ["P.02"]


@pytest.mark.parametrize("command", [["evaluate"], ["train"], ["show"], ["card"]])
def test_an_unknown_row_is_refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["zoo", *command, "12.99"]) == 2
    assert "12.99" in capsys.readouterr().err


def test_a_gate_that_is_missed_says_what_was_expected_and_got(tmp_path: Path) -> None:
    row = ROWS["12.03"]
    fit = {name: lambda network, tools, generator: None for name in row.fits}
    out_of_reach = replace(row, fits=fit, gate=Gate("score", lambda network: 0.25, 0.5, least=True))
    with pytest.raises(
        GateError, match=r"score is 0\.25, wanted score >= 0\.5 \(row 12\.03, weights 'spec'\)"
    ):
        fit_row(out_of_reach, "spec", tmp_path)

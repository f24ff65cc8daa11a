"""The audit: the worst violations first, every claim once, open claims before those that hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from robustbench_local.cli.app import run
from robustbench_local.models import ROWS
from robustbench_local.zoo import SHIPPED_EVALUATION, audited_rows, findings, findings_markdown, read_records


def test_the_ranking_is_by_verdict_and_size() -> None:
    record = read_records(SHIPPED_EVALUATION)["12.03"]
    claim = replace(record.claims[0], cases=3, holds=0, violated=0, lower=-1.0, upper=0.5)
    claims = (
        replace(claim, name="holds", holds=3, upper=-0.1),
        replace(claim, name="open"),
        replace(claim, name="unknown", upper=None),
        replace(claim, name="small", violated=1, lower=0.1),
        replace(claim, name="large", violated=1, lower=2.0),
        replace(claim, name="wide", upper=7.0),
    )
    ranking = findings({"12.03": replace(record, claims=claims)})
    assert [f.claim for f in ranking] == ["large", "small", "unknown", "wide", "open", "holds"]
    assert [f.word for f in ranking] == ["violated"] * 2 + ["open"] * 3 + ["holds"]
    true = replace(ranking[0], claim=claim.name)
    text = findings_markdown([true, *ranking[2:]], ROWS)
    assert text.count("\n| ") == 1 + len(ranking) - 1 and f"| 1 | 12.03 pendulum | {claim.name} |" in text
    assert text.count("\n## ") == 1 and ROWS["12.03"].card.red_line in text


def test_fairness_and_physics_are_audited() -> None:
    rows = audited_rows(ROWS)
    assert {row.entry.card.family for row in rows} >= {"fairness", "physics"}
    assert {row.card.id for row in rows} >= {id for id in ROWS if id.startswith("12.")}
    assert all(row.card.id.startswith("12.") for row in audited_rows(ROWS, ("nothing",)))
    assert "9.02" not in {row.card.id for row in rows}


def test_an_unknown_row_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", "pendulun"]) == 2
    assert "Did you mean 'pendulum'" in capsys.readouterr().err

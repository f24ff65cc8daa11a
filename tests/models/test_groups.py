"""Claims about groups in the zoo: one line of the table, and a record that counts one case."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from robustbench_local.columns import COLUMNS, KEY, validate
from robustbench_local.models import ROWS, Claim, Groups, load_model
from robustbench_local.specs import Label, gap, robustness
from robustbench_local.zoo.grouped import GROUPS, grouped
from robustbench_local.zoo.one_row import claim_record

GROUPED = [(row, claim) for row, entry in ROWS.items() for claim in entry.claims if claim.groups]


def table(words: dict[str, list[str]]) -> pd.DataFrame:
    """Method -> verdicts of four problems, as rows of a table."""
    blank = {name: "" if dtype == "string" else 0 for name, dtype in COLUMNS.items()}
    rows = [
        {
            **blank,
            "method": method,
            "kind": "verifier",
            "case": str(case),
            "verdict": word,
            "seconds": 0.5,
            "probabilistic": float("nan"),
            "arithmetic": "real",
        }
        for method, found in words.items()
        for case, word in enumerate(found)
    ]
    return validate(pd.DataFrame(rows))


@pytest.mark.parametrize(
    ("refuted", "proved", "word", "ends"),
    [
        ("3", "02", "UNKNOWN", (-0.25, 0.25)),  # shares in [1/2, 1] and of 1/2
        ("3", "012", "VIOLATED", (0.25, 0.25)),  # 1 and 1/2
        ("02", "13", "HOLDS", (-0.25, -0.25)),  # 1/2 and 1/2
    ],
)
def test_methods_speak_together(refuted: str, proved: str, word: str, ends: tuple[float, float]) -> None:
    """Two groups of two problems; neither method alone knows the shares."""
    attacked = ["VIOLATED" if str(case) in refuted else "UNKNOWN" for case in range(4)]
    bounded = ["HOLDS" if str(case) in proved else "UNKNOWN" for case in range(4)]
    claim = gap(robustness(2, 2), Label("g", 2)) <= 0.25
    groups = Groups(claim, lambda: torch.tensor([0, 0, 1, 1]))
    (found,) = grouped(table({"pgd": attacked, "crown": bounded}), groups, range(4)).to_dict("records")
    assert found["case"] == GROUPS and found["method"] == "pgd+crown" and found["spec_hash"] == claim.id
    assert found["verdict"] == word and (found["lower"], found["upper"]) == ends
    assert found["seconds"] == 4.0 and found["witness"] == "" and set(KEY) <= set(found)


def test_a_record_counts_one_case() -> None:
    claim = gap(robustness(2, 2), Label("g", 2)) <= 0.25
    rows = table({"pgd": ["VIOLATED"] * 2 + ["UNKNOWN"] * 2, "crown": ["UNKNOWN"] * 2 + ["HOLDS"] * 2})
    line = grouped(rows, Groups(claim, lambda: torch.tensor([0, 0, 1, 1])), range(4))
    record = claim_record("parity", "nominal", line)
    assert (record.cases, record.holds, record.violated, record.crossed) == (1, 0, 1, 0)
    assert record.lower == record.upper == 0.75


@pytest.mark.parametrize(("row", "claim"), GROUPED, ids=[f"{row}-{claim.name}" for row, claim in GROUPED])
def test_every_problem_has_a_group(row: str, claim: Claim) -> None:
    assert claim.groups is not None
    members = claim.groups.members()
    query = claim.query(load_model(ROWS[row].model, "nominal"))
    assert members.shape == (query.batch,) and members.dtype == torch.int64
    assert set(members.tolist()) == set(range(claim.groups.claim.shares.group.classes))

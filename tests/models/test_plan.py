"""The plan of the zoo: complete, and refused with the line where it is broken."""

from __future__ import annotations

from collections import Counter

import pytest
from robustbench_local.models.plan import parse_plan

from robustbench_local.cli import run
from robustbench_local.errors import DataError
from robustbench_local.models import read_plan
from robustbench_local.zoo import PROCESSES, zoo_rows

HEADER = "id,name,episode,family,wave,complete,paper,plan\n"
GOOD = "7.01,Embedding,7,F4,3,Y,Bengio 2003,a small one\n"


def test_every_system_of_the_lectures_has_a_row() -> None:
    """133 systems, 14 + 22 + 34 + 31 + 19 + 13 by episode, 8 parts of the engine and 7 of the process."""
    rows = read_plan()
    systems = [row for row in rows if row.id[0] not in "EP"]
    assert Counter(row.episode for row in systems) == {7: 14, 8: 22, 9: 34, 10: 31, 11: 19, 12: 13}
    assert Counter(row.family for row in rows)["engine"] == 8
    assert Counter(row.family for row in rows)["process"] == 7
    assert len(rows) == 148
    assert sum(row.wave == 1 for row in systems) == 34
    assert all(row.id.startswith(f"{row.episode}.") for row in systems)
    assert len({row.name for row in rows}) == len(rows)


def test_planned_rows_are_listed_with_a_reason() -> None:
    rows = {row.id: row for row in zoo_rows()}
    for planned in read_plan():
        if not rows[planned.id].weights and planned.id not in PROCESSES:
            assert rows[planned.id].reason
            assert rows[planned.id].status == "planned"


def test_a_planned_row_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["zoo", "show", "7.01"]) == 0
    out = capsys.readouterr().out
    assert "Emb 60×16" in out and "Bengio" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,name\n", "columns"),
        (HEADER + GOOD + GOOD, "line 3"),
        (HEADER + GOOD.replace("Embedding", ""), "no name.*line 2"),
        (HEADER + GOOD.replace(",7,F4", ",seven,F4"), "line 2"),
        (HEADER + GOOD.replace(",Y,", ",Q,"), "line 2"),
    ],
)
def test_a_broken_plan_says_where(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_plan(text)
    assert len(parse_plan(HEADER + GOOD)) == 1

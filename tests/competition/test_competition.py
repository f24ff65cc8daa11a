"""`rbl competition`: every row gets its line, whatever is wrong with it, and no killed run loses one."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from robustbench_local.cascade import Result
from robustbench_local.cli import run
from robustbench_local.competition import (
    Instance,
    Journal,
    Row,
    Settings,
    compete,
    deciding,
    read_instances,
    selected,
    tallies,
    total,
)
from robustbench_local.errors import DataError, ResultsError, SoundnessAlarm, UnknownNameError
from robustbench_local.evaluation import Cases
from robustbench_local.specs import Verdict

from ..killing import Job, codes_after_kills
from .folders import BAD, GOOD, folder

CONTRACT = ["id", "benchmark", "expected", "verdict", "seconds", "lower", "upper", "stage", "reason", "wrong"]
ROOT = Path(__file__).resolve().parents[2]


def rows_of(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def lasting(rows: Sequence[Row]) -> list[dict[str, object]]:
    """What must be the same in every run: all but the times."""
    times = ("seconds", "seconds_load", "late")
    return [{k: v for k, v in row.as_dict().items() if k not in times} for row in rows]


def saying(result: Verdict, **more: Any) -> deciding.Decider:
    """A decider that does not look."""

    def decider(batches: list[Cases], seconds: float, seed: int) -> Result:
        return Result(result, -1.0, 1.0, 0.0, "said", **more)

    return decider


def test_every_row_says_what_became_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = folder(tmp_path / "in")
    assert run(["competition", str(place), "--json", str(tmp_path / "rows.json")]) == 2
    rows = rows_of(tmp_path / "rows.json")
    assert [list(row)[: len(CONTRACT)] for row in rows] == [CONTRACT] * len(rows)
    assert [row["id"] for row in rows] == [row[0] for row in (*GOOD, *BAD)]
    verdicts = ["HOLDS", "VIOLATED", "HOLDS", "VIOLATED", "HOLDS"]
    assert [row["verdict"] for row in rows] == verdicts + ["UNKNOWN"] * len(BAD)
    for row in rows[len(GOOD) :]:
        assert (row["reason"], row["wrong"]) == ("input", False) and row["error"]
    assert not any(row["reason"] or row["error"] or row["wrong"] for row in rows[: len(GOOD)])
    assert all(row["lower"] is None or row["upper"] is None or row["lower"] <= row["upper"] for row in rows)
    shown = capsys.readouterr().out
    assert "5 of 16 solved" in shown and "11 rows could not be run" in shown


def test_good_rows_exit_with_zero_and_a_wrong_verdict_with_three(tmp_path: Path, capsys: Any) -> None:
    place = folder(tmp_path / "good", GOOD)
    assert run(["competition", str(place), "--no-attacks", "--only", "small", "--limit", "1"]) == 0
    lie = ("lie", "small", "net.onnx", "above.vnnlib", "20", "sat")
    place = folder(tmp_path / "lie", [*GOOD[:2], lie])
    assert run(["competition", str(place)]) == 3
    assert "ALARM: 1 wrong: lie" in capsys.readouterr().out


def test_without_attacks_nothing_that_fails_holds(tmp_path: Path) -> None:
    place = folder(tmp_path / "in", GOOD)
    run(["competition", str(place), "--no-attacks", "--json", str(tmp_path / "rows.json")])
    failing = [row for row in rows_of(tmp_path / "rows.json") if row["expected"] == "sat"]
    assert len(failing) == 2 and not any(row["verdict"] == "HOLDS" for row in failing)


@pytest.mark.parametrize("words", [["--timeout", "0"], ["--device", "cuda:99"], ["--device", "nonsense"]])
def test_a_limit_or_device_that_allows_nothing(tmp_path: Path, words: list[str]) -> None:
    place = folder(tmp_path / "in", GOOD)
    code = run(["competition", str(place), *words, "--json", str(tmp_path / "rows.json")])
    rows = rows_of(tmp_path / "rows.json")
    assert len(rows) == len(GOOD) and {row["verdict"] for row in rows} == {"UNKNOWN"}
    assert {row["reason"] for row in rows} == {"timeout" if words[1] == "0" else "device"}
    assert code == (0 if words[1] == "0" else 2)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "no column id"),
        ("id,benchmark,onnx,vnnlib,expected\n", "no column timeout_s"),
        ("id,benchmark,onnx,vnnlib,timeout_s,expected\n", "no rows"),
        ("id,benchmark,onnx,vnnlib,timeout_s,expected\na,b,c,d,1,sat\na,b,c,d,1,sat\n", "twice"),
        ('id,benchmark,onnx,vnnlib,timeout_s,expected\n"a,b', "no csv"),
    ],
)
def test_a_list_that_is_none(tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "instances.csv").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=part):
        read_instances(tmp_path)
    assert run(["competition", str(tmp_path)]) == 2


def test_a_folder_without_list_or_with_bytes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no list"):
        read_instances(tmp_path)
    (tmp_path / "instances.csv").write_bytes(b"\xff\xfe\x00id")
    with pytest.raises(DataError, match="no csv text"):
        read_instances(tmp_path)


def test_lists_of_the_competition_itself(tmp_path: Path) -> None:
    place = folder(tmp_path / "acas", GOOD)
    (place / "packed.onnx.gz").rename(place / "only-packed.onnx.gz")
    text = "./net.onnx,above.vnnlib,116\nonly-packed.onnx,packed.vnnlib,20\n"
    (place / "instances.csv").write_text(text, encoding="utf-8")
    found = read_instances(place)
    assert [(one.id, one.benchmark, one.timeout) for one in found] == [
        ("net:above", "acas", 116.0),
        ("only-packed:packed", "acas", 20.0),
    ]
    assert [row.verdict for row in compete(found, Settings())] == ["HOLDS", "VIOLATED"]


def test_selection(tmp_path: Path) -> None:
    found = read_instances(folder(tmp_path / "in"))
    assert [one.id for one in selected(found, ["small"])] == ["holds", "fails"]
    assert [one.id for one in selected(found, ["other", "fails"], 2)] == ["fails", "both"]
    assert [one.id for one in selected(found, ["*ol?s"])] == ["holds"]
    with pytest.raises(UnknownNameError, match="smal"):
        selected(found, ["smal"])


def test_the_shorter_of_both_limits_counts(tmp_path: Path) -> None:
    (one,) = selected(read_instances(folder(tmp_path / "in")), ["holds"])
    assert [Settings(timeout=t).limit(one) for t in (None, 5.0, 60.0)] == [20.0, 5.0, 20.0]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SoundnessAlarm("contradiction"), "alarm"),
        (MemoryError(), "resources"),
        (ZeroDivisionError("x / 0"), "error"),
        (KeyError("k"), "error"),
    ],
)
def test_an_error_inside_one_row_is_that_rows(tmp_path: Path, error: Exception, reason: str) -> None:
    def decider(batches: list[Cases], seconds: float, seed: int) -> Result:
        raise error

    first, *others = read_instances(folder(tmp_path / "in", GOOD))
    (bad,) = compete([first], Settings(), decider=decider)
    assert (bad.verdict, bad.reason, bad.wrong) == ("UNKNOWN", reason, reason == "alarm")
    assert reason != "error" or type(error).__name__ in bad.error
    assert all(row.solved for row in compete(others, Settings()))


def test_counts_add_up(tmp_path: Path) -> None:
    rows = compete(read_instances(folder(tmp_path / "in")), Settings())
    rows += compete(read_instances(tmp_path / "in")[:2], Settings(timeout=0.0))
    rows += compete(read_instances(tmp_path / "in")[:2], Settings(), decider=saying(Verdict.HOLDS))
    parts = [*tallies(rows), total(rows)]
    for part in parts:
        assert part.rows == part.solved + part.wrong + part.timeouts + part.unknown + part.failed
    whole = parts.pop()
    assert whole.rows == len(rows) == sum(part.rows for part in parts)
    assert (whole.wrong, whole.timeouts, whole.failed) == (1, 2, len(BAD))
    assert whole.seconds == pytest.approx(sum(row.seconds for row in rows))


def test_a_network_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    plain = deciding.find_model

    def counting(source: Path, **more: Any) -> Any:
        read.append(source)
        return plain(source, **more)

    monkeypatch.setattr(deciding, "find_model", counting)
    compete(read_instances(folder(tmp_path / "in")), Settings(timeout=1.0), decider=saying(Verdict.UNKNOWN))
    assert len(read) == len(set(read)) == 6


def test_any_cut_of_the_file_goes_on_to_the_same_rows(tmp_path: Path) -> None:
    """A killed process leaves the file cut anywhere: every place of the last row, and some of each other."""
    instances = read_instances(folder(tmp_path / "in"))
    path = tmp_path / "rows.jsonl"
    whole = lasting(compete(instances, Settings(), journal=Journal(path)))
    data = path.read_bytes()
    assert data.count(b"\n") == len(instances)
    ran: list[str] = []

    def started(one: Instance) -> None:
        ran.append(one.id)

    chance = random.Random(0)
    last = data[:-1].rfind(b"\n") + 1
    for cut in [0, 1, *chance.sample(range(len(data)), 20), *range(last, len(data), 50), len(data)]:
        path.write_bytes(data[:cut])
        ran.clear()
        decider = deciding.everything if cut % 5 == 0 else saying(Verdict.UNKNOWN)
        again = compete(instances, Settings(), journal=Journal(path), decider=decider, started=started)
        done = data[:cut].count(b"\n")
        missing = [one.id for k, one in enumerate(instances) if k >= done or k >= len(GOOD)]
        assert ran == missing  # rows with bad input are tried again
        assert lasting(again)[:done] == whole[:done]
        assert cut % 5 or lasting(again) == whole
        assert lasting(list(Journal(path).rows.values())) == lasting(again) or done > len(GOOD)
        assert {row.id for row in again} == set(Journal(path).rows)


def test_rows_of_other_files_limits_or_settings_are_run_again(tmp_path: Path) -> None:
    place = folder(tmp_path / "in", GOOD)
    instances, path = read_instances(place), tmp_path / "rows.jsonl"
    ran: list[str] = []

    def again(settings: Settings) -> int:
        ran.clear()
        compete(instances, settings, journal=Journal(path), started=lambda one: ran.append(one.id))
        return len(ran)

    assert [again(Settings()), again(Settings()), again(Settings(timeout=19.0))] == [5, 0, 5]
    assert [again(Settings(timeout=19.0, seed=1)), again(Settings(timeout=19.0, seed=1))] == [5, 0]
    text = (place / "above.vnnlib").read_text(encoding="utf-8")
    (place / "above.vnnlib").write_text(text.replace("2.5", "2.75"), encoding="utf-8")
    assert again(Settings(timeout=19.0, seed=1)) == 2 and ran == ["holds", "open"]


@pytest.mark.parametrize("text", ["no rows\n", "{}\n", "[1]\n", '{"id": "a"}\n', "a table without line end"])
def test_other_files_are_not_written_to(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ResultsError, match="line 1"):
        Journal(path)
    assert run(["competition", str(folder(tmp_path / "in", GOOD)), "--out", str(path)]) == 2
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.skipif(sys.platform == "win32", reason="kills by signal")
def test_a_killed_process_goes_on_where_it_was(tmp_path: Path) -> None:
    place, out, final = folder(tmp_path / "in"), tmp_path / "rows.jsonl", tmp_path / "rows.json"
    expected = lasting(compete(read_instances(place), Settings()))
    command = ["competition", str(place), "--out", str(out), "--json", str(final)]
    assert codes_after_kills(Job(command, out, kills=5), seed=1) == [2]
    keys = list(expected[0])
    assert [{key: row[key] for key in keys} for row in rows_of(final)] == expected

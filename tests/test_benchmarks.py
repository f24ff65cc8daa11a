"""The benchmarks run and write the contracted rows; their numbers are not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
KEYS = ["bench", "case", "metric", "ours", "peer", "peer_name", "ratio", "goal", "met"]
SMALL = ["--only", "mnist-cnn", "--batch", "2", "--repeats", "2", "--seconds", "1", "--threads", "1"]


@pytest.mark.parametrize(("script", "extra"), [("bounds", ["--method", "ibp", "crown"]), ("pgd", [])])
def test_a_small_run_writes_the_contracted_rows(script: str, extra: list[str], tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    command = [
        sys.executable,
        str(FOLDER / f"{script}.py"),
        "--json",
        str(path),
        "--markdown",
        *SMALL,
        *extra,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=FOLDER.parent)
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert [list(row) for row in rows] == [KEYS] * len(rows)
    assert "| mnist-cnn/" in done.stdout
    timed = [row for row in rows if row["metric"] == "seconds"]
    assert timed
    assert all(row["ours"] > 0 and row["peer"] > 0 and row["ratio"] > 0 for row in timed)
    exact = [row for row in rows if row["metric"].startswith("max relative")]
    assert all(row["met"] for row in exact)
    assert script != "bounds" or len(exact) == 4


def test_attacks_without_peers_write_the_contracted_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    command = [sys.executable, str(FOLDER / "attacks.py"), "--json", str(path), "--only", "pgd-40"]
    command += ["--network", "digits-cnn", "--batch", "8", "--repeats", "1", "--threads", "1"]
    subprocess.run(command, capture_output=True, text=True, check=True, cwd=FOLDER.parent)
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert [list(row) for row in rows if row["metric"] == "robust accuracy"] == [KEYS] * 3
    assert all(0 <= row["ours"] <= 100 for row in rows if row["metric"] == "robust accuracy")


def test_conformance_without_peers_loses_nothing_and_writes_the_contracted_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    command = [sys.executable, str(FOLDER / "conformance.py"), "--json", str(path), "--samples", "2"]
    command += ["--only", "pgd", "apgd", "--markdown"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=FOLDER.parent)
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert [list(row) for row in rows] == [KEYS] * len(rows)
    missed = [row["case"] for row in rows if not row["met"]]
    assert all(case.split("/")[0] in ("random", "rounded inputs", "walk-through") for case in missed)
    assert "| thin shell | 2/2 | 2/2 |" in done.stdout and "lost" not in done.stdout


def test_reading_files_writes_the_contracted_rows(tmp_path: Path) -> None:
    path, real = tmp_path / "rows.json", tmp_path / "real"
    real.mkdir()
    (real / "p.vnnlib").write_text(
        "(declare-const X_0 Real)(declare-const Y_0 Real)(assert (= X_0 1))(assert (<= Y_0 1))"
    )
    command = [sys.executable, str(FOLDER / "vnnlib.py"), "--json", str(path), "--megabytes", "1"]
    command += ["--repeats", "1", "--seconds", "1", "--threads", "1", "--folder", str(real)]
    subprocess.run(command, capture_output=True, text=True, check=True, cwd=FOLDER.parent)
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert [list(row) for row in rows] == [KEYS] * 15
    assert [row["ours"] for row in rows if row["metric"] == "not loaded"] == [0]
    assert all(row["ours"] > 0 for row in rows if row["metric"] == "seconds")


def test_a_cold_start_writes_the_contracted_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    command = [sys.executable, str(FOLDER / "start_up.py"), "--json", str(path), "--repeats", "1"]
    subprocess.run(command, capture_output=True, text=True, check=True, cwd=FOLDER.parent)
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert [list(row) for row in rows] == [KEYS] * 2
    assert [row["metric"] for row in rows] == ["seconds", "CPU seconds"]
    assert all(row["ours"] > row["peer"] > 0 for row in rows)  # ours imports torch too


ONE_IMAGE_AT_A_TIME = ["--alone", "2", "--processes", "0"]
WHOLE_SETS = {
    "digits_grid": ["--only", "digits-mlp:certified", "--images", "2", "--eps", "0.01", "--seconds", "5"],
    "test_set": ["--only", "digits-cnn", "--images", "3", "--eps", "0.01", *ONE_IMAGE_AT_A_TIME],
    "scaling": ["--properties", "3", "--megabytes", "--domains"],
}


@pytest.mark.parametrize("script", WHOLE_SETS)
def test_whole_sets_of_problems_write_the_contracted_rows(script: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    command = [sys.executable, str(FOLDER / f"{script}.py"), "--json", str(path), "--threads", "1"]
    subprocess.run(
        [*command, *WHOLE_SETS[script]], capture_output=True, text=True, check=True, cwd=FOLDER.parent
    )
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert rows and [list(row) for row in rows] == [KEYS] * len(rows)
    numbers = {(row["case"], row["metric"]): row["ours"] for row in rows}
    if script == "digits_grid":
        assert numbers["all pairs", "decided"] == 1.0
        assert numbers["all pairs", "decided"] == sum(numbers["all pairs", m] for m in ("proved", "broken"))
    if script == "test_set":
        assert numbers["digits-cnn/eps0.01/3 images", "verdicts that differ"] == 0
        assert sum(row["metric"] == "seconds" and row["ratio"] > 0 for row in rows) == 1
    if script == "scaling":
        assert numbers["3 properties", "decided"] == 1.0 and numbers["3 properties", "ms per property"] > 0

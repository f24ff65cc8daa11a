"""The results store: exact round trips, refusals with a cure, nothing half-written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robustbench_local import store
from robustbench_local.errors import ResultsError
from robustbench_local.store import COLUMNS, KEY, WitnessStore, merge, read_results, validate, write_results

PROFILE = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
WORDS = {
    "kind": ["attack", "verifier"],
    "verdict": ["HOLDS", "VIOLATED", "UNKNOWN"],
    "arithmetic": ["real", "float64", "outward", None],
}
KEYS = ("model", "model_hash", "case", "spec_hash", "method")


def row(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        name: {"string": None, "float64": float("nan"), "int64": 0}[dtype] for name, dtype in COLUMNS.items()
    }
    values |= {"model": "m", "model_hash": "h", "case": "0", "spec_hash": "s", "method": "pgd"}
    return values | {"kind": "attack", "verdict": "UNKNOWN", "eps": 0.1} | changes


def frame(*rows: dict[str, Any]) -> pd.DataFrame:
    return validate(pd.DataFrame([row(**changes) for changes in rows], columns=list(COLUMNS)))


texts = st.text(st.characters(codec="utf-8"), max_size=12)


def values(name: str, dtype: str) -> st.SearchStrategy[Any]:
    if name in WORDS:
        return st.sampled_from(WORDS[name])
    if name == "eps":
        return st.floats(0, 1e300) | st.just(float("nan"))
    if name == "probabilistic":
        return st.just(float("nan"))  # a radius beside a verdict is refused
    if dtype == "float64":
        return st.floats()
    if dtype == "int64":
        return st.integers(-(2**63), 2**63 - 1)
    return texts if name in KEYS else texts | st.none() | st.sampled_from(["", "NA", "nan", "null", '"', ","])


rows_strategy = st.lists(
    st.fixed_dictionaries({name: values(name, dtype) for name, dtype in COLUMNS.items()}), max_size=4
)


def build(rows: list[dict[str, Any]]) -> pd.DataFrame:
    columns = {name: pd.Series([r[name] for r in rows], dtype=dtype) for name, dtype in COLUMNS.items()}
    return pd.DataFrame(columns)


def equal(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left, right, check_exact=True)
    for name, dtype in COLUMNS.items():
        if dtype == "float64":  # assert_frame_equal takes 0.0 for -0.0
            assert np.array_equal(np.signbit(left[name]), np.signbit(right[name])) or left[name].isna().any()


def test_the_columns_are_the_contract() -> None:
    names = (
        "run_id model model_hash family dataset case spec spec_hash norm eps method kind verdict lower upper"
    )
    names += (
        " stage reason seconds seconds_load forwards backwards domains peak_mb device dtype arithmetic seed"
    )
    names += " version witness certificate error probabilistic margin_over_rounding believable"
    assert list(COLUMNS) == names.split()
    assert set(KEY) <= set(COLUMNS)


@PROFILE
@given(rows=rows_strategy)
def test_round_trips_are_exact(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    table = build(rows)
    parquet, csv = write_results(table, tmp_path)
    for path in (tmp_path, parquet, csv):
        equal(read_results(path), table)


def test_the_csv_reads_as_expected_in_plain_pandas(tmp_path: Path) -> None:
    table = frame({"upper": float("-inf")}, {"lower": 0.1 + 0.2, "reason": "timeout"})
    plain = pd.read_csv(write_results(table, tmp_path)[1])
    assert list(plain.columns) == list(COLUMNS)
    assert plain["upper"][0] == -np.inf and plain["lower"][1] == pytest.approx(0.3)
    assert pd.isna(plain["reason"][0]) and plain["reason"][1] == "timeout"


def test_the_parquet_file_carries_its_versions(tmp_path: Path) -> None:
    facts = pa_parquet.read_schema(write_results(frame({}), tmp_path)[0]).metadata
    assert facts[b"robustbench_local.schema"] == str(store.SCHEMA_VERSION).encode()
    assert facts[b"robustbench_local.version"]


@pytest.mark.parametrize(
    "changes",
    [
        {"eps": -0.1},
        {"eps": float("inf")},
        {"verdict": "unsat"},
        {"kind": "guess"},
        {"arithmetic": "float16"},
        {"model": None},
        {"case": 3},
        {"reason": 1.5},
        {"seed": 0.5},
        {"seed": None},
        {"probabilistic": -0.1},
        {"probabilistic": float("inf")},
        {"probabilistic": 0.5, "verdict": "HOLDS"},
        {"probabilistic": 0.5, "verdict": "VIOLATED"},
        {"lower": "high"},
        {"error": "\ud800"},
    ],
    ids=str,
)
def test_a_value_that_does_not_fit_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ResultsError) as caught:
        write_results(pd.DataFrame([row(**changes)], columns=list(COLUMNS), dtype=object), tmp_path)
    assert caught.value.cure
    assert list(tmp_path.iterdir()) == []


def test_columns_must_be_exactly_the_contract() -> None:
    table = frame({})
    for wrong in (table.drop(columns="upper"), table.assign(extra=1), table[[*COLUMNS, "upper"]]):
        with pytest.raises(ResultsError):
            validate(wrong)
    assert list(validate(table[list(COLUMNS)[::-1]]).columns) == list(COLUMNS)


def test_another_schema_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "SCHEMA_VERSION", 999)
    write_results(frame({}), tmp_path)
    monkeypatch.undo()
    with pytest.raises(ResultsError, match="schema version 999"):
        read_results(tmp_path)


def test_files_of_the_first_schema_are_read(tmp_path: Path) -> None:
    """They lack `probabilistic`, which is then NaN; one of today without it is refused."""
    table = frame({"lower": 0.5}, {"case": "1"})
    old = pa.Table.from_pandas(table.drop(columns="probabilistic"), preserve_index=False)
    for version in ("1", "2"):
        facts = {"robustbench_local.schema": version, "robustbench_local.version": "0.0.1"}
        pa_parquet.write_table(old.replace_schema_metadata(facts), tmp_path / "results.parquet")
        if version == "1":
            equal(read_results(tmp_path), table)
        else:
            with pytest.raises(ResultsError, match="lacks the columns probabilistic"):
                read_results(tmp_path)
    (tmp_path / "results.parquet").unlink()
    csv = write_results(table, tmp_path)[1]
    (tmp_path / "results.parquet").unlink()
    csv.write_text("".join(line.rpartition(",")[0] + "\n" for line in csv.read_text().splitlines()))
    equal(read_results(tmp_path), table)


@pytest.mark.parametrize("name", ["results.parquet", "results.csv"])
def test_a_broken_file_is_refused(name: str, tmp_path: Path) -> None:
    write_results(frame({}, {"case": "1"}), tmp_path)
    path = tmp_path / name
    whole = path.read_bytes()
    for broken in (b"", b"\xff\xfe\x00" * 30, whole[: len(whole) // 2], whole[:-3] + b",7\n"):
        path.write_bytes(broken)
        with pytest.raises(ResultsError) as caught:
            read_results(path)
        assert caught.value.cure and str(path) in str(caught.value)


def test_missing_and_foreign_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "results.txt").write_text("")
    for path in (tmp_path, tmp_path / "none.csv", tmp_path / "results.txt"):
        with pytest.raises(ResultsError):
            read_results(path)
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "results.parquet")
    with pytest.raises(ResultsError, match="schema version none"):
        read_results(tmp_path)


def test_a_crash_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = frame({"case": "old"})
    write_results(old, tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())

    def crash(_table: object, path: Path, **_settings: object) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(store.pa_parquet, "write_table", crash)
    monkeypatch.setattr(store.pa_csv, "write_csv", crash)
    with pytest.raises(KeyboardInterrupt):
        write_results(frame({"case": "new"}), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    for name in ("results.parquet", "results.csv"):
        equal(read_results(tmp_path / name), old)


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ResultsError, match="cannot write"):
        write_results(frame({}), tmp_path / "taken")


def test_merge_lets_the_last_row_win() -> None:
    nan = float("nan")
    old = frame({"case": "0"}, {"case": "1"}, {"case": "2", "eps": nan}, {"case": "0", "dataset": "other"})
    new = frame(
        {"case": "1", "lower": 2.0}, {"case": "2", "eps": nan, "lower": 3.0}, {"case": "1", "eps": 0.2}
    )
    both = merge(old, new)
    assert both["case"].tolist() == ["0", "0", "1", "2", "1"]
    assert both["lower"].fillna(-1).tolist() == [-1, -1, 2.0, 3.0, -1]
    equal(merge(both, both), both)
    equal(merge(both.iloc[:0], both), both)


def test_witnesses_round_trip(tmp_path: Path) -> None:
    points = WitnessStore()
    generator = torch.Generator().manual_seed(0)
    point, centre = torch.rand(2, 1, 8, 8, generator=generator)
    with_centre, without = points.add(point, centre), points.add(point.double(), scores=torch.eye(2))
    assert points.add(point, centre) == with_centre and len(points) == 2 and len(with_centre) == 64
    assert points.save(tmp_path) == tmp_path / "witnesses.safetensors"
    back = WitnessStore.load(tmp_path)
    assert list(back) == list(points) or set(back) == set(points)
    assert torch.equal(back[with_centre], point) and back[without].dtype == torch.float64
    kept = back.centre(with_centre)
    assert kept is not None and torch.equal(kept, centre) and back.centre(without) is None
    scores = back.scores(without)
    assert scores is not None and torch.equal(scores, torch.eye(2)) and back.scores(with_centre) is None
    with pytest.raises(ResultsError, match="no witness"):
        back["missing"]
    more = WitnessStore()
    more.update(back)
    assert set(more) == set(points)


def test_a_stored_witness_is_a_copy() -> None:
    point = torch.zeros(2, requires_grad=True)
    points = WitnessStore()
    key = points.add(point)
    with torch.no_grad():
        point += 1
    assert points[key].tolist() == [0, 0] and not points[key].requires_grad


def test_no_witness_file_is_an_empty_store_and_a_broken_one_is_refused(tmp_path: Path) -> None:
    assert len(WitnessStore.load(tmp_path)) == 0
    (tmp_path / WitnessStore.FILE).write_bytes(b"broken")
    with pytest.raises(ResultsError):
        WitnessStore.load(tmp_path)


def test_a_changed_witness_does_not_match_its_hash(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"0" * 64: torch.ones(3)}, tmp_path / WitnessStore.FILE)
    with pytest.raises(ResultsError, match="does not match"):
        WitnessStore.load(tmp_path)

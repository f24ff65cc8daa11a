"""Evaluating rows: no claim hides another, smaller sets are nested, errors stay with their row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from robustbench_local.errors import DataError, RobustBenchError, SoundnessAlarm
from robustbench_local.models import ROWS, SHIPPED, Row
from robustbench_local.specs import Query
from robustbench_local.store import WitnessStore, read_results
from robustbench_local.zoo import SHIPPED_EVALUATION, evaluate_rows, headings, read_records, zoo_suites
from robustbench_local.zoo.one_row import control_of
from robustbench_local.zoo.processes import in_processes
from robustbench_local.zoo.records import EVALUATION
from robustbench_local.zoo.sizes import CASES, SIZES


def quick(row: str, *, methods: tuple[str, ...] = ("pgd", "ibp")) -> Row:
    """The row with two methods per claim."""
    whole = ROWS[row]
    return replace(whole, claims=tuple(replace(c, methods=methods, seconds=5.0) for c in whole.claims))


def test_one_table_holds_every_claim_of_every_row(tmp_path: Path) -> None:
    """The claims of 12.04 differ only in the numbers bound to one property, so that their hashes agree."""
    rows = [quick("12.04"), quick("12.03")]
    evaluate_rows(rows, tmp_path)
    table = read_results(tmp_path)
    for row in rows:
        of_row = table[table["model"].str.startswith(f"{row.model}:")]
        assert set(of_row["spec"]) == {claim.name for claim in row.claims}
    assert (table["error"].fillna("") == "").all()
    assert set(table.loc[table["verdict"] == "VIOLATED", "witness"]) <= set(WitnessStore.load(tmp_path))
    assert headings(read_records(tmp_path / EVALUATION)) == {
        "irrelevant-features": "12.04 irrelevant-features",
        "pendulum": "12.03 pendulum",
    }


def test_evaluating_again_replaces_the_row(tmp_path: Path) -> None:
    row = quick("12.03")
    evaluate_rows([row], tmp_path)
    before = read_results(tmp_path)
    evaluate_rows([replace(row, claims=row.claims[:1])], tmp_path)
    after = read_results(tmp_path)
    assert set(after["spec"]) == {row.claims[0].name} < set(before["spec"])


def test_smaller_sets_lie_in_the_claims_own(tmp_path: Path) -> None:
    """Their bounds cannot be larger, and none is found to break where the whole is proved not to."""
    evaluate_rows([quick("12.03")], tmp_path)
    table = read_results(tmp_path)
    table = table[~table["model"].str.contains("control") & (table["norm"] == "scale")]
    assert set(table["eps"]) == {*SIZES, 1.0}
    assert table.groupby(["model", "spec", "eps"])["case"].nunique().max() <= CASES
    bounds = table[table["method"] == "ibp"].pivot_table(
        index=["model", "spec"], columns="eps", values="upper"
    )
    assert bool((bounds.diff(axis=1).iloc[:, 1:] >= -1e-9).all(axis=None))
    found = table[table["kind"] == "attack"].groupby(["model", "spec", "eps"])["lower"].max().unstack()
    assert bool((found <= bounds + 1e-6).all(axis=None))


def _broken(network: nn.Module) -> Query:
    raise ZeroDivisionError("a claim's own mistake")


def _alarmed(network: nn.Module) -> Query:
    raise SoundnessAlarm("attack above bound", where="a case")


def test_a_mistake_in_a_rows_own_code_stops_no_other(tmp_path: Path) -> None:
    good = quick("12.03")
    bad = replace(quick("12.04"), claims=(replace(good.claims[0], query=_broken),))
    errors: dict[str, str] = {}
    done = evaluate_rows(
        [bad, good], tmp_path, failed=lambda row, error: errors.update({row.card.id: str(error)})
    )
    assert list(done) == ["12.03"] == list(read_records(tmp_path / EVALUATION))
    assert "ZeroDivisionError: a claim's own mistake" in errors["12.04"] and "12.04" in errors["12.04"]
    with pytest.raises(RobustBenchError, match="own mistake"):
        evaluate_rows([bad], tmp_path)


def test_an_alarm_stops_everything(tmp_path: Path) -> None:
    good = quick("12.03")
    bad = replace(good, claims=(replace(good.claims[0], query=_alarmed),))
    with pytest.raises(SoundnessAlarm, match="attack above bound"):
        evaluate_rows([bad, good], tmp_path, failed=lambda row, error: None)


def test_weights_that_changed_fail_their_row_alone(tmp_path: Path) -> None:
    """A file whose hash is not the index's is refused by name; the next row goes on."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for file in SHIPPED.glob("*"):
        if file.name.startswith(("pendulum", "undefended", "index")):
            (folder / file.name).write_bytes(file.read_bytes())
    victim = next(folder.glob("undefended*"))
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(bytes(data))
    errors: list[str] = []
    done = evaluate_rows(
        [quick("12.01"), quick("12.03")],
        tmp_path / "out",
        weights=folder,
        failed=lambda row, error: errors.append(str(error)),
    )
    assert list(done) == ["12.03"]
    (text,) = errors
    assert "expected sha256" in text and ", got " in text and victim.name in text


def test_processes_share_the_rows(tmp_path: Path) -> None:
    rows = [ROWS["12.04"], ROWS["12.07"]]
    finished: list[str] = []
    found = evaluate_rows(rows, tmp_path, workers=2, finished=lambda row: finished.append(row.card.id))
    assert sorted(finished) == ["12.04", "12.07"] == sorted(read_records(tmp_path / EVALUATION))
    shipped = read_records(SHIPPED_EVALUATION)["12.04"]
    for one, other in zip(found["12.04"].claims, shipped.claims, strict=True):
        assert (one.name, one.weights, one.cases) == (other.name, other.weights, other.cases)
        assert one.violated <= other.cases - other.holds and one.holds <= other.cases - other.violated
    assert set(read_results(tmp_path)["model"].str.partition(":")[0]) == {row.model for row in rows}


def test_controls_are_the_same_in_every_process() -> None:
    """Some have learned nothing: their first weights must not depend on what was drawn before."""
    claim = ROWS["12.01"].claims[0]
    torch.manual_seed(1)
    first = control_of(claim).state_dict()
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    assert all(torch.equal(first[name], value) for name, value in control_of(claim).state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), before)


def test_an_item_that_kills_its_process_stops_no_other() -> None:
    deadly = "__import__('os')._exit(3)"
    items = ["1 + 1", deadly, "2 + 2", deadly + " # again"]
    found = dict(in_processes(eval, items, 2))
    assert found == {"1 + 1": 2, deadly: None, "2 + 2": 4, deadly + " # again": None}
    with pytest.raises(ZeroDivisionError):
        dict(in_processes(eval, ["1 / 0"], 1))


def test_without_names_every_model_with_radii_is_evaluated() -> None:
    """The masked models have none; naming one says so."""
    suites = zoo_suites([])
    models = {model.partition(":")[0] for suite in suites for model in suite.models}
    assert models == {"digits-mlp", "digits-cnn", "digits-resnet"} and all(suite.eps for suite in suites)
    with pytest.raises(DataError, match="no radii"):
        zoo_suites(["masked-resized"])


def test_results_with_thousands_of_tensors_arrive() -> None:
    """Whatever number of files a process may open."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        ((_, found),) = in_processes(eval, ["[__import__('torch').full((2,), i) for i in range(1000)]"], 1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert found is not None and [float(one[0]) for one in found] == list(range(1000))

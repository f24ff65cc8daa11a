"""Probabilistic certificates in tables, reports and the command line: never a verdict, never a proof."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import robustbench_local as rbl
from robustbench_local.cli import run
from robustbench_local.errors import ResultsError, SpecError, UnknownNameError
from robustbench_local.evaluation import Cases, Method, evaluate
from robustbench_local.report import brackets, certificates, reasons, report
from robustbench_local.resumable import evaluate_suite
from robustbench_local.specs import SPECS
from robustbench_local.store import COLUMNS, read_results, validate, write_results
from robustbench_local.suite import Suite
from robustbench_local.verifiers import VERIFIERS, Smoothing

FEW = Smoothing(sigma=0.25, samples0=20, samples=400, alpha=0.01)


class Half(nn.Module):
    """Scores (x0, 0.5): class 0 right of one half."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(2, 2)
        with torch.no_grad():
            self.line.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.0]]))
            self.line.bias.copy_(torch.tensor([0.0, 0.5]))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.line(x)
        return scores


def cases(eps: float = 0.1, network: nn.Module | None = None) -> Cases:
    """Certified right, on the boundary, and certified wrong."""
    network = network or Half()
    x0 = torch.tensor([[0.95, 0.2], [0.5, 0.2], [0.05, 0.2]])
    spec = SPECS["robustness"]((2,), 2, p=2.0)
    query = spec.query(network, x0=x0, c=torch.zeros(3, dtype=torch.int64), eps=eps)
    return Cases(
        model="half", network=network, model_hash="h", family="line", dataset="d", ids=range(3),
        query=query, spec="robustness", norm="l2", eps=eps, origins=x0,
    )  # fmt: skip


def test_rows_hold_radii_and_no_verdict() -> None:
    table = evaluate([cases()], {"smoothing": FEW, "ibp": VERIFIERS["ibp"]})
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == dict(COLUMNS)
    rows, ibp = table[table["method"] == "smoothing"], table[table["method"] == "ibp"]
    assert list(rows["verdict"]) == ["UNKNOWN"] * 3 and list(ibp["verdict"]) == [
        "HOLDS",
        "UNKNOWN",
        "UNKNOWN",
    ]
    assert list(rows["reason"]) == ["probabilistic", "abstained", "misclassified"]
    assert 0.2 < rows["probabilistic"].iloc[0] <= 0.45 and list(rows["probabilistic"].iloc[1:]) == [0.0, 0.0]
    assert rows[["lower", "upper"]].isna().all(axis=None) and ibp["probabilistic"].isna().all()
    assert set(rows["stage"]) == {FEW.text} and set(rows["forwards"]) == {420} and set(rows["domains"]) == {0}


def test_the_radius_does_not_depend_on_eps_and_is_computed_once() -> None:
    network, seen = Half(), list[int]()
    network.register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    table = evaluate([cases(e, network) for e in (0.1, 0.2, 0.3)], {"smoothing": FEW})
    found = table["probabilistic"].to_numpy().reshape(3, 3)
    assert (found == found[0]).all() and 3 * 420 <= sum(seen) < 4 * 420
    other = evaluate([cases(0.1)], {"smoothing": FEW}, seed=1)
    assert other["probabilistic"].iloc[0] != found[0, 0]


def test_a_property_that_is_no_classification_is_an_error_of_the_method() -> None:
    one = cases()
    query = SPECS["targeted"]((2,), 3, p=2.0).query(
        nn.Linear(2, 3), x0=torch.rand(3, 2), t=torch.zeros(3, dtype=torch.int64), eps=0.1
    )
    broken = replace(one, query=query)
    table = evaluate([broken], {"smoothing": FEW})
    assert set(table["verdict"]) == {"UNKNOWN"} and table["error"].str.contains("smoothing").all()
    assert (table["probabilistic"] == 0).all()


def test_out_of_time_is_a_timeout() -> None:
    table = evaluate([cases()], {"smoothing": FEW}, timeout=1e-9)
    assert set(table["reason"]) == {"timeout"} and (table["probabilistic"] == 0).all()


def test_summaries_keep_them_apart() -> None:
    only = evaluate([cases()], {"smoothing": FEW})
    assert brackets(only)["verified"].isna().all(), "smoothing counts as verification"
    assert reasons(only).empty
    both = evaluate([cases(0.1), cases(0.3)], {"smoothing": FEW, "ibp": VERIFIERS["ibp"]})
    assert list(brackets(both)["verified"]) == [pytest.approx(1 / 3)] * 2
    (row,) = certificates(both).to_dict("records")
    assert row["n"] == 3 and row["above 0"] == pytest.approx(1 / 3) == row["abstained"]
    assert row["above 1"] == 0 and row["median"] == 0 and 0.2 < row["largest"] < 0.45
    assert certificates(both[both["method"] == "ibp"]).empty


def test_the_report_shows_them_by_themselves(tmp_path: Path) -> None:
    methods: dict[str, Method] = {"smoothing": FEW, "ibp": VERIFIERS["ibp"]}
    page = report(evaluate([cases()], methods), tmp_path)
    text = page.with_name("report.md").read_text(encoding="utf-8")
    assert (
        "no proofs" in text and FEW.text in text and "Probabilistic certificates" in page.read_text("utf-8")
    )
    plain = report(evaluate([cases()], {"ibp": VERIFIERS["ibp"]}), tmp_path / "plain")
    assert "robabilistic" not in plain.with_name("report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("verdict", ["HOLDS", "VIOLATED"])
def test_a_radius_beside_a_verdict_is_refused(verdict: str, tmp_path: Path) -> None:
    table = evaluate([cases()], {"smoothing": FEW})
    with pytest.raises(ResultsError, match="beside a verdict"):
        write_results(table.assign(verdict=pd.Series([verdict] * 3, dtype="string")), tmp_path)
    assert np.array_equal(validate(table)["probabilistic"], table["probabilistic"])


def test_names_of_methods() -> None:
    suite = Suite(models=("m",), methods=("clean", "smoothing", "smoothing-0.5"), samples=200, alpha=0.05)
    found = suite.found_methods()
    assert found["smoothing"] == Smoothing(samples=200, alpha=0.05)
    assert found["smoothing-0.5"] == Smoothing(sigma=0.5, samples=200, alpha=0.05)
    with pytest.raises(UnknownNameError, match="smoothing"):
        Suite(models=("m",), methods=("smoothin",))
    with pytest.raises(SpecError, match="evaluate --method smoothing"):
        rbl.verify(Half(), cases().query, method="smoothing")
    table = rbl.evaluate([cases()], ["smoothing-1"])
    assert (table["probabilistic"] >= 0).all()


def test_the_command_line_resumes_and_starts_again_with_other_settings(tmp_path: Path) -> None:
    words = ["evaluate", "-m", "digits-mlp:pgd", "--method", "smoothing", "--norm", "l2", "--limit", "4"]
    words += ["--out", str(tmp_path / "out"), "--json", str(tmp_path / "out.json")]
    assert run([*words, "--samples", "200"]) == 0
    (row,) = json.loads((tmp_path / "out.json").read_text())["probabilistic"]
    assert row["n"] == 4 and "100+200" in row["stage"] and 0 <= row["above 0"] <= 1
    first = read_results(tmp_path / "out")
    suite = Suite(models=("digits-mlp:pgd",), methods=("smoothing",), norm="l2", limit=4, samples=200)
    again = evaluate_suite(suite, tmp_path / "out")
    assert list(again["run_id"]) == list(first["run_id"])
    other = evaluate_suite(
        Suite(models=("digits-mlp:pgd",), methods=("smoothing",), norm="l2", limit=4, samples=300),
        tmp_path / "out",
    )
    assert set(other["run_id"]) != set(first["run_id"]) and other["stage"].str.contains("300").all()
    assert (first["probabilistic"] < math.inf).all()

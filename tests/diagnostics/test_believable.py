"""The column `believable`: what diagnostics say of an attack's rows, empty where none were run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from robustbench_local.diagnostics import Curves, Diagnosis, with_belief
from robustbench_local.resumable import evaluate_suite
from robustbench_local.suite import Suite

SUITE = Suite(models=("masked-saturated",), eps=(0.1,), methods=("pgd", "ibp"), limit=3)


def test_attack_rows_are_judged_and_nothing_else(tmp_path: Path) -> None:
    plain = evaluate_suite(SUITE, tmp_path)
    assert set(plain["believable"]) == {""}
    rows = evaluate_suite(SUITE, tmp_path, diagnosed=True)  # what was there lacks it, and is made again
    attack, verifier = rows[rows["kind"] == "attack"], rows[rows["kind"] == "verifier"]
    assert set(verifier["believable"].fillna("")) == {""}
    broken = attack["verdict"] == "VIOLATED"
    assert set(attack[broken]["believable"]) <= {"yes"} and (~broken).any()
    assert all(text.startswith("no: D1") for text in attack[~broken]["believable"])


def test_a_counterexample_is_doubted_only_of_a_stochastic_network(tmp_path: Path) -> None:
    rows = evaluate_suite(SUITE, tmp_path).assign(verdict="VIOLATED")
    ids = tuple(rows["case"].unique())
    quiet = Diagnosis("m", "s", "linf", 0.1, ids, ids, (), Curves(), 0.0)
    assert set(with_belief(rows, quiet)["believable"]) == {"yes", ""}
    other = replace(quiet, cases=("none",))
    assert set(with_belief(rows, other)["believable"]) == {""}

"""`rbl zoo evaluate` without names: all rows, the rules of the process, and classifiers on few images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from robustbench_local.cli import run
from robustbench_local.models import ROWS, Row
from robustbench_local.suite import Suite
from robustbench_local.zoo import PROCESSES, zoo_suites


@pytest.mark.parametrize(("words", "images"), [((), 100), (("--limit", "7"), 7), (("digits-mlp",), None)])
def test_classifiers_among_all_take_few_images(
    words: tuple[str, ...], images: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[Row] = []
    rules: list[str] = []
    suites: list[Suite] = []
    for name, instead in {
        "zoo.evaluate_chosen": lambda chosen, *rest: rows.extend(chosen),
        "zoo.evaluate_rules": lambda names, *rest: rules.extend(names),
        "running.run_suite": lambda suite, *rest: suites.append(suite),
        "running.show_suite": lambda *rest: None,
    }.items():
        monkeypatch.setattr(f"robustbench_local.cli.{name}", instead)
    monkeypatch.setattr("robustbench_local.store.read_results", lambda folder: None)
    assert run(["zoo", "evaluate", *words, "--out", str(tmp_path)]) == 0
    everything = images is not None
    assert (rows, rules) == ((list(ROWS.values()), list(PROCESSES)) if everything else ([], []))
    wanted: Sequence[Any] = zoo_suites([] if everything else list(words), limit=images)
    assert suites == list(wanted) and all(suite.limit == images for suite in suites)

"""A suite evaluated batch by batch into a folder, going on where an earlier run of it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import torch

from robustbench_local.diagnostics import diagnose, nothing_to_examine, with_belief
from robustbench_local.errors import ResultsError
from robustbench_local.evaluation import Cases, Progress, Subject, evaluate
from robustbench_local.store import WitnessStore, merge, read_results, write_results
from robustbench_local.verifiers import Smoothing, Verifier, arithmetic_of
from robustbench_local.version import __version__

from .suite import Suite

__all__ = ["SAVE_EVERY", "evaluate_suite"]

SAVE_EVERY = 30.0
"""Seconds of work that a killed process may lose, at the most plus one batch."""


def evaluate_suite(
    suite: Suite,
    folder: Path,
    *,
    device: torch.device | None = None,
    progress: Progress | None = None,
    skipped: Callable[[Cases], None] | None = None,
    diagnosed: bool = False,
) -> pd.DataFrame:
    """The results table of the suite; `folder` keeps it, results.parquet and .csv, and the witnesses.

    The files are rewritten every `SAVE_EVERY` seconds between batches (one model at one radius each), and at
    the end, also of an interrupted run. A batch whose rows are already there, from the same weights,
    settings, seed and version, without errors and timeouts, is not computed again: `skipped` is called for
    it instead. Rows of other batches in the folder stay. With `diagnosed` every batch is diagnosed too, for
    the column `believable`.

    Raises ResultsError if the folder holds results of another format, and what `evaluate` raises.
    """
    table = _existing(folder)
    witnesses = WitnessStore.load(folder) if folder.is_dir() else WitnessStore()
    saved = time.monotonic()

    def left() -> Iterator[Cases]:
        for cases in suite.cases(device=device):
            if table is None or not _done(table, cases, suite, diagnosed):
                yield cases
            elif skipped is not None:
                skipped(cases)

    def keep(_cases: Cases, rows: pd.DataFrame) -> None:
        nonlocal table, saved
        rows = _believed(_cases, rows, suite) if diagnosed else rows
        table = rows if table is None else merge(table, rows)
        if time.monotonic() - saved > SAVE_EVERY:
            _save(table, witnesses, folder)
            saved = time.monotonic()

    try:
        evaluate(
            left(),
            suite.found_methods(),
            timeout=suite.timeout,
            seed=suite.seed,
            progress=progress,
            finished=keep,
            witnesses=witnesses,
            alarm_folder=folder,
        )
    finally:
        if table is not None:
            _save(table, witnesses, folder)
    if table is None:
        raise ResultsError("the suite has no cases", cure="name models and radii")
    return table


def _save(table: pd.DataFrame, witnesses: WitnessStore, folder: Path) -> None:
    witnesses.save(folder)  # first: no row on disk may name a witness that is not there
    write_results(table, folder)


def _believed(cases: Cases, rows: pd.DataFrame, suite: Suite) -> pd.DataFrame:
    """The rows of a batch after a diagnosis; as they are where no case is right to begin with."""
    if not bool((~cases.query.violated(cases.starts().to(Subject.of(cases).dtype))).any()):
        return with_belief(rows, nothing_to_examine(cases))
    found = diagnose(cases, at_radius=suite.at_radius(cases), seed=suite.seed)
    return with_belief(rows, found)


def _existing(folder: Path) -> pd.DataFrame | None:
    found = (folder / "results.parquet").is_file() or (folder / "results.csv").is_file()
    return read_results(folder) if found else None


def _done(table: pd.DataFrame, cases: Cases, suite: Suite, diagnosed: bool) -> bool:
    """Whether every problem of the batch has a usable row from every method of the suite."""
    rows = table[
        (table["model_hash"] == cases.model_hash)
        & (table["spec_hash"] == cases.query.id)
        & (table["dataset"] == cases.dataset)
        & (table["eps"] == cases.eps)
        & (table["seed"] == suite.seed)
        & (table["version"] == __version__)
        & (table["error"].fillna("") == "")
        & (table["reason"].fillna("") != "timeout")
    ]
    if diagnosed:
        rows = rows[(rows["kind"] != "attack") | (rows["believable"].fillna("") != "")]
    methods = suite.found_methods()
    own = {name: method.text for name, method in methods.items() if isinstance(method, Smoothing)}
    settings = rows["method"].map(own)  # smoothing with other settings has to run again
    rows = rows[settings.isna() | (settings == rows["stage"])]
    kinds = {n: arithmetic_of(m).column for n, m in methods.items() if isinstance(m, Verifier)}
    about = rows["method"].astype("object").map(lambda name: kinds.get(name, "real"))
    rows = rows[about.astype("object") == rows["arithmetic"].astype("object")]
    wanted = {(str(case), method) for case in cases.ids for method in methods}
    return wanted <= set(zip(rows["case"], rows["method"], strict=True))

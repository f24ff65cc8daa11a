"""A suite evaluated batch by batch into a folder, going on where an earlier run of it stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch

from robustbench_local.errors import ResultsError
from robustbench_local.evaluation import Cases, Progress, evaluate
from robustbench_local.store import WitnessStore, merge, read_results, write_results
from robustbench_local.version import __version__

from .suite import Suite

__all__ = ["evaluate_suite"]


def evaluate_suite(
    suite: Suite,
    folder: Path,
    *,
    device: torch.device | None = None,
    progress: Progress | None = None,
    skipped: Callable[[Cases], None] | None = None,
) -> pd.DataFrame:
    """The results table of the suite; results.parquet, results.csv and witnesses.safetensors in `folder`
    hold it too.

    The files are rewritten after every batch (one model at one radius). A batch whose rows are already
    there, from the same weights, settings, seed and version, without errors and timeouts, is not computed
    again: `skipped` is called for it instead. Rows of other batches in the folder stay.

    Raises ResultsError if the folder holds results of another format, and what `evaluate` raises.
    """
    table = _existing(folder)
    witnesses = WitnessStore.load(folder) if folder.is_dir() else WitnessStore()
    methods = suite.found_methods()
    for cases in suite.cases(device=device):
        if table is not None and _done(table, cases, suite):
            if skipped is not None:
                skipped(cases)
            continue
        rows = evaluate(
            [cases],
            methods,
            timeout=suite.timeout,
            seed=suite.seed,
            progress=progress,
            witnesses=witnesses,
            alarm_folder=folder,
        )
        table = rows if table is None else merge(table, rows)
        witnesses.save(folder)  # first: no row on disk may name a witness that is not there
        write_results(table, folder)
    if table is None:
        raise ResultsError("the suite has no cases", cure="name models and radii")
    return table


def _existing(folder: Path) -> pd.DataFrame | None:
    found = (folder / "results.parquet").is_file() or (folder / "results.csv").is_file()
    return read_results(folder) if found else None


def _done(table: pd.DataFrame, cases: Cases, suite: Suite) -> bool:
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
    wanted = {(str(case), method) for case in cases.ids for method in suite.methods}
    return wanted <= set(zip(rows["case"], rows["method"], strict=True))

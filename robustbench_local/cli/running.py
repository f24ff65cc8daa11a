"""A suite run with a progress bar, and its bracket table as people read it: shared by demo and evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .output import message, percent, printer, progress_bar, table, write_json

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from rich.console import Console
    from rich.table import Table

    from robustbench_local.evaluation import Cases
    from robustbench_local.suite import Suite

__all__ = [
    "bracket_rows",
    "bracket_table",
    "certificate_rows",
    "run_suite",
    "show_suite",
    "warn_of_errors",
]


def run_suite(
    suite: Suite, folder: Path, device: torch.device | None, *, diagnosed: bool = False
) -> pd.DataFrame:
    """The suite's results, with a progress bar that counts methods x batches."""
    from robustbench_local.resumable import evaluate_suite

    with progress_bar() as bar:
        task = bar.add_task("", total=suite.batches * len(suite.methods))

        def begin(cases: Cases, method: str) -> None:
            bar.update(task, description=f"{cases.model} eps {cases.eps:g} {method}", advance=1)

        def skip(cases: Cases) -> None:
            bar.update(
                task, description=f"{cases.model} eps {cases.eps:g} done before", advance=len(suite.methods)
            )

        return evaluate_suite(suite, folder, device=device, progress=begin, skipped=skip, diagnosed=diagnosed)


def show_suite(results: pd.DataFrame, folder: Path, json: Path | None) -> None:
    """Prints the bracket table and where the rows are; the same as JSON where it is asked for."""
    console = printer(json)
    console.print(bracket_table(results))
    certified = certificate_rows(results)
    if certified:
        console.print(_certificate_table(certified))
    warn_of_errors(results, console)
    file = folder / "results.parquet"
    message(f"{len(results)} rows in {file}; `rbl report {folder} --out DIR` makes a page of them")
    found: dict[str, object] = {"brackets": bracket_rows(results), "rows": len(results), "results": file}
    write_json({**found, **({"probabilistic": certified} if certified else {})}, json)


def bracket_rows(results: pd.DataFrame) -> list[dict[str, object]]:
    """The accuracy bracket per model and radius, as JSON-ready rows."""
    from robustbench_local.report import brackets

    return [{str(k): v for k, v in row.items()} for row in brackets(results).to_dict(orient="records")]


def bracket_table(results: pd.DataFrame) -> Table:
    """Clean, verified and empirical accuracy with their gap in percentage points, per model and radius."""
    rows, before = [], ""
    brackets = bracket_rows(results)
    norms = {str(row["norm"]) for row in brackets}
    for row in brackets:
        name = str(row["model"]) if len(norms) == 1 else f"{row['model']} {row['norm']}"
        shares = [percent(float(str(row[key]))) for key in ("clean", "verified", "empirical", "gap")]
        rows.append([name if name != before else "", f"{row['eps']:g}", str(row["n"]), *shares])
        before = name
    right = ("eps", "images", "clean", "verified", "empirical", "gap")
    title = f"accuracy in %{', balls in ' + norms.pop() if len(norms) == 1 else ''}"
    return table(title, [("model", "left"), *((name, "right") for name in right)], rows)


def certificate_rows(results: pd.DataFrame) -> list[dict[str, object]]:
    """What smoothing certified per model and method, as JSON-ready rows; none where it was not run."""
    from robustbench_local.report import certificates

    return [{str(k): v for k, v in row.items()} for row in certificates(results).to_dict(orient="records")]


def _certificate_table(certified: list[dict[str, object]]) -> Table:
    """Certified accuracy of the smoothed classifiers by l2 radius, in per cent."""
    from robustbench_local.report import CERTIFIED_RADII

    rows = []
    for row in certified:
        shares = [percent(float(str(row[f"above {r:g}"]))) for r in CERTIFIED_RADII]
        rows.append([str(row["model"]), str(row["method"]), str(row["n"]), *shares, f"{row['median']:.3g}"])
    heads = [("model", "left"), ("method", "left"), ("images", "right")]
    heads += [(f"> {r:g}", "right") for r in CERTIFIED_RADII] + [("median radius", "right")]
    title = "probabilistic certificates (not proofs), smoothed classifier: % right beyond l2 radius"
    return table(title, heads, rows)


def warn_of_errors(results: pd.DataFrame, console: Console) -> None:
    """One line per method that failed somewhere, with its first message."""
    failed = results[results["error"].fillna("") != ""]
    for method, rows in failed.groupby("method", sort=False):
        first = rows.iloc[0]
        console.print(
            f"[yellow]{method} failed on {len(rows)} rows, first on {first['model']}: {first['error']}"
        )

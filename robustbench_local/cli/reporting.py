"""`rbl report`: a page from a results table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Debug, Device, Json, Seed
from .output import printer, write_json

__all__ = ["report"]


def report(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="results.parquet, results.csv or their folder.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the report.")],
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Make a self-contained HTML page, and a Markdown one, from a results table."""
    from robustbench_local.report import report as write_report
    from robustbench_local.store import read_results
    from robustbench_local.zoo import EVALUATION, headings, read_records

    table = read_results(results)
    folder = results if results.is_dir() else results.parent
    rows = headings(read_records(folder / EVALUATION))
    page = write_report(table, out, witnesses=folder, headings=rows)
    printer(json).print(f"{page}")
    write_json({"report": page, "rows": len(table)}, json)

"""`rbl audit`: the claims of the fairness and safety rows, searched again, the worst violation first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from .options import Debug, Device, Json, Seed
from .output import message, printer, table, write_json

__all__ = ["audit"]

FOLDER = Path("rbl-audit")


def audit(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ROW...]", help="By id or model. [default: fairness, physics, episode 12]"),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the results.")] = FOLDER,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that share the rows. [default: one per core]")
    ] = None,
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Search the fairness and safety rows of the zoo for their largest violations, and file the ranking.

    DIR gets the results table, the witnesses (inputs that anybody can replay) and audit.md: the ranking,
    and an entry for every claim that is violated.
    """
    from robustbench_local.atomic import write_atomically
    from robustbench_local.models import ROWS, find_row
    from robustbench_local.zoo import audited_rows, findings, findings_markdown

    from .zoo_rows import evaluated

    rows = [find_row(name) for name in names] if names else audited_rows(ROWS)
    records, errors = evaluated(rows, out, seed, min(workers or os.cpu_count() or 1, len(rows)))
    ranking = findings(records)
    console = printer(json)
    heads = [("rank", "right"), ("row", "left"), ("claim", "left"), ("weights", "left"), ("verdict", "left")]
    heads += [("violation found", "right"), ("at most", "right")]
    lines = [
        [str(k), f"{f.row} {f.model}", f.claim, f.weights, f.word, _number(f.found), _number(f.possible)]
        for k, f in enumerate(ranking, 1)
    ]
    console.print(table("", heads, lines))
    for row, text in errors.items():
        console.print(f"[yellow]{row} failed: {text}", highlight=False)
    page = out / "audit.md"
    write_atomically(page, lambda place: place.write_text(findings_markdown(ranking, ROWS), encoding="utf-8"))
    message(f"{sum(f.word == 'violated' for f in ranking)} of {len(ranking)} claims are violated; {page}")
    write_json({"findings": [f.as_dict() for f in ranking], "failed": errors}, json)


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}"

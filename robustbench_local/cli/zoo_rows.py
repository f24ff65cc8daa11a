"""What `rbl zoo show`, `train` and `evaluate` do for a row of the lectures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .output import message, printer, progress_bar, table, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from robustbench_local.errors import RobustBenchError
    from robustbench_local.evaluation import Cases
    from robustbench_local.models import Row
    from robustbench_local.zoo import RowRecord

__all__ = ["Form", "evaluate_chosen", "evaluate_rules", "evaluated", "show_row", "train_row", "write_card"]


def show_row(row: Row, json: Path | None) -> None:
    """The cards of the row and its model, its gate and claims, and its evaluation where one is shipped."""
    from robustbench_local.zoo import SHIPPED_EVALUATION, read_records

    console = printer(json)
    fields = {**asdict(row.card), **asdict(row.entry.card), "gate": row.gate.text}
    for key, value in fields.items():
        text = "; ".join(str(v) for v in value) if isinstance(value, tuple) else str(value)
        console.print(f"[bold]{key:13}[/bold] {text}", highlight=False)
    for claim in row.claims:
        console.print(f"[bold]{claim.name}[/bold] {claim.says} Control: {claim.control_is}.", highlight=False)
    record = read_records(SHIPPED_EVALUATION).get(row.card.id)
    if record is not None:
        console.print(claims_table({record.row: record}))
    claims = [{"name": c.name, "says": c.says, "control": c.control_is} for c in row.claims]
    write_json({**fields, "claims": claims, "evaluation": None if record is None else asdict(record)}, json)


class Form(str, Enum):
    """How a card is written."""

    MARKDOWN = "md"
    HTML = "html"


def write_card(row: Row, out: Path | None, form: Form | None, json: Path | None) -> None:
    """The card of the row with the shipped evaluation, into a file or to standard output."""
    from robustbench_local.atomic import write_atomically
    from robustbench_local.models import read_index
    from robustbench_local.zoo import SHIPPED_EVALUATION, card_html, card_markdown, card_of, read_records

    weights = {r.weights: r.sha256 for r in read_index().values() if r.model == row.model}
    card = card_of(row, read_records(SHIPPED_EVALUATION).get(row.card.id), weights)
    by_ending = Form.HTML if out is not None and out.suffix in (".html", ".htm") else Form.MARKDOWN
    text = card_html(card) if (form or by_ending) is Form.HTML else card_markdown(card)
    if out is None:
        if json is None or str(json) != "-":
            typer.echo(text, nl=False)
    else:
        write_atomically(out, lambda place: place.write_text(text, encoding="utf-8"))
        message(f"{out}")
    write_json({"row": row.card.id, "card": asdict(card), "file": out}, json)


def train_row(row: Row, weights: str | None, out: Path | None, seed: int, json: Path | None) -> None:
    """One weight set of a row, or all of them, trained again; the gate's value is shown, or an error."""
    from robustbench_local.zoo import fit_row

    folder = out or Path("runs") / row.model
    done = []
    with progress_bar() as bar:
        names = [weights] if weights is not None else list(row.fits)
        task = bar.add_task("", total=len(names))
        for name in names:
            bar.update(task, description=f"{row.model}:{name}")
            record, _ = fit_row(row, name, folder, seed=seed)
            done.append(record)
            bar.advance(task)
    for record in done:
        shown = ", ".join(f"{key} {value:.4g}" for key, value in record.metrics.items())
        message(f"{record.model}:{record.weights}: {shown} (gate: {row.gate.text}); {folder / record.file}")
    write_json([asdict(record) for record in done], json)


def evaluate_chosen(rows: Sequence[Row], out: Path, seed: int, workers: int, json: Path | None) -> None:
    """Attacks and verifiers on every claim of the rows, and what they found as a table and a page."""
    from robustbench_local.report import report
    from robustbench_local.store import read_results
    from robustbench_local.zoo import EVALUATION, headings, read_records

    records, errors = evaluated(rows, out, seed, workers)
    console = printer(json)
    console.print(claims_table(records))
    for row, text in errors.items():
        console.print(f"[yellow]{row} failed: {text}", highlight=False)
    page = None
    if records:
        names = headings(read_records(out / EVALUATION))
        page = report(read_results(out), out, title="Brackets of the zoo", headings=names)
    message(f"{len(records)} rows in {out / EVALUATION}. Report: {page}")
    rows_found = [asdict(record) for record in records.values()]
    write_json({"rows": rows_found, "failed": errors, "report": page}, json)


def evaluate_rules(names: Sequence[str], out: Path, json: Path | None) -> None:
    """The rules of the process on every row, with the rows' evaluation in `out`, else the shipped one."""
    from robustbench_local.models import ROWS
    from robustbench_local.zoo import (
        EVALUATION,
        SHIPPED_EVALUATION,
        evaluate_process,
        read_records,
        write_records,
    )

    kept = read_records(out / EVALUATION)
    known = {**read_records(SHIPPED_EVALUATION), **kept}
    found = {name: evaluate_process(name, list(ROWS.values()), known) for name in names}
    write_records({**kept, **found}, out / EVALUATION)
    printer(json).print(rules_table(found))
    write_json({"rules": [asdict(record) for record in found.values()]}, json)


def rules_table(records: Mapping[str, RowRecord]) -> Table:
    """One line per rule: how many rows fulfil it."""
    lines = []
    for record in records.values():
        (claim,) = record.claims
        control = "violated" if record.controls[claim.name] else "NOT violated"
        lines.append([record.row, record.title, f"{claim.holds} of {claim.cases}", control])
    heads = [("row", "left"), ("rule", "left"), ("rows that fulfil it", "right"), ("control", "left")]
    return table("", heads, lines)


def evaluated(
    rows: Sequence[Row], out: Path, seed: int, workers: int = 1
) -> tuple[dict[str, RowRecord], dict[str, str]]:
    """The records of the rows, and id -> message of rows that failed; `out` keeps all.

    workers: processes that share the rows; the bar counts rows, and shows what runs where there is one.
    """
    from robustbench_local.zoo import evaluate_rows

    errors: dict[str, str] = {}
    with progress_bar() as bar:
        task = bar.add_task(f"{len(rows)} rows, {workers} at a time", total=len(rows))

        def begin(cases: Cases, method: str) -> None:
            bar.update(task, description=f"{cases.model} {cases.spec} {method}")

        def finish(row: Row) -> None:
            bar.update(task, description=f"{row.card.id} {row.model} done", advance=1)

        def failed(row: Row, error: RobustBenchError) -> None:
            errors[row.card.id] = str(error)

        records = evaluate_rows(
            rows, out, seed=seed, progress=begin, failed=failed, workers=workers, finished=finish
        )
    return {row.card.id: records[row.card.id] for row in rows if row.card.id in records}, errors


def claims_table(records: Mapping[str, RowRecord]) -> Table:
    """One line per claim and weight set: verdicts, bracket of the worst violation, control."""
    from robustbench_local.zoo import status_of

    lines, before = [], ""
    for record in records.values():
        status, reason = status_of(record, record.weights)
        for claim in record.claims:
            words = f"{claim.holds} hold, {claim.violated} violated"
            if claim.cases > claim.decided:
                words += f", {claim.cases - claim.decided} open"
            bracket = f"{_number(claim.lower)} .. {_number(claim.upper)}"
            control = "violated" if record.controls.get(claim.name) else "NOT violated"
            first = f"{record.row} {record.model}" if record.row != before else ""
            lines.append([first, claim.name, claim.weights, words, bracket, control, reason or status])
            before = record.row
    heads = [("row", "left"), ("claim", "left"), ("weights", "left"), ("cases", "left")]
    heads += [("worst violation", "right"), ("control", "left"), ("status", "left")]
    return table("", heads, lines, wrapped=("row", "cases"))


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}"

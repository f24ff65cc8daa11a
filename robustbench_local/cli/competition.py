"""`rbl competition`: every instance of a folder in one process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Debug, Device, Json, Seed
from .output import message, native_output_to_stderr, printer, progress_bar, table, write_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from robustbench_local.competition import Instance, Row, Tally

__all__ = ["competition", "vnncomp"]

_ALARM, _BUG, _BAD_INPUT = 3, 1, 2


Timeout = Annotated[
    float | None,
    typer.Option(min=0, help="Seconds for each instance, at most. [default: the row's timeout_s]"),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only", metavar="NAME", help="A benchmark or an instance, * and ? allowed; repeat for more."
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="Keep each row in FILE at once; rows that it has are not run again."
    ),
]
Attacks = Annotated[bool, typer.Option("--attacks/--no-attacks", help="Search for counterexamples.")]


def competition(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with an instances.csv.")],
    timeout: Timeout = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N instances.")] = None,
    only: Only = None,
    out: Out = None,
    attacks: Attacks = True,
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Decide every instance of a VNN-COMP folder in one process; prints a table per benchmark.

    Exit code 3 if a verdict is wrong, 1 after an error of the program, 2 if a row, file or device cannot be
    used.
    """
    from robustbench_local.competition import (
        Journal,
        Settings,
        compete,
        everything,
        read_instances,
        selected,
        total,
        without_attacks,
    )

    instances = selected(read_instances(folder), only or (), limit)
    journal = None if out is None else Journal(out)
    settings = Settings(timeout, device, seed, attacks)
    with progress_bar() as bar, native_output_to_stderr():
        view = _View(bar, len(instances), json)
        rows = compete(
            instances,
            settings,
            decider=everything if attacks else without_attacks,
            journal=journal,
            started=view.started,
            finished=view.finished,
        )
    console = printer(json)
    show(rows, console)
    if out is not None:
        message(f"{len(rows)} rows in {out}; run again with it, an interrupted run goes on where it stopped")
    write_json([row.as_dict() for row in rows], json)
    whole = total(rows)
    code = exit_code(rows, whole)
    if code:
        raise typer.Exit(code)


def vnncomp(
    network: Annotated[Path, typer.Argument(metavar="ONNX", help="The network, .onnx or .onnx.gz.")],
    property_: Annotated[Path, typer.Argument(metavar="VNNLIB", help="The property.")],
    results: Annotated[Path, typer.Argument(metavar="RESULT", help="The file that is written.")],
    timeout: Annotated[float, typer.Option(min=0, help="Seconds, reading the files included.")] = 60.0,
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Decide one instance and write VNN-COMP's result file.

    It says sat, with the counterexample, unsat, unknown or timeout, and is written in every case. Exit code 3
    after an alarm, 1 after an error of the program, 2 where a file or the device cannot be used.
    """
    from robustbench_local.atomic import write_atomically
    from robustbench_local.competition import Networks, decide, result_text
    from robustbench_local.device import find_device

    write_atomically(results, lambda path: path.write_text("unknown\n", encoding="utf-8"))
    with native_output_to_stderr():
        found = decide(Networks(find_device(device)), network, property_, timeout, seed=seed)
    text = result_text(found)
    write_atomically(results, lambda path: path.write_text(text, encoding="utf-8"))
    word = text.split("\n", 1)[0]
    how = found.reason if found.result is None else found.result.reason or found.result.stage
    message(f"{word} ({how}){f': {found.error}' if found.error else ''}")
    bracket = {} if found.result is None else found.result.as_dict()
    replays = {} if found.replay is None else dict(found.replay.values)
    write_json({**bracket, "result": word, "error": found.error, "replays": replays}, json)
    codes = {"alarm": _ALARM, "error": _BUG, "input": _BAD_INPUT, "device": _BAD_INPUT}
    if found.result is None and found.reason in codes:
        raise typer.Exit(codes[found.reason])


def exit_code(rows: Sequence[Row], whole: Tally) -> int:
    """3 for a wrong verdict, 1 for an error of the program, 2 for what cannot be used, else 0."""
    if whole.wrong:
        return _ALARM
    if any(row.reason == "error" for row in rows):
        return _BUG
    return _BAD_INPUT if whole.failed else 0


class _View:
    """The progress bar, a line for each new row, and the JSON file so far."""

    def __init__(self, bar: Progress, count: int, json: Path | None) -> None:
        from robustbench_local.competition import Tally

        self.bar, self.whole = bar, Tally("all")
        self.rows: list[Row] = []
        self.json = json if json is not None and str(json) != "-" else None
        self.task: TaskID = bar.add_task("", total=count)

    def started(self, instance: Instance) -> None:
        """Names the instance beside the counts."""
        self.bar.update(self.task, description=f"{self._counts()}  {instance.id}")

    def finished(self, row: Row, new: bool) -> None:
        """Counts the row; shows it if it is new."""
        self.whole.add(row)
        self.rows.append(row)
        if new:
            self.bar.console.print(line(row))
            write_json([one.as_dict() for one in self.rows], self.json)
        self.bar.update(self.task, description=self._counts(), advance=1)

    def _counts(self) -> str:
        whole = self.whole
        wrong = f", [red]{whole.wrong} wrong[/]" if whole.wrong else ""
        return (
            f"{whole.solved} solved{wrong}, {whole.timeouts} timeouts, {whole.unknown + whole.failed} other"
        )


def line(row: Row) -> str:
    """One row as people read it."""
    from rich.markup import escape

    colour = {"HOLDS": "green", "VIOLATED": "green"}.get(row.verdict, "yellow")
    colour = "red" if row.wrong or row.failed else colour
    how = row.stage if not row.reason else f"{row.reason} after {row.stage}" if row.stage else row.reason
    wrong = f"  [red bold]WRONG: expected {row.expected}[/]" if row.wrong else ""
    why = f"  {escape(row.error)}" if row.failed or row.reason in ("op", "resources", "alarm") else ""
    return f"{row.id:<24} [{colour}]{row.verdict:<8}[/] {row.seconds:8.2f} s  {how}{wrong}{why}"


def show(rows: Sequence[Row], console: Console) -> None:
    """The table per benchmark, and what needs a reader's eye."""
    from rich.markup import escape

    from robustbench_local.competition import tallies, total

    parts, whole = tallies(rows), total(rows)
    heads = ("rows", "solved", "HOLDS", "VIOLATED", "wrong", "timeouts", "unknown", "errors", "seconds")
    lines = [_cells(part) for part in parts]
    if len(parts) > 1:
        lines.append([f"[bold]{cell}[/]" if cell else "" for cell in _cells(whole)])
    console.print(table("", [("benchmark", "left"), *((name, "right") for name in heads)], lines))
    if whole.wrong:
        ids = ", ".join(row.id for row in rows if row.wrong)
        console.print(f"[red bold]ALARM: {whole.wrong} wrong[/]: {ids}")
    if whole.failed:
        first = next(row for row in rows if row.failed)
        console.print(
            f"[red]{whole.failed} rows could not be run[/], first {escape(f'{first.id}: {first.error}')}"
        )
    if whole.late:
        ids = ", ".join(row.id for row in rows if row.late)
        console.print(f"[yellow]{whole.late} rows took more than their limit, 5 % and a second[/]: {ids}")
    fresh = sum(row.expected == "open" and row.solved for row in rows)
    opened = f", {fresh} of them open until now" if fresh else ""
    console.print(f"{whole.solved} of {whole.rows} solved in {whole.seconds:.1f} s{opened}")


def _cells(part: Tally) -> list[str]:
    counts = (part.holds, part.violated, part.wrong, part.timeouts, part.unknown, part.failed)
    cells = [str(count) if count else "-" for count in counts]
    if part.wrong:
        cells[2] = f"[red bold]{part.wrong}[/]"
    return [part.name, str(part.rows), str(part.solved), *cells, f"{part.seconds:.1f}"]

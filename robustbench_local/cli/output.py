"""Tables and messages for people, JSON for programs, and progress bars on stderr."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from robustbench_local.results import Result

__all__ = [
    "Column",
    "backing",
    "bracket",
    "coloured",
    "decided",
    "help_without_command",
    "json_ready",
    "message",
    "native_output_to_stderr",
    "percent",
    "printer",
    "progress_bar",
    "table",
    "times",
    "write_json",
]

Column = tuple[str, str]
"""Header and justification ("left", "right")."""


def message(text: str) -> None:
    """Writes one line to stderr, not in the way of any output."""
    print(text, file=sys.stderr)


def help_without_command(context: typer.Context) -> None:
    """Prints the help of a group of commands that is called without any of them."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def printer(to: Path | None) -> Console:
    """The console for people: stdout, or stderr where `to` is "-" and JSON has stdout for itself."""
    from rich.console import Console

    stderr = to is not None and str(to) == "-"
    stream = sys.stderr if stderr else sys.stdout
    width = (
        None if stream.isatty() or "COLUMNS" in os.environ else 120
    )  # a pipe or file has no width of its own
    return Console(stderr=stderr, highlight=False, soft_wrap=False, width=width)


def table(
    title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]], wrapped: Sequence[str] = ()
) -> Table:
    """A plain table with one line per row; only columns in `wrapped` may take several where room is short."""
    from rich import box
    from rich.table import Table

    result = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for header, justify in columns:
        result.add_column(
            header, justify="right" if justify == "right" else "left", no_wrap=header not in wrapped
        )
    for row in rows:
        result.add_row(*row)
    return result


def coloured(result: Result) -> str:
    """The verdict, in its colour."""
    colours = {"HOLDS": "green", "VIOLATED": "red", "UNKNOWN": "yellow"}
    word = result.verdict.value
    return f"[{colours[word]}]{word}[/]"


def bracket(result: Result) -> str:
    """The two bounds of the violation."""
    return f"\\[{result.lower:.4g}, {result.upper:.4g}]"


def decided(result: Result) -> str:
    """What decided, or why nothing did."""
    if result.reason:
        return f"undecided after {result.stage or 'no stage'} ({result.reason})"
    return f"decided by {result.stage}"


def times(result: Result) -> str:
    """How many times the errors of rounding fit into the margin of a bound, "-" where that is not known."""
    ratio = result.margin_over_rounding
    return "-" if math.isnan(ratio) else f"{ratio:.2g}"


def backing(result: Result) -> str:
    """What HOLDS is about, and what stands behind that or a witness, in one line; "" for UNKNOWN."""
    from robustbench_local.verifiers import ARITHMETICS

    if result.verdict.value != "HOLDS" or result.witness is not None:
        return f"counterexample {result.audit}" if result.witness is not None and result.audit else ""
    about = f"about {ARITHMETICS[result.arithmetic].promise}"
    known = (
        ""
        if math.isnan(result.margin_over_rounding)
        else f"; rounding fits {times(result)} times in the margin"
    )
    return f"{about}{known}; audit: {result.audit}" if result.audit else about + known


def percent(share: float) -> str:
    """A share in [0, 1] as "93.5"; "-" for NaN."""
    return "-" if math.isnan(share) else f"{100 * share:.1f}"


def write_json(value: object, to: Path | None) -> None:
    """Writes `value` as JSON to the file, whole or not at all, or to stdout for "-"; nothing for None."""
    if to is None:
        return
    text = json.dumps(json_ready(value), indent=1, allow_nan=False) + "\n"
    if str(to) == "-":
        sys.stdout.write(text)
        return
    from robustbench_local.store import write_atomically

    write_atomically(to, lambda path: path.write_text(text, encoding="utf-8"))


def json_ready(value: object) -> object:
    """The value with paths as text, tuples as lists, and null for the numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    return str(value)


@contextmanager
def native_output_to_stderr() -> Iterator[None]:
    """Sends what compiled libraries write to file descriptor 1 to stderr, so that stdout stays ours."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress display on stderr; silent where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        yield bar

"""`rbl doctor`: what is installed and what works here."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import Debug, Device, Json, Seed
from .output import native_output_to_stderr, printer, table, write_json

__all__ = ["doctor"]


def doctor(
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
    quick: Annotated[bool, typer.Option("--quick", help="Look only, try nothing.")] = False,
) -> None:
    """Show what is installed, and which devices and solvers work."""
    from rich.markup import escape

    from robustbench_local.doctor import checks

    with native_output_to_stderr():  # a solver greets on the process's standard output
        found = checks(device=device, quick=quick)
    marks = {"ok": "[green]ok[/]", "missing": "[yellow]missing[/]", "broken": "[red]broken[/]"}
    rows = [[check.kind, check.name, marks[check.state], escape(check.detail)] for check in found]
    printer(json).print(table("", [("kind", "left"), ("name", "left"), ("", "left"), ("", "left")], rows))
    write_json([check.as_dict() for check in found], json)
    if any(check.state == "broken" for check in found):
        raise typer.Exit(1)

"""The options that every command has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Debug", "Device", "Json", "Seed"]

Json = Annotated[
    Path | None,
    typer.Option("--json", metavar="FILE", help="Also write the result as JSON; - for standard output."),
]
Device = Annotated[
    str | None, typer.Option("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... [default: cpu]")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of all random numbers.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")]

"""`rbl check`: whether a certificate proves what it claims."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Debug, Device, Json, Seed
from .output import printer, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from robustbench_local.results import Result

__all__ = ["check", "show_certificate"]


def check(
    certificate: Annotated[Path, typer.Argument(metavar="CERTIFICATE", help="The file to check.")],
    model: Annotated[
        str | None,
        typer.Option(help="Zoo name, .onnx file, or file.py:function: it must be about this network."),
    ] = None,
    input_shape: Annotated[
        str | None, typer.Option(help="Shape of one input of --model, e.g. 3,32,32, if it is no zoo model.")
    ] = None,
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Replay a certificate with the separate checker. Exit code 0: accepted, 1: rejected, 2: unreadable."""
    if model is None:  # the checker alone, without torch
        from robustbench_local.checker import check as replay

        found = replay(certificate)
    else:
        from robustbench_local.certifying import check as replay_for

        shape = None if input_shape is None else [int(size) for size in input_shape.split(",")]
        found = replay_for(certificate, model=model, input_shape=shape)
    console = printer(json)
    if found.accepted:
        console.print(f"[bold green]accepted[/bold green]  {certificate}")
        console.print(
            f"{found.problems} problems, {found.clauses} clauses each, {found.leaves} parts, "
            f"smallest bound {found.margin:.3g}, {found.seconds:.2f} s"
        )
        console.print(f"network sha256 {found.network}\nproperty sha256 {found.spec}", highlight=False)
    else:
        word = "rejected" if found.readable else "unreadable"
        console.print(f"[bold red]{word}[/bold red]  {certificate}: ", end="")
        console.print(found.reason, markup=False, highlight=False)
    write_json(found._asdict(), json)
    if not found.accepted:
        raise typer.Exit(1 if found.readable else 2)


def show_certificate(result: Result, console: Console) -> None:
    """A line about the certificate that was written, or about why there is none."""
    if result.certificate is not None:
        console.print(f"certificate: {result.certificate}", markup=False, highlight=False)
    elif result.error.startswith("no certificate"):
        console.print(result.error, markup=False, highlight=False)

"""`rbl doctor`: what is installed and what works here; of a model and a property, what applies to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Debug, Device, Json, Seed
from .output import native_output_to_stderr, printer, table, write_json
from .texts import models_of, values_of

if TYPE_CHECKING:
    from rich.console import Console

    from robustbench_local.verifiers import Support

__all__ = ["doctor", "show_support"]


def doctor(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]", help="Examine this model instead: zoo name, .onnx, file.py:function."
        ),
    ] = None,
    spec: Annotated[
        str | None,
        typer.Argument(metavar="[SPEC]", help="A property, e.g. robustness, or a .rbspec or .vnnlib file."),
    ] = None,
    input_shape: Annotated[
        str | None, typer.Option(help="Shape of one input, e.g. 3,32,32, where model and spec leave it open.")
    ] = None,
    norm: Annotated[str, typer.Option(help="linf, l2 or l1, for a named property.")] = "linf",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="What a .rbspec file leaves open; repeat."),
    ] = None,
    prop: Annotated[
        str | None, typer.Option("--prop", metavar="NAME", help="Property of a .rbspec file.")
    ] = None,
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
    quick: Annotated[bool, typer.Option("--quick", help="Look only, try nothing.")] = False,
) -> None:
    """Show what is installed and works; with MODEL, which verifiers apply to it and which nodes hinder them.

    Exit code 1: something is broken, or no verifier applies to the model.
    """
    if model is not None:
        if spec is not None and spec.endswith(".rbspec"):
            report = _examine_text(model, spec, prop, set_ or [], device)
        else:
            report = _examine(model, spec, input_shape, norm, device)
        show_support(report, printer(json))
        write_json(report.as_dict(), json)
        if not report.ok:
            raise typer.Exit(1)
        return
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


def _examine_text(
    model: str, spec: str, prop: str | None, settings: list[str], device: str | None
) -> Support:
    from robustbench_local.errors import RobustBenchError
    from robustbench_local.preflight import supports
    from robustbench_local.specs import read_spec
    from robustbench_local.verifiers import unsupported

    try:
        file = read_spec(spec)
        values = values_of(file, settings, device)
    except RobustBenchError as error:
        return unsupported(error, spec=True)
    models = models_of(model)
    named = models if isinstance(models, str) else dict(models)
    return supports(named, file, values=values, prop=prop, device=device)


def _examine(model: str, spec: str | None, input_shape: str | None, norm: str, device: str | None) -> Support:
    import torch

    from robustbench_local.data import load_dataset
    from robustbench_local.device import find_device
    from robustbench_local.errors import RobustBenchError, ShapeError
    from robustbench_local.named_models import find_model
    from robustbench_local.preflight import preflight, supports
    from robustbench_local.suite import cases_of
    from robustbench_local.verifiers import unsupported

    try:
        shape = None if input_shape is None else [int(size) for size in input_shape.split(",")]
    except ValueError:
        raise ShapeError(
            f"{input_shape!r} is no shape", where="--input-shape", cure="give it as 3,32,32"
        ) from None
    if spec is None or Path(spec).suffix in (".vnnlib", ".gz", ".xz"):
        return supports(model, spec, input_shape=shape, device=device)
    named = find_model(model, device=find_device(device))
    image = load_dataset("digits", split="test").select(torch.tensor([0]))
    try:
        cases = cases_of(named, image, spec=spec, norm=norm, eps=0.05)
    except RobustBenchError as error:
        return unsupported(error, spec=True)
    return preflight(named, [cases], shape)


def show_support(report: Support, console: Console) -> None:
    """Prints which operators a network has, what hinders methods, and which of them apply."""
    from rich.markup import escape

    kinds = ", ".join(f"{name.removeprefix('aten.')} {count}" for name, count in report.operators.items())
    console.print(escape(f"{report.nodes} operations: {kinds}" if report.nodes else "not traced"))
    if report.inputs:
        console.print(escape(report.inputs))
    for found in (*report.spec, *report.obstacles):
        place = f"node {found.node}, {found.operator}: " if found.node else ""
        cure = f". {found.cure[0].upper()}{found.cure[1:]}" if found.cure else ""
        console.print(f"[red]{escape(place + found.reason)}[/]{escape(cure)}")
    rows = [
        [m.name, "[green]applies[/]" if m.applies else "[yellow]no[/]", escape(m.reason)]
        for m in report.methods
    ]
    console.print(table("", [("method", "left"), ("", "left"), ("reason", "left")], rows))

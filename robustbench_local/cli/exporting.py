"""`rbl export`: a model as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Debug, Device, Json, Seed
from .output import printer, write_json

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["export"]


def export(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Zoo name, .onnx file, or file.py:function.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="The file to write.")],
    input_shape: Annotated[
        str | None, typer.Option(help="Shape of one input, e.g. 3,32,32, if it is no zoo model.")
    ] = None,
    input_name: Annotated[str, typer.Option(help="Name of the input in the file.")] = "input",
    output_name: Annotated[str, typer.Option(help="Name of the output in the file.")] = "output",
    opset: Annotated[int, typer.Option(help="Version of ONNX's operators, 13 to 25.")] = 17,
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Write a model as an ONNX file with a dynamic batch axis, and compare the two on random inputs."""
    from robustbench_local.errors import DataError
    from robustbench_local.exporting import export_onnx, largest_difference

    if out.suffix != ".onnx":
        raise DataError(f"{out.name!r} is no name of an ONNX file", where="OUT", cure="let it end in .onnx")
    names = {"input_name": input_name, "output_name": output_name}
    path = export_onnx(model, out, input_shape=_shape(input_shape), opset=opset, device=device, **names)
    difference, by = largest_difference(model, path, seed=seed, device=device)
    found = {"model": model, **_facts(path), "opset": opset, "difference": difference, "run_by": by}
    _show(found, printer(json))
    write_json(found, json)


def _shape(text: str | None) -> list[int] | None:
    from robustbench_local.errors import ShapeError

    try:
        return None if text is None else [int(size) for size in text.split(",")]
    except ValueError:
        raise ShapeError(f"{text!r} is no shape", where="--input-shape", cure="give it as 3,32,32") from None


def _facts(path: Path) -> dict[str, Any]:
    """What the file holds: names and shapes of one sample at both ends."""
    from robustbench_local.verifiers import GraphNetwork, from_onnx

    network = GraphNetwork(from_onnx(path))
    ends = {"input": network.interface.inputs[0], "output": network.interface.outputs[0]}
    shapes = {"input": network.graph.input_shape, "output": network.graph.output_shape}
    ports = {key: {"name": port.name, "shape": shapes[key]} for key, port in ends.items()}
    return {"path": path, "bytes": path.stat().st_size, **ports}


def _show(found: dict[str, Any], console: Console) -> None:
    from rich.markup import escape

    ports = []
    for key in ("input", "output"):
        sizes = ", ".join(["N", *map(str, found[key]["shape"])])
        ports.append(f"{found[key]['name']} ({sizes})")
    console.print(escape(f"{found['path']}: opset {found['opset']}, {found['bytes']} bytes"), highlight=False)
    console.print(escape(" -> ".join(ports)), highlight=False)
    said = f"run by {found['run_by']}, it differs by {found['difference']:.2g} of the largest output"
    console.print(said, highlight=False)

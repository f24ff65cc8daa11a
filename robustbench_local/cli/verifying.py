"""`rbl verify` and `rbl attack`: one model, one property, some images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from .explaining import show_explanation
from .options import Debug, Device, Json, Seed
from .output import printer, table, write_json

if TYPE_CHECKING:
    from rich.console import Console

    from robustbench_local.cascade import Result
    from robustbench_local.evaluation import Cases

__all__ = ["attack", "verify"]

SHOWN = 20
"""Cases listed on the screen; JSON has all."""

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Zoo name, .onnx file, or file.py:function; f=..,g=.. for the networks of a .vnnlib 2.0 file.",
    ),
]
Spec = Annotated[
    str, typer.Argument(metavar="SPEC", help="Name of a property, e.g. robustness, or a .vnnlib file.")
]
Dataset = Annotated[str, typer.Option(help="Data set that the images come from.")]
Image = Annotated[
    list[int] | None,
    typer.Option("--image", "-i", help="Position in the test split; repeat for more. [default: 0]"),
]
First = Annotated[int | None, typer.Option("--first", min=1, help="Take the first N test images instead.")]
Eps = Annotated[float, typer.Option("--eps", "-e", help="Radius around the image.")]
Norm = Annotated[str, typer.Option(help="linf, l2 or l1.")]
InputShape = Annotated[
    str | None,
    typer.Option(help="For a .vnnlib file: shape of one input, e.g. 3,32,32, if it is no zoo model."),
]
Timeout = Annotated[float, typer.Option(help="Seconds for everything together.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="What else the property takes, e.g. k=3; repeat."),
]


def verify(
    model: Model,
    spec: Spec,
    dataset: Dataset = "digits",
    image: Image = None,
    first: First = None,
    eps: Eps = 0.05,
    norm: Norm = "linf",
    set_: Set = None,
    input_shape: InputShape = None,
    timeout: Timeout = 60.0,
    method: Annotated[
        str | None,
        typer.Option(help="A single attack or verifier. [default: pgd, ibp, crown-ibp, crown in turn]"),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show the lowered query and what applies to it; decide nothing.")
    ] = False,
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Decide a property: HOLDS, VIOLATED with a counterexample, or UNKNOWN with the violation's bracket."""
    from robustbench_local.cascade import DEFAULT_STAGES, cascade_all, find_methods

    stages = find_methods(DEFAULT_STAGES if method is None else (method,))
    if _is_vnnlib(spec):
        batches = _of_file(model, spec, input_shape, device)
    else:
        batches = [_cases(model, spec, _Around(dataset, image, first, eps, norm, set_ or []), device)]
    if explain:
        show_explanation(batches[0].query, printer(json), json)
        return
    result = cascade_all(batches, stages, timeout=timeout, seed=seed)
    _show(result, batches, printer(json))
    write_json(_as_json(result, batches), json)


def attack(
    model: Model,
    spec: Spec,
    dataset: Dataset = "digits",
    image: Image = None,
    first: First = None,
    eps: Eps = 0.05,
    norm: Norm = "linf",
    set_: Set = None,
    input_shape: InputShape = None,
    timeout: Timeout = 60.0,
    attack: Annotated[str, typer.Option(help="Name of the attack.")] = "pgd",
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Search for counterexamples only: VIOLATED with a counterexample, or UNKNOWN."""
    from robustbench_local.attacks import ATTACKS
    from robustbench_local.cascade import cascade_all

    stages = {attack: ATTACKS[attack]}
    if _is_vnnlib(spec):
        batches = _of_file(model, spec, input_shape, device)
    else:
        batches = [_cases(model, spec, _Around(dataset, image, first, eps, norm, set_ or []), device)]
    result = cascade_all(batches, stages, timeout=timeout, seed=seed)
    _show(result, batches, printer(json))
    write_json(_as_json(result, batches), json)


class _Around(NamedTuple):
    """Which images of which data set a property by name is about, and how far around them."""

    dataset: str
    image: list[int] | None
    first: int | None
    eps: float
    norm: str
    settings: list[str]


def _cases(model: str, spec: str, around: _Around, device: str | None) -> Cases:
    import torch

    from robustbench_local.data import load_dataset
    from robustbench_local.device import find_device
    from robustbench_local.errors import DataError
    from robustbench_local.named_models import find_model
    from robustbench_local.ready_specs import parse_settings
    from robustbench_local.suite import cases_of

    if Path(spec).suffix == ".rbspec":
        raise DataError(
            ".rbspec files cannot be read by this version",
            where=spec,
            cure="give the name of a property, e.g. robustness, a .vnnlib file, or use the Python interface",
        )
    data = load_dataset(around.dataset, split="test")
    first = around.first
    chosen = list(range(min(first, len(data)))) if first is not None else around.image or [0]
    for k in chosen:
        if not 0 <= k < len(data):
            raise DataError(
                f"no image {k}",
                where="--image",
                cure=f"{around.dataset} has test images 0 to {len(data) - 1}",
            )
    named = find_model(model, device=find_device(device))
    images, settings = data.select(torch.tensor(chosen)), parse_settings(around.settings)
    return cases_of(named, images, spec=spec, norm=around.norm, eps=around.eps, settings=settings)


def _is_vnnlib(spec: str) -> bool:
    return spec.endswith((".vnnlib", ".vnnlib.gz", ".vnnlib.xz"))


def _of_file(model: str, spec: str, input_shape: str | None, device: str | None) -> list[Cases]:
    from robustbench_local.device import find_device
    from robustbench_local.errors import ShapeError
    from robustbench_local.named_models import find_model
    from robustbench_local.specs import read_vnnlib
    from robustbench_local.vnnlib_cases import vnnlib_cases

    try:
        shape = None if input_shape is None else [int(size) for size in input_shape.split(",")]
    except ValueError:
        raise ShapeError(
            f"{input_shape!r} is no shape", where="--input-shape", cure="give it as 3,32,32"
        ) from None
    place = find_device(device)
    if "=" not in model:
        return vnnlib_cases(find_model(model, device=place), read_vnnlib(spec), input_shape=shape)
    pairs = [part.partition("=") for part in model.split(",")]
    models = {slot.strip(): find_model(source.strip(), device=place) for slot, _, source in pairs}
    return vnnlib_cases(models, read_vnnlib(spec), input_shape=shape)


def _ids(batches: list[Cases]) -> list[str]:
    return [str(i) for cases in batches for i in cases.ids]


def _as_json(result: Result, batches: list[Cases]) -> dict[str, object]:
    cases = batches[0]
    single = [{"case": i, **one.as_dict()} for i, one in zip(_ids(batches), result.cases, strict=True)]
    head = {"model": cases.model, "spec": cases.spec, "norm": cases.norm, "eps": cases.eps}
    return {**result.as_dict(), **head, "cases": single}


def _show(result: Result, batches: list[Cases], console: Console) -> None:
    cases, many = batches[0], len(result.cases)
    subject = f"{cases.model}, {cases.spec}" + (f", {cases.norm} eps {cases.eps:g}" if cases.norm else "")
    if many == 1:
        row = f", {cases.dataset} row {cases.ids[0]}" if cases.dataset else ""
        console.print(f"[bold]{_coloured(result)}[/bold]  {subject}{row}")
        console.print(f"violation in {_bracket(result)}, {_decided(result)}, {result.seconds:.2f} s")
        return
    counts = {
        word: sum(c.verdict.value == word for c in result.cases) for word in ("HOLDS", "VIOLATED", "UNKNOWN")
    }
    console.print(
        f"{many} {'images' if cases.dataset else 'input boxes'}: "
        + ", ".join(f"{n} {word}" for word, n in counts.items())
        + f"  ({subject})"
    )
    rows = [
        [i, _coloured(c), _bracket(c), _decided(c)]
        for i, c in list(zip(_ids(batches), result.cases, strict=True))[:SHOWN]
    ]
    header = [("row", "right"), ("verdict", "left"), ("violation", "left"), ("", "left")]
    console.print(table("", header, rows))
    if many > SHOWN:
        console.print(f"... and {many - SHOWN} more; --json FILE has all")
    console.print(f"{result.seconds:.2f} s")


def _coloured(result: Result) -> str:
    colours = {"HOLDS": "green", "VIOLATED": "red", "UNKNOWN": "yellow"}
    word = result.verdict.value
    return f"[{colours[word]}]{word}[/]"


def _bracket(result: Result) -> str:
    return f"\\[{result.lower:.4g}, {result.upper:.4g}]"


def _decided(result: Result) -> str:
    if result.reason:
        return f"undecided after {result.stage or 'no stage'} ({result.reason})"
    return f"decided by {result.stage}"

"""`rbl verify` and `rbl attack`: one model, one property, some images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.markup import escape

from .checking import show_certificate
from .curves import write_curves
from .explaining import show_explanation
from .images import images
from .options import Debug, Device, Json, Seed
from .output import backing, bracket, coloured, decided, printer, table, times, write_json
from .remarks import warn_of_probabilities
from .texts import TextCall, models_of

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from robustbench_local.data import Dataset as Images
    from robustbench_local.evaluation import Cases
    from robustbench_local.results import Result

__all__ = ["attack", "cases_of_file", "is_vnnlib", "verify"]

SHOWN = 20
"""Cases listed on the screen; JSON has all."""

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="Zoo name, .onnx file, or file.py:function; f=..,g=.. for a property of several networks.",
    ),
]
Spec = Annotated[
    str,
    typer.Argument(metavar="SPEC", help="Name of a property, e.g. robustness, or a .rbspec or .vnnlib file."),
]
Dataset = Annotated[str, typer.Option(help="Data set that the images come from.")]
Image = Annotated[
    list[int] | None,
    typer.Option("--image", "-i", help="Position in the test split; repeat for more. [default: 0]"),
]
First = Annotated[int | None, typer.Option("--first", min=1, help="Take the first N test images instead.")]
Eps = Annotated[float | None, typer.Option("--eps", "-e", help="Radius around the image. [default: 0.05]")]
Norm = Annotated[str, typer.Option(help="linf, l2 or l1.")]
InputShape = Annotated[
    str | None,
    typer.Option(help="For a .vnnlib file: shape of one input, e.g. 3,32,32, if it is no zoo model."),
]
Timeout = Annotated[float, typer.Option(help="Seconds for everything together.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="What else the property takes, e.g. k=3, eps=8/255 or x0=image.npy; repeat.",
    ),
]
Explain = Annotated[
    bool,
    typer.Option("--explain", help="Show the lowered query, what applies, and the plan; decide nothing."),
]
Certificate = Annotated[Path | None, typer.Option(help="File for a proof of HOLDS that `rbl check` replays.")]
State = Annotated[
    Path | None,
    typer.Option(help="File that the run goes on from, if it exists, and to which it writes how far it got."),
]
Method = Annotated[
    str | None, typer.Option(help="A single attack or verifier. [default: a plan, see --explain]")
]
Arithmetic = Annotated[
    str,
    typer.Option(
        help="What HOLDS is about: real, float64-outward (the verifier's rounding accounted for), fp32, fp16 "
        "or bf16 (every forward pass in that format)."
    ),
]
Prop = Annotated[str | None, typer.Option("--prop", metavar="NAME", help="Property of a .rbspec file.")]


def verify(
    model: Model,
    spec: Spec,
    dataset: Dataset = "digits",
    image: Image = None,
    first: First = None,
    eps: Eps = None,
    norm: Norm = "linf",
    set_: Set = None,
    prop: Prop = None,
    input_shape: InputShape = None,
    timeout: Timeout = 60.0,
    method: Method = None,
    arithmetic: Arithmetic = "real",
    explain: Explain = False,
    certificate: Certificate = None,
    state: State = None,
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Decide a property: HOLDS, VIOLATED with a counterexample, or UNKNOWN with the violation's bracket."""
    from robustbench_local.arithmetic import arithmetic_stages
    from robustbench_local.certifying import certified, check_certifiable, record_for
    from robustbench_local.planner import plans_of
    from robustbench_local.saved_runs import check_savable
    from robustbench_local.verifying import Asked
    from robustbench_local.verifying import decided as run

    stages = arithmetic_stages(method, arithmetic)
    check_certifiable(spec, certificate, arithmetic)
    check_savable(spec, state, arithmetic)
    if spec.endswith(".rbspec"):
        text = TextCall(model, spec, prop, _shown(dataset, image, first), eps, set_ or [], device)
        if explain:
            cases = text.cases()
            show_explanation(cases.query, plans_of([cases])[0], printer(json), json)
        else:
            text.verify(timeout=timeout, method=method, seed=seed, arithmetic=arithmetic).show(json)
        return
    around = _Around(dataset, image, first, eps, norm, set_ or [])
    batches = _batches(model, spec, around, input_shape, device)
    if explain:
        show_explanation(batches[0].query, plans_of(batches[:1])[0], printer(json), json)
        return
    asked = Asked(arithmetic, model, is_vnnlib(spec))
    record, files = record_for(certificate), (model, spec)
    found = run(batches, stages, timeout=timeout, seed=seed, asked=asked, state=state, record=record)
    found = certified(found, batches, certificate, timeout=timeout, files=files, record=record)
    _report(found, batches, json)


def attack(
    model: Model,
    spec: Spec,
    dataset: Dataset = "digits",
    image: Image = None,
    first: First = None,
    eps: Eps = None,
    norm: Norm = "linf",
    set_: Set = None,
    prop: Prop = None,
    input_shape: InputShape = None,
    timeout: Timeout = 60.0,
    attack: Annotated[str, typer.Option(help="Name of the attack.")] = "pgd",
    curves: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html|FILE.csv",
            help="Also write what the attack has found after so many passes and seconds, in a second run.",
        ),
    ] = None,
    also: Annotated[
        list[str] | None, typer.Option(help="Another attack in the curves; repeat for more.")
    ] = None,
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Search for counterexamples only: VIOLATED with a counterexample, or UNKNOWN."""
    from robustbench_local.attacks import ATTACKS
    from robustbench_local.cascade import cascade_all
    from robustbench_local.replaying import replayed

    stages = {attack: ATTACKS[attack]}
    if spec.endswith(".rbspec"):
        text = TextCall(model, spec, prop, _shown(dataset, image, first), eps, set_ or [], device)
        text.attack(timeout=timeout, attack=attack, seed=seed).show(json)
        if curves is not None:
            write_curves([text.cases()], [attack, *(also or [])], curves, seed=seed)
        return
    batches = _batches(
        model, spec, _Around(dataset, image, first, eps, norm, set_ or []), input_shape, device
    )
    found = cascade_all(batches, stages, timeout=timeout, seed=seed)
    _report(replayed(found, batches, model), batches, json)
    if curves is not None:
        write_curves(batches, [attack, *(also or [])], curves, seed=seed)
    for cases in batches:
        warn_of_probabilities(cases)


def _shown(dataset: str, image: list[int] | None, first: int | None) -> Images | None:
    """The images that a text's x0 and c are bound to, where any are named."""
    return images(dataset, image or [], first) if image or first else None


class _Around(NamedTuple):
    """Which images of which data set a property by name is about, and how far around them."""

    dataset: str
    image: list[int] | None
    first: int | None
    eps: float | None
    norm: str
    settings: list[str]


def _batches(
    model: str, spec: str, around: _Around, input_shape: str | None, device: str | None
) -> list[Cases]:
    """The problems of a VNN-LIB file, or of a property by name around images."""
    if is_vnnlib(spec):
        return cases_of_file(model, spec, input_shape, device)
    return [_cases(model, spec, around, device)]


def _cases(model: str, spec: str, around: _Around, device: str | None) -> Cases:
    from robustbench_local.device import find_device
    from robustbench_local.named_models import find_model
    from robustbench_local.ready_specs import parse_settings
    from robustbench_local.suite import cases_of

    chosen = images(around.dataset, around.image or [0], around.first)
    named = find_model(model, device=find_device(device))
    eps, settings = 0.05 if around.eps is None else around.eps, parse_settings(around.settings)
    return cases_of(named, chosen, spec=spec, norm=around.norm, eps=eps, settings=settings)


def is_vnnlib(spec: str) -> bool:
    """Whether the name is that of a VNN-LIB file."""
    return spec.endswith((".vnnlib", ".vnnlib.gz", ".vnnlib.xz"))


def cases_of_file(model: str, spec: str, input_shape: str | None, device: str | None) -> list[Cases]:
    """The problems of a VNN-LIB file, in batches; `ShapeError` for an input_shape that is none."""
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
    place, named = find_device(device), models_of(model)
    if isinstance(named, str):
        return vnnlib_cases(find_model(named, device=place), read_vnnlib(spec), input_shape=shape)
    models = {slot: find_model(source, device=place) for slot, source in named.items()}
    return vnnlib_cases(models, read_vnnlib(spec), input_shape=shape)


def _ids(batches: list[Cases]) -> list[str]:
    return [str(i) for cases in batches for i in cases.ids]


def _as_json(result: Result, batches: list[Cases]) -> dict[str, object]:
    cases = batches[0]
    single = [{"case": i, **one.as_dict()} for i, one in zip(_ids(batches), result.cases, strict=True)]
    head = {"model": cases.model, "spec": cases.spec, "norm": cases.norm, "eps": cases.eps}
    return {**result.as_dict(), **head, "cases": single}


def _report(result: Result, batches: list[Cases], json: Path | None) -> None:
    _show(result, batches, printer(json))
    write_json(_as_json(result, batches), json)


def _show(result: Result, batches: list[Cases], console: Console) -> None:
    cases, many = batches[0], len(result.cases)
    subject = f"{cases.model}, {cases.spec}" + (f", {cases.norm} eps {cases.eps:g}" if cases.norm else "")
    if many == 1:
        row = f", {cases.dataset} row {cases.ids[0]}" if cases.dataset else ""
        console.print(f"[bold]{coloured(result)}[/bold]  {subject}{row}")
        console.print(f"violation in {bracket(result)}, {decided(result)}, {result.seconds:.2f} s")
        if text := backing(result):
            console.print(text)
        _show_errors(result, console)
        show_certificate(result, console)
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
        [i, coloured(c), bracket(c), decided(c), times(c)]
        for i, c in list(zip(_ids(batches), result.cases, strict=True))[:SHOWN]
    ]
    header = [("row", "right"), ("verdict", "left"), ("violation", "left"), ("", "left")]
    header.append(("margin / rounding", "right"))
    console.print(table("", header, rows))
    if text := backing(result):
        console.print(text)
    if many > SHOWN:
        console.print(f"... and {many - SHOWN} more; --json FILE has all")
    _show_errors(result, console)
    show_certificate(result, console)
    console.print(f"{result.seconds:.2f} s")


def _show_errors(result: Result, console: Console) -> None:
    """What methods could not do, once each, where that left something open."""
    texts = dict.fromkeys(case.error for case in result.cases or (result,) if case.error)
    for text in texts if result.verdict.value == "UNKNOWN" else ():
        if not text.startswith("no certificate"):
            console.print(f"[yellow]{escape(text)}", highlight=False)

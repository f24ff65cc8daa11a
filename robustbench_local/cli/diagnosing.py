"""`rbl diagnose`: whether what attacks did not find can be believed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from .images import images
from .options import Debug, Device, Json, Seed
from .output import message, printer, progress_bar, table, write_json
from .texts import TextCall
from .verifying import (
    Dataset,
    Eps,
    First,
    Image,
    InputShape,
    Model,
    Norm,
    Prop,
    Set,
    Spec,
    cases_of_file,
    is_vnnlib,
)

if TYPE_CHECKING:
    from robustbench_local.data import Dataset as Images
    from robustbench_local.diagnostics import AtRadius, Diagnosis, Diagnostic
    from robustbench_local.evaluation import Cases

__all__ = ["diagnose"]

IMAGES = 20
"""Of a data set, where none are named: one case says little about an attack."""
SHOWN = 6
"""Cases listed on the screen; JSON has all."""


def diagnose(
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
    attack: Annotated[
        str | None,
        typer.Option(help="The attack whose results are examined. [default: PGD and APGD, in turn]"),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="D1", help="Only this diagnostic; repeat for more.")
    ] = None,
    points: Annotated[int, typer.Option(min=1, help="Random points per case.")] = 10_000,
    queries: Annotated[int, typer.Option(min=1, help="Black-box queries per case.")] = 1_000,
    steps: Annotated[int, typer.Option(min=1, help="Steps of a PGD walk.")] = 40,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html|DIR", help="Also write a page with plots.")
    ] = None,
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Diagnose masked gradients and weak attacks: fourteen checks of what attacks did not find.

    Around the first 20 test images unless others are named; images that are wrong to begin with are left out.
    """
    from robustbench_local.attacks import ATTACKS
    from robustbench_local.diagnostics import Effort, ordered

    codes = None if only is None else [code.upper() for code in only]
    ordered(codes)  # misspelled names are told before anything is loaded
    examined = None if attack is None else ATTACKS[attack]
    around = _Around(dataset, image or [], first, eps, norm, set_ or [])
    cases, at_radius = _posed(model, spec, around, prop, input_shape, device)
    effort = Effort(steps=steps, random_points=points, queries=queries)
    found = _run(
        cases,
        codes,
        {"at_radius": at_radius, "attack": examined, "effort": effort, "seed": seed},
    )
    _show(found, json)
    if report is not None:
        from robustbench_local.report import diagnosis_page

        message(f"the page is {diagnosis_page(found.as_dict(), report)}")
    write_json(found.as_dict(), json)


class _Around(NamedTuple):
    """Which images of which data set a property is about, and how far around them."""

    dataset: str
    image: list[int]
    first: int | None
    eps: float | None
    norm: str
    settings: list[str]

    def chosen(self) -> Images:
        """The images; the first ones where none are named."""
        few = IMAGES if self.first is None and not self.image else self.first
        return images(self.dataset, self.image, few)


def _run(cases: Cases, codes: list[str] | None, settings: dict[str, Any]) -> Diagnosis:
    """The diagnosis, with a progress bar."""
    from robustbench_local.diagnostics import diagnose, ordered

    with progress_bar() as bar:
        task = bar.add_task("", total=len(ordered(codes)))

        def begin(one: Diagnostic) -> None:
            bar.update(task, description=f"{one.code} {one.name}", advance=1)

        return diagnose(cases, codes=codes, progress=begin, **settings)


def _posed(
    model: str, spec: str, around: _Around, prop: str | None, input_shape: str | None, device: str | None
) -> tuple[Cases, AtRadius | None]:
    """The problems of a text, a VNN-LIB file or a ready property, and the same at other radii."""
    if spec.endswith(".rbspec"):
        shown = around.chosen() if around.image or around.first else None
        return TextCall(model, spec, prop, shown, around.eps, around.settings, device).family()
    if is_vnnlib(spec):
        return _only_batch(cases_of_file(model, spec, input_shape, device)), None
    return _around(model, spec, around, device)


def _only_batch(batches: list[Cases]) -> Cases:
    """The problems of a file, where they are of one form."""
    if len(batches) > 1:
        from robustbench_local.errors import SpecError

        raise SpecError(
            f"the file asks {len(batches)} questions of different form",
            where="SPEC",
            cure="diagnose files with one of them",
        )
    return batches[0]


def _around(model: str, spec: str, around: _Around, device: str | None) -> tuple[Cases, AtRadius | None]:
    """The problems of a ready property around images, and the same at other radii."""
    from robustbench_local.device import find_device
    from robustbench_local.named_models import find_model
    from robustbench_local.ready_specs import parse_settings
    from robustbench_local.specs import Query
    from robustbench_local.suite import cases_of

    named, chosen = find_model(model, device=find_device(device)), around.chosen()
    settings = parse_settings(around.settings)

    def at(radius: float) -> Cases:
        return cases_of(named, chosen, spec=spec, norm=around.norm, eps=radius, settings=settings)

    def at_radius(radius: float) -> Query:
        return at(radius).query

    cases = at(0.05 if around.eps is None else around.eps)
    return cases, at_radius if cases.norm and "eps" not in settings else None


def _show(found: Diagnosis, json: Path | None) -> None:
    console = printer(json)
    heads = [
        ("", "left"),
        ("diagnostic", "left"),
        ("state", "left"),
        ("value", "right"),
        ("alarm above", "right"),
    ]
    colours = {"fired": "red", "quiet": "green", "not applicable": "yellow"}
    rows = []
    for one in found.findings:
        value = f"{one.value:.3g}" if one.applies else "-"
        rows.append([one.code, one.name, f"[{colours[one.word]}]{one.word}[/]", value, f"{one.threshold:g}"])
    subject = f"{found.model}, {found.spec}" + (f", {found.norm} eps {found.eps:g}" if found.norm else "")
    console.print(
        table(f"{subject}: {len(found.examined)} of {len(found.cases)} cases examined", heads, rows)
    )
    for one in found.findings:
        if one.fired:
            named = ", ".join(one.cases[:SHOWN]) + (", .." if len(one.cases) > SHOWN else "")
            console.print(f"[red]{one.code}[/] cases {named}: {one.meaning}", highlight=False)
            console.print(f"   {one.remedy}", highlight=False)
    verdict = "no diagnostic raises an alarm; that is no proof of robustness"
    if found.fired:
        verdict = f"not believable before {', '.join(found.fired)} are answered"
    console.print(f"{verdict}; {found.seconds:.1f} s")

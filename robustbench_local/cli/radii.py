"""`rbl radius`: how far each image may be disturbed, from both sides."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from robustbench_local.errors import SpecError

from .images import images
from .options import Debug, Device, Json, Seed
from .output import printer, progress_bar, table, write_json
from .verifying import Dataset, First, Image, Norm, Set, Timeout

if TYPE_CHECKING:
    from robustbench_local.data import Dataset as Images
    from robustbench_local.radii import RadiusBracket

__all__ = ["radius"]

IMAGES, SHOWN = 20, 20
"""Images where none are named, and those listed on the screen; files have all."""


def radius(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Zoo name, .onnx file, or file.py:function.")],
    spec: Annotated[
        str, typer.Argument(metavar="[SPEC]", help="Ready property with a radius.")
    ] = "robustness",
    dataset: Dataset = "digits",
    image: Image = None,
    first: First = None,
    norm: Norm = "linf",
    set_: Set = None,
    name: Annotated[str, typer.Option("--name", help="The value of the property that is searched.")] = "eps",
    low: Annotated[float, typer.Option(min=0, help="Smallest radius to try.")] = 0.0,
    high: Annotated[float, typer.Option(help="Largest radius to try.")] = 0.5,
    tolerance: Annotated[float, typer.Option(help="Width of the bracket that is good enough.")] = 1e-3,
    timeout: Timeout = 60.0,
    quick: Annotated[
        bool, typer.Option("--quick", help="Attacks and bounds only, no branch and bound.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.csv", help="Table of all images.")
    ] = None,
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Bracket, for each image, the largest radius at which a property holds: proved below, refuted above.

    Around the first 20 test images unless others are named; all of them share one search.
    """
    chosen = images(dataset, image or [], IMAGES if first is None and not image else first)
    limits: dict[str, Any] = {"name": name, "low": low, "high": high, "tolerance": tolerance}
    limits |= {"timeout": timeout, "device": device, "seed": seed, "quick": quick}
    found = _found(model, (spec, norm, set_ or []), chosen, limits)
    rows = [
        {"id": key, "label": label, "holds": one.holds, "violated": one.violated, "queries": one.queries}
        for key, label, one in zip(chosen.ids.tolist(), chosen.labels.tolist(), found, strict=True)
    ]
    subject = f"{model}, {spec}" + (f", {norm}" if name == "eps" else f", {name}")
    _show(rows, subject, tolerance, json)
    if out is not None:
        import pandas as pd

        from robustbench_local.atomic import write_atomically

        write_atomically(out, lambda path: pd.DataFrame(rows).to_csv(path, index=False))
    write_json(rows, json)


def _found(
    model: str, asked: tuple[str, str, list[str]], chosen: Images, limits: dict[str, Any]
) -> list[RadiusBracket]:
    """The brackets of a property `asked` for by name, norm and settings, with a progress bar."""
    from robustbench_local.brackets import radius as search
    from robustbench_local.device import find_device
    from robustbench_local.named_models import find_model
    from robustbench_local.ready_specs import parse_settings
    from robustbench_local.suite import ready_around

    (spec, norm, texts), name, high = asked, limits["name"], limits["high"]
    named, settings = find_model(model, device=find_device(limits["device"])), parse_settings(texts)
    if name != "eps":
        settings = {**settings, name: high}
    ready, values = ready_around(named, chosen, spec=spec, norm=norm, eps=high, settings=settings)
    if name not in values:
        raise SpecError(f"property {spec!r} has no {name}", where="--name", cure="name a radius it has")
    with progress_bar() as bar:
        task = bar.add_task(f"{len(chosen)} radii", total=len(chosen))

        def seen(found: list[RadiusBracket]) -> None:
            narrow = sum(one.violated - one.holds <= limits["tolerance"] for one in found)
            bar.update(task, completed=narrow, description=f"{narrow} of {len(found)} radii found")

        return search(named.network, ready, values=values, progress=seen, **limits)


def _show(rows: Sequence[dict[str, Any]], subject: str, tolerance: float, json: Path | None) -> None:
    """Prints the first brackets, and of all of them the medians."""
    console = printer(json)
    header = [("image", "right"), ("class", "right"), ("proved up to", "right"), ("refuted from", "right")]
    lines = [
        [str(row["id"]), str(row["label"]), _number(row["holds"]), _number(row["violated"])] for row in rows
    ]
    console.print(table(subject, header, lines[:SHOWN]))
    if len(rows) > SHOWN:
        console.print(f".. and {len(rows) - SHOWN} more; --out FILE.csv has all")
    gaps = [row["violated"] - row["holds"] for row in rows]
    narrow = sum(gap <= tolerance for gap in gaps)
    wrong = sum(math.isnan(row["holds"]) and row["violated"] == 0 for row in rows)
    found = [row for row in rows if math.isfinite(row["holds"])]
    middle = (
        ", ".join(
            f"{word} {_number(median(row[key] for row in found))}"
            for word, key in (("proved", "holds"), ("refuted", "violated"))
        )
        if found
        else "none"
    )
    console.print(
        f"medians of {len(found)}: {middle}; {narrow} of {len(rows)} within {tolerance:g}, "
        f"{wrong} wrong at radius 0"
    )


def _number(radius: float) -> str:
    """A radius as people read it; "-" where there is none."""
    return f"{radius:.4f}" if math.isfinite(radius) else "-"

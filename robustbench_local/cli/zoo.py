"""`rbl zoo list`, `show`, `train` and `evaluate`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Debug, Device, Json, Seed
from .output import help_without_command, printer, table, write_json
from .zoo_rows import Form, evaluate_chosen, evaluate_rules, show_row, train_row, write_card

if TYPE_CHECKING:
    from robustbench_local.zoo import ZooRow

__all__ = ["app"]

FOLDER = Path("rbl-zoo")  # where `evaluate` writes by default, and `list` looks
IMAGES = 100  # for the classifiers among all models: with all 600 images they take longer than all rows

app = typer.Typer(help="The models that come with the package.")


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """The models that come with the package."""
    help_without_command(context)


@app.command("list")
def list_models(
    results: Annotated[
        Path | None,
        typer.Option(
            "--results", metavar="DIR", help="Folder of `rbl zoo evaluate`. [default: rbl-zoo, if there]"
        ),
    ] = None,
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """List the systems with their weights and how far each one is: planned, built, gated .. bracketed."""
    from collections import Counter

    from robustbench_local.zoo import zoo_rows

    rows = zoo_rows(results or (FOLDER if FOLDER.is_dir() else None))
    header = [
        ("id", "left"),
        ("family", "left"),
        ("status", "left"),
        ("system", "left"),
        ("weights, or what is missing", "left"),
    ]
    lines = [[r.id, r.family, r.status, r.name, _state(r)] for r in rows]
    console = printer(json)
    console.print(table("", header, lines, wrapped=(header[3][0], header[4][0])))
    counts = Counter(row.status for row in rows)
    console.print(", ".join(f"{number} {status}" for status, number in counts.items()))
    write_json([row.as_dict() for row in rows], json)


def _state(row: ZooRow) -> str:
    return "; ".join(part for part in (", ".join(row.weights), row.reason) if part)


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a model.")],
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Show a model's card, and what was measured of its weights; of a planned row what it will be."""
    from dataclasses import asdict

    from robustbench_local.errors import UnknownNameError
    from robustbench_local.models import MODELS, ROWS, find_row, read_index, read_plan, split_name

    if name in ROWS or any(row.model == name for row in ROWS.values()):
        show_row(find_row(name), json)
        return
    planned = next((row.as_dict() for row in read_plan() if row.id == name), None)
    if planned is not None:
        for key, value in planned.items():
            printer(json).print(f"[bold]{key:13}[/bold] {value}")
        write_json(planned, json)
        return
    architecture, weights = split_name(name)
    if architecture not in MODELS:
        raise UnknownNameError.of("model", architecture, MODELS)
    card = asdict(MODELS[architecture].card)
    records = {
        k: r for k, r in read_index().items() if r.model == architecture and weights in (None, r.weights)
    }
    if weights is not None and not records:
        raise UnknownNameError.of(
            f"weight set of {architecture!r}", weights, MODELS[architecture].card.weights
        )
    console = printer(json)
    for key, value in card.items():
        text = ", ".join(str(v) for v in value) if isinstance(value, tuple) else str(value)
        console.print(f"[bold]{key:13}[/bold] {text}")
    for key, record in records.items():
        names = list(record.metrics["robust"][0])
        rows = [
            [f"{r['eps']:g}", *(f"{100 * r[n]:.1f}" for n in names[1:])] for r in record.metrics["robust"]
        ]
        title = f"{key}: {100 * record.metrics['clean']:.1f} % clean; % of test images robust within linf eps"
        console.print(table(title, [(n, "right") for n in names], rows))
    measured = {key: {"file": r.file, "sha256": r.sha256, "metrics": r.metrics} for key, r in records.items()}
    write_json({**card, "measured": measured}, json)


@app.command("card")
def card(
    name: Annotated[str, typer.Argument(metavar="ROW", help="A row by id or model.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Where to write it; the ending .html asks for HTML."),
    ] = None,
    form: Annotated[
        Form | None, typer.Option("--format", help="[default: by the ending of FILE, else md]")
    ] = None,
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Write the card of a row, data sheet and responsibilities included, as Markdown or HTML."""
    from robustbench_local.models import find_row

    write_card(find_row(name), out, form, json)


@app.command("train")
def train(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="Weight set to train, e.g. digits-cnn:certified, or a row: 12.03."
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="[default: runs/RECIPE]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    json: Json = None,
    device: Device = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Instead of the recipe's seed.")] = None,
    debug: Debug = False,
) -> None:
    """Train a model's weights again with the recipe on its card, or as its row of the zoo says."""
    from dataclasses import replace

    from robustbench_local.errors import UnknownNameError
    from robustbench_local.models import MODELS, ROWS, find_row, split_name
    from robustbench_local.training import load_recipe

    from .training import run_recipe

    architecture, weights = split_name(name)
    if any(architecture in (row.card.id, row.model) for row in ROWS.values()):
        train_row(find_row(architecture), weights, out, seed or 0, json)
        return
    if architecture not in MODELS:
        raise UnknownNameError.of("model", architecture, MODELS)
    recipe = load_recipe(MODELS[architecture].card.recipe(weights or "nominal"))
    if seed is not None:
        recipe = replace(recipe, seed=seed)
    run_recipe(recipe, out or Path("runs") / recipe.name, resume=resume, json=json, device=device)


@app.command("evaluate")
def evaluate(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Models or weight sets.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help=f"Only the first N images. [default: all; without names {IMAGES}]"),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the results and the report.")
    ] = FOLDER,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that share the rows. [default: one per core]")
    ] = None,
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Bracket the named rows and models, or all: claims of rows, robust accuracy of classifiers."""
    from robustbench_local.device import find_device
    from robustbench_local.models import ROWS, find_row
    from robustbench_local.store import read_results
    from robustbench_local.zoo import PROCESSES, zoo_suites

    from .running import run_suite, show_suite

    place = find_device(device)
    known = {key for row in ROWS.values() for key in (row.card.id, row.model)}
    chosen = [find_row(name) for name in names or [] if name in known] if names else list(ROWS.values())
    rules = [name for name in names or PROCESSES if name in PROCESSES]
    rest = [name for name in names or [] if name not in known and name not in PROCESSES]
    limit = limit or (None if names else IMAGES)
    suites = zoo_suites(rest, limit=limit, seed=seed) if rest or not names else []
    if chosen:
        at_once = min(workers or os.cpu_count() or 1, len(chosen))
        evaluate_chosen(chosen, out, seed, at_once, None if suites or rules else json)
    if rules:
        evaluate_rules(rules, out, None if suites else json)
    for suite in suites:
        run_suite(suite, out, place)
    if suites:
        show_suite(read_results(out), out, json)

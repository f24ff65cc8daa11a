"""`rbl train`: a recipe, with progress, checkpoints and resume."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import Debug, Device, Json
from .output import message, printer, progress_bar, table, write_json

if TYPE_CHECKING:
    from rich.progress import Progress

    from robustbench_local.training import EpochRecord, Recipe, TrainingResult

__all__ = ["run_recipe", "train"]


def train(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="Name of a shipped recipe, or a .toml file.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Folder of the weights. [default: runs/RECIPE]"),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run in DIR.")] = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Train this many epochs instead of the recipe's.")
    ] = None,
    json: Json = None,
    device: Device = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Instead of the recipe's seed.")] = None,
    debug: Debug = False,
) -> None:
    """Train a model as its recipe says: standard, adversarial or certified."""
    from dataclasses import replace

    from robustbench_local.training import load_recipe

    loaded = load_recipe(recipe)
    if epochs is not None:
        loaded = replace(loaded, epochs=epochs)
    if seed is not None:
        loaded = replace(loaded, seed=seed)
    run_recipe(loaded, out or Path("runs") / loaded.name, resume=resume, json=json, device=device)


def run_recipe(recipe: Recipe, out: Path, *, resume: bool, json: Path | None, device: str | None) -> None:
    """Trains and shows what came out."""
    from robustbench_local.device import find_device
    from robustbench_local.training import train as run

    with progress_bar() as bar:
        result = run(recipe, out=out, resume=resume, progress=_Bars(bar), device=find_device(device))
    _show(result, json)


class _Bars:
    """Training progress as two bars: epochs, and batches of the present epoch."""

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.epochs = bar.add_task("epochs", total=None)
        self.steps = bar.add_task("batches", total=None)

    def begin(self, recipe: Recipe, *, epochs_done: int, steps_per_epoch: int) -> None:
        self.bar.update(self.epochs, description=recipe.name, total=recipe.epochs, completed=epochs_done)
        self.bar.update(self.steps, total=steps_per_epoch)

    def step(self) -> None:
        self.bar.advance(self.steps)

    def epoch(self, record: EpochRecord) -> None:
        shown = " ".join(f"{name} {value:.3g}" for name, value in record.shown.items())
        self.bar.update(self.epochs, advance=1)
        self.bar.reset(self.steps, description=f"loss {record.loss:.4f} {shown}")

    def measuring(self) -> None:
        self.bar.update(self.epochs, description="measuring on the test split")


def _show(result: TrainingResult, json: Path | None) -> None:
    metrics = result.record.metrics
    rows = [
        [f"{r['eps']:g}", *(f"{100 * v:.1f}" for k, v in r.items() if k != "eps")] for r in metrics["robust"]
    ]
    names = [name for name in metrics["robust"][0] if name != "eps"] if rows else []
    console = printer(json)
    console.print(
        f"{result.recipe.target}: {100 * metrics['clean']:.1f} % clean accuracy, {metrics['samples']} images"
    )
    if rows:
        console.print(table("", [("eps", "right"), *((f"{name} %", "right") for name in names)], rows))
    message(f"{result.seconds:.1f} s of training; weights in {result.out / result.record.file}")
    write_json(
        {
            "model": result.recipe.target,
            "weights": result.out / result.record.file,
            "sha256": result.record.sha256,
            "metrics": metrics,
            "seconds": result.seconds,
        },
        json,
    )

"""`rbl demo`: the whole path on real digits, in under a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .options import Debug, Device, Json, Seed
from .output import message, printer, write_json

__all__ = ["demo"]

MODELS = ("digits-cnn:nominal", "digits-cnn:pgd", "digits-cnn:certified")
EPS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2)
METHODS = ("clean", "pgd", "ibp", "crown")


def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Folder of the results and the report.")
    ] = Path("rbl-demo"),
    images: Annotated[
        int | None, typer.Option("--images", min=1, help="Use only the first N test images.")
    ] = None,
    json: Json = None,
    device: Device = None,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Attack and verify the shipped digit classifiers over a grid of radii.

    One small CNN, trained in three ways: standard, against PGD attacks, and with certified bounds. For each
    radius the true robust accuracy lies between the verified one (no attack can break these images) and the
    empirical one (PGD did not break these). Writes DIR/results.parquet, DIR/results.csv and DIR/index.html.
    """
    import time

    from robustbench_local.device import find_device
    from robustbench_local.report import report
    from robustbench_local.suite import Suite

    from .running import bracket_rows, bracket_table, run_suite, warn_of_errors

    start = time.perf_counter()
    suite = Suite(models=MODELS, eps=EPS, methods=METHODS, limit=images, seed=seed)
    results = run_suite(suite, out, find_device(device))
    page = report(results, out)
    seconds = time.perf_counter() - start
    console = printer(json)
    console.print(bracket_table(results))
    warn_of_errors(results, console)
    message(f"{len(results)} rows in {seconds:.1f} s. Report: {page}")
    files = {"parquet": out / "results.parquet", "csv": out / "results.csv", "report": page}
    write_json(
        {"brackets": bracket_rows(results), "rows": len(results), "seconds": seconds, "files": files}, json
    )

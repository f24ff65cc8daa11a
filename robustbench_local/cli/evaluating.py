"""`rbl evaluate`: models x radii x methods over a data set, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import Debug, Device, Json

__all__ = ["evaluate"]


Samples = Annotated[
    int | None, typer.Option("--samples", help="Noisy copies per image for smoothing. [default: 10000]")
]
Alpha = Annotated[
    float | None,
    typer.Option("--alpha", help="Chance that a certificate of smoothing is wrong. [default: 0.001]"),
]
FOLDER = Path("rbl-results")
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder of the results.")]
Diagnose = Annotated[
    bool, typer.Option("--diagnose", help="Fill the column `believable` of attacks by diagnostics.")
]
Config = Annotated[
    Path | None, typer.Argument(metavar="[CONFIG.toml]", help="The suite as a file; flags win over it.")
]
Models = Annotated[
    list[str] | None, typer.Option("--model", "-m", help="Zoo name or file.py:function; repeat for more.")
]
Arithmetic = Annotated[
    str | None,
    typer.Option(help="What HOLDS is about: real, float64-outward, fp32, fp16 or bf16. [default: real]"),
]


def evaluate(
    config: Config = None,
    model: Models = None,
    dataset: Annotated[str | None, typer.Option(help="Data set. [default: digits]")] = None,
    spec: Annotated[str | None, typer.Option(help="Property. [default: robustness]")] = None,
    norm: Annotated[str | None, typer.Option(help="linf, l2 or l1. [default: linf]")] = None,
    eps: Annotated[list[float] | None, typer.Option("--eps", "-e", help="Radius; repeat for more.")] = None,
    method: Annotated[
        list[str] | None, typer.Option("--method", help="Attack, verifier or smoothing; repeat for more.")
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first N images.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds per method and batch. [default: 60]")] = None,
    out: Out = FOLDER,
    json: Json = None,
    device: Device = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of the attacks. [default: 0]")] = None,
    samples: Samples = None,
    alpha: Alpha = None,
    arithmetic: Arithmetic = None,
    diagnose: Diagnose = False,
    debug: Debug = False,
) -> None:
    """Evaluate models under attacks and verifiers; prints the bracket table and writes the results.

    Run again with the same DIR, an interrupted evaluation goes on where it stopped.
    """
    from robustbench_local.device import find_device
    from robustbench_local.suite import Suite

    from .remarks import warn_of_suite
    from .running import run_suite, show_suite

    flags: dict[str, Any] = {
        "models": tuple(model or ()),
        "dataset": dataset,
        "spec": spec,
        "norm": norm,
        "eps": tuple(eps or ()),
        "methods": tuple(method or ()),
        "limit": limit,
        "timeout": timeout,
        "seed": seed,
        "samples": samples,
        "alpha": alpha,
        "arithmetic": arithmetic,
    }
    given = {key: value for key, value in flags.items() if value not in (None, ())}
    if config is None and not model:
        raise typer.BadParameter("give a CONFIG.toml or at least one --model")
    suite = Suite(**given) if config is None else Suite.read(config, **given)
    results = run_suite(suite, out, find_device(device), diagnosed=diagnose)
    show_suite(results, out, json)
    warn_of_suite(suite)

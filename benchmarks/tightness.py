"""How tight every method is on the digit classifiers: IBP to exact MILP, on the same images and rows.

    python benchmarks/tightness.py --json tightness.json --markdown
    python benchmarks/tightness.py --only digits-mlp --images 2 --method crown lp milp

The width of a bound is how far it lies above the row's value at the image itself, in the mean over images and
rows (margins of the label against the nine others). Ratios are LP's width / the method's: 1 is as tight as
the triangle relaxation, more is tighter. The goal is alpha-CROWN within 1 % of LP.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from _rows import Row, machine, markdown, write_json
from rich.console import Console
from rich.progress import track
from rich.table import Table
from robustbench_local.verifiers.convex import LP
from torch import Tensor

import robustbench_local as rbl
from robustbench_local.data import load_dataset
from robustbench_local.specs import Query, robustness
from robustbench_local.verifiers import VERIFIERS, Budget, Graph, Verifier, from_torch

GOAL = 0.99  # of the width of alpha-CROWN against LP
EPS = {"digits-mlp": 0.03, "digits-cnn": 0.02, "digits-resnet": 0.02}


@dataclass(frozen=True)
class Method:
    """A verifier and the networks on which it ends within minutes."""

    verifier: Verifier
    networks: tuple[str, ...] = tuple(EPS)


def methods() -> dict[str, Method]:
    """By name, loose ones first; what is not registered is left out."""
    found = {
        name: Method(VERIFIERS[name])
        for name in ("ibp", "crown-ibp", "crown", "alpha-crown")
        if name in VERIFIERS
    }
    found["lp"] = Method(LP())
    found["lp-tightened"] = Method(LP(tighten=True))
    found["sdp"] = Method(VERIFIERS["sdp"], ("digits-mlp",))
    found["milp"] = Method(VERIFIERS["milp"], ("digits-mlp",))
    return found


@dataclass(frozen=True)
class Measured:
    """Row bounds (B, m) less the rows' values at the images, seconds per image, and whether time sufficed."""

    widths: Tensor
    seconds: float
    complete: bool


def problem(name: str, images: int) -> tuple[Graph, Query, Tensor]:
    """Graph and query in float64 of the first test images, and the rows' values (B, m) at them."""
    network = rbl.load_model(name)
    data = load_dataset("digits", split="test")
    x, labels = data.inputs[:images], data.labels[:images]
    query = robustness((1, 8, 8), 10).query(network, x0=x, c=labels, eps=EPS[name])
    graph = from_torch(network, x[:1]).to(torch.float64)
    with torch.no_grad():
        return graph, query, query.atoms(graph.run(x.double()))


def measure(name: str, options: argparse.Namespace) -> dict[str, Measured]:
    """Every method on one network."""
    graph, query, centre = problem(name, options.images)
    results = {}
    chosen = {key: m for key, m in methods().items() if key in options.method and name in m.networks}
    for key, method in track(chosen.items(), description=name):
        begun = time.perf_counter()
        with torch.no_grad():
            bounds = method.verifier.bound(
                graph, query, Budget(options.seconds * options.images, tighten=True)
            )
        taken = (time.perf_counter() - begun) / options.images
        results[key] = Measured(bounds.rows.detach() - centre, taken, bounds.complete)
    return results


def rows(name: str, results: dict[str, Measured]) -> Iterator[Row]:
    """The contracted rows of one network; LP is the peer of the widths."""
    case = f"{name}/eps={EPS[name]:g}"
    reference = results.get("lp")
    for key, result in results.items():
        width = float(result.widths.mean())
        other = None if reference is None or key == "lp" else float(reference.widths.mean())
        ratio = None if other is None else other / width
        goal = GOAL if key == "alpha-crown" else 0.0
        label = f"{key}: mean width" + ("" if result.complete else " (time ran out)")
        met = ratio is None or ratio >= goal
        yield Row("tightness", case, label, width, other, "" if other is None else "lp", ratio, goal, met)
        yield Row("tightness", case, f"{key}: seconds per image", result.seconds, None, "", None, 0.0, True)


def show(found: list[Row]) -> None:
    """A table on the terminal."""
    table = Table("case", "metric", "value", "LP's", "LP's / value", "goal met")
    for row in found:
        cells = (f"{row.ours:.4g}", *("" if v is None else f"{v:.4g}" for v in (row.peer, row.ratio)))
        table.add_row(row.case, row.metric, *cells, ("yes" if row.met else "NO") if row.goal else "")
    Console().print(table)


def main(arguments: list[str] | None = None) -> list[Row]:
    """Runs the networks and returns their rows."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--only", nargs="+", choices=sorted(EPS), default=list(EPS), help="networks")
    parser.add_argument("--method", nargs="+", choices=list(methods()), default=list(methods()))
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=120.0, help="per method and image, at most")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    found: list[Row] = []
    for name in options.only:
        found += rows(name, measure(name, options))
        write_json(found, options.json)
    show(found)
    if options.markdown:
        print(machine(), markdown(found), sep="\n\n")
    return found


if __name__ == "__main__":
    main()

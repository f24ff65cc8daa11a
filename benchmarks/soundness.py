"""Random networks and boxes, thousands of them: does any sampled point break any bound?

    python benchmarks/soundness.py --pairs 10000 --json soundness.json

Networks come from the package's own Hypothesis strategies (all layer kinds, float64 and float32), boxes from
points to wide ones, ten of them per network. Points: random ones, corners, both ends, the centre.
A violation is printed with the network's recipe. Goal: none in float64 beyond 1e-9, none in float32 beyond
rounding (1e-4), both relative to the largest value met.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from _rows import Row, machine, markdown, write_json
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rich.progress import Progress
from torch import Tensor

from robustbench_local.strategies import RandomNetwork, networks
from robustbench_local.verifiers import (
    CROWN,
    IBP,
    AlphaCROWN,
    CrownIBP,
    Graph,
    Tuning,
    Verifier,
    from_torch,
    output_bounds,
)

BOXES = 10
POINTS = 64
ENGINES: dict[str, Verifier] = {
    "ibp": IBP(),
    "crown-ibp": CrownIBP(intersect=False),
    "crown": CROWN(intersect=False),
    "alpha-crown": AlphaCROWN(tuning=Tuning(steps=3)),
}
TOLERANCES = {torch.float64: 1e-9, torch.float32: 1e-4}


@dataclass
class Tally:
    """Pairs of network and box seen per engine and dtype, and the largest violation."""

    pairs: dict[tuple[str, torch.dtype], int] = field(default_factory=dict)
    worst: dict[tuple[str, torch.dtype], float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    refused: int = 0

    def add(self, key: tuple[str, torch.dtype], excess: Tensor, recipe: str) -> None:
        """Excess (B,) of the sampled values over the bounds, relative; NaN: the engine proved nothing."""
        self.refused += int(excess.isnan().sum())
        largest = float(excess.nan_to_num(nan=-1.0).max())
        self.pairs[key] = self.pairs.get(key, 0) + excess.shape[0]
        self.worst[key] = max(self.worst.get(key, -1.0), largest)
        if largest > TOLERANCES[key[1]]:
            self.failed.append(f"{key[0]}, {key[1]}: by {largest:.3g}, {recipe}")


def boxes(shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> tuple[Tensor, Tensor]:
    """BOXES boxes (B, *shape) of widths from zero to 4."""
    generator = torch.Generator().manual_seed(seed)
    centre = 2 * torch.rand(BOXES, *shape, generator=generator, dtype=torch.float64) - 1
    widths = torch.tensor([0.0, 1e-6, 1e-3, 0.01, 0.05, 0.1, 0.3, 1.0, 2.0, 4.0], dtype=torch.float64)
    radius = widths.reshape(-1, *(1 for _ in shape)) / 2
    radius = radius * torch.rand(BOXES, *shape, generator=generator, dtype=torch.float64)
    return (centre - radius).to(dtype), (centre + radius).to(dtype)


def points(lower: Tensor, upper: Tensor, seed: int) -> Iterator[Tensor]:
    """Points of every box: random ones, corners, ends, centres."""
    generator = torch.Generator().manual_seed(seed + 1)
    for number in range(POINTS):
        share = torch.rand(lower.shape, generator=generator, dtype=torch.float64).to(lower)
        if number < 3:
            share = torch.full_like(lower, number / 2)
        elif number % 2:
            share = share.round()
        yield torch.minimum(torch.maximum(lower + share * (upper - lower), lower), upper)


@torch.no_grad()
def examine(network: RandomNetwork, graph: Graph, dtype: torch.dtype, seed: int, tally: Tally) -> None:
    """All engines on one network."""
    graph = graph.to(dtype)
    lower, upper = boxes(network.input_shape, dtype, seed)
    values = torch.stack([graph.run(x).flatten(1) for x in points(lower, upper, seed)])
    least, most = values.amin(0), values.amax(0)
    scale = 1 + values.abs().amax((0, 2))
    for name, engine in ENGINES.items():
        low, high = output_bounds(graph, lower, upper, engine)
        low, high = low.flatten(1), high.flatten(1)
        # a difference with NaN, or of infinities, is NaN: nothing was claimed there
        excess = torch.maximum(low - least, most - high).amax(1) / scale
        tally.add((name, dtype), excess, f"boxes of seed {seed} on {network!r}")


def sweep(count: int, tally: Tally) -> None:
    """Draws `count` networks, always the same."""
    with Progress() as progress:
        task = progress.add_task("networks", total=count)

        @settings(
            max_examples=count,
            derandomize=True,
            database=None,
            deadline=None,
            phases=(Phase.generate,),
            suppress_health_check=list(HealthCheck),
        )
        @given(network=networks(depth=6), seed=st.integers(0, 10**6))
        def run(network: RandomNetwork, seed: int) -> None:
            graph = from_torch(network, torch.zeros(1, *network.input_shape))
            for dtype in TOLERANCES:
                examine(network, graph, dtype, seed, tally)
            progress.advance(task)

        run()


def main(arguments: list[str] | None = None) -> list[Row]:
    """Runs the sweep and returns its rows."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--pairs", type=int, default=10_000, help="network x box pairs per engine and dtype")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    tally = Tally()
    sweep(-(-options.pairs // BOXES), tally)
    rows = []
    for (name, dtype), worst in tally.worst.items():
        case, goal = f"{name}/{str(dtype).removeprefix('torch.')}", TOLERANCES[dtype]
        pairs, met = tally.pairs[name, dtype], worst <= goal
        rows.append(Row("soundness", case, "pairs", pairs, None, "", None, options.pairs, True))
        rows.append(Row("soundness", case, "worst relative excess", worst, None, "", None, goal, met))
    write_json(rows, options.json)
    for failure in tally.failed:
        print(failure)
    print(f"{tally.refused} samples without a finite claim")
    if options.markdown:
        print(machine(), markdown(rows), sep="\n\n")
    return rows


if __name__ == "__main__":
    main()

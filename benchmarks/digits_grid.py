"""How many (image, radius) pairs of the digits networks `rbl.verify` decides, with its default plan.

    python benchmarks/digits_grid.py --json grid.json --markdown             # nine networks, 20 images
    python benchmarks/digits_grid.py --images 60 --seconds 10 --only digits-cnn:nominal

The radii are those of `rbl demo`. Images are a fixed sample of the test split. The pairs of one network and
radius are one call, which may take `--seconds` for each of them on average; it ends when all are decided.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from _rows import Row, machine, markdown, write_json

import robustbench_local as rbl
from robustbench_local.cli.demo import EPS
from robustbench_local.data import Dataset, load_dataset
from robustbench_local.named_models import find_model
from robustbench_local.specs import Verdict
from robustbench_local.suite import cases_of

NETWORKS = tuple(
    f"digits-{family}:{weights}"
    for family in ("mlp", "cnn", "resnet")
    for weights in ("nominal", "pgd", "certified")
)
SHARE, SECONDS = 0.95, 10.0  # goals: of the pairs decided, and of a pair's seconds on average


def sample(images: int, seed: int) -> Dataset:
    """The fixed sample of `images` test images."""
    data = load_dataset("digits", split="test")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))
    return data.select(order[:images])


def decided(name: str, data: Dataset, eps: float, seconds: float) -> tuple[list[Verdict], float]:
    """The verdicts of all images at a radius, and the seconds of the call."""
    query = cases_of(find_model(name), data, spec="robustness", norm="linf", eps=eps).query
    start = time.perf_counter()
    result = rbl.verify(None, query, timeout=seconds * len(data))
    return [case.verdict for case in result.cases], time.perf_counter() - start


def rows_of(case: str, verdicts: Sequence[Verdict], seconds: float, *, goals: bool) -> list[Row]:
    """Share decided, proved and broken, and seconds per pair; a goal of 0 is none."""
    count = len(verdicts)
    proved = sum(v is Verdict.HOLDS for v in verdicts) / count
    broken = sum(v is Verdict.VIOLATED for v in verdicts) / count
    share, each = proved + broken, seconds / count
    least, most = (SHARE, SECONDS) if goals else (0.0, 0.0)
    return [
        Row("digits_grid", case, "decided", share, None, "", None, least, share >= least),
        Row("digits_grid", case, "proved", proved, None, "", None, 0.0, True),
        Row("digits_grid", case, "broken", broken, None, "", None, 0.0, True),
        Row("digits_grid", case, "seconds per pair", each, None, "", None, most, not goals or each <= most),
    ]


def main(arguments: list[str] | None = None) -> list[Row]:
    """Runs the networks asked for; one group of rows for each, and one for all pairs together."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--eps", type=float, nargs="+", default=EPS)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each pair, on average")
    parser.add_argument("--seed", type=int, default=0, help="of the sample of images")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    data = sample(options.images, options.seed)
    rows: list[Row] = []
    whole: list[Verdict] = []
    total = 0.0
    for name in options.only:
        found: list[Verdict] = []
        seconds = 0.0
        for eps in options.eps:
            verdicts, spent = decided(name, data, eps, options.seconds)
            found, seconds = found + verdicts, seconds + spent
        rows += rows_of(name, found, seconds, goals=False)
        whole, total = whole + found, total + seconds
    rows += rows_of("all pairs", whole, total, goals=True)
    write_json(rows, options.json)
    if options.markdown:
        print(machine(), markdown(rows), sep="\n\n")
    return rows


if __name__ == "__main__":
    main()

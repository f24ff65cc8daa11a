"""Certificates of real instances: seconds to find one, bytes of the file, seconds to check it.

    python benchmarks/certificates.py --folder VNNCOMP --seconds 60 --json certificates.json
    python benchmarks/certificates.py --folder VNNCOMP --only oval21 --limit 2 --mutations 200

Of every row of VNNCOMP/instances.csv (columns id, benchmark, onnx, vnnlib, expected) that is expected to
hold, a proof is searched for `--seconds`; rows whose network or set has no certificate are counted. With
`--mutations N` every certificate is changed N times at random, and how many the checker rejects is counted.
Nothing else can check these networks without the tool that proved them, so that there is no peer.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from _mutations import mutated
from _rows import Row, markdown, write_json

from robustbench_local.checker import check
from robustbench_local.errors import RobustBenchError
from robustbench_local.problems import problems_of
from robustbench_local.verifiers import certify, from_torch

CHECK_GOAL = 60.0  # seconds


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", help="one benchmark, or one row")
    parser.add_argument("--limit", type=int, default=10**6, help="rows of each benchmark")
    parser.add_argument("--seconds", type=float, default=60.0, help="to find one proof")
    parser.add_argument("--mutations", type=int, default=0, help="changed copies of each certificate")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[Row] = []
    for found in _measured(options):
        rows += found
        print("; ".join(f"{row.case} {row.metric}: {row.ours:.4g}" for row in found), flush=True)
    print(markdown(rows))
    if options.json is not None:
        write_json(rows, options.json)


def _measured(options: argparse.Namespace) -> Iterator[list[Row]]:
    counts: dict[str, int] = {}
    folder, only, limit = options.folder, options.only, options.limit
    with (folder / "instances.csv").open(encoding="utf-8") as stream:
        instances = list(csv.DictReader(stream))
    for instance in instances:
        name, case = instance["benchmark"], instance["id"]
        if only not in (None, name, case) or instance["expected"] != "unsat" or counts.get(name, 0) >= limit:
            continue
        counts[name] = counts.get(name, 0) + 1
        paths = folder / instance["onnx"], folder / instance["vnnlib"]
        yield _of(case, *paths, options.seconds, options.mutations)


def _of(case: str, model: Path, spec: Path, seconds: float, mutations: int) -> list[Row]:
    def row(metric: str, ours: float, met: bool, goal: float) -> Row:
        return Row("certificates", case, metric, ours, None, "", None, goal, met)

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "proof"
        try:
            batches = problems_of(model, spec, None, device=None)
            if len(batches) != 1:
                return [row("not served", 1.0, False, 0.0)]
            network, query = batches[0].network, batches[0].query
            graph = from_torch(network, query.inputs.centre()[:1].float())
            found = certify(graph, query, path, seconds=seconds)
        except RobustBenchError:
            return [row("not served", 1.0, False, 0.0)]
        if found.path is None:
            return [row("not found, seconds", found.search_seconds, False, seconds)]
        again = check(path)
        rejected = _rejected(path, mutations)
        return [
            row("search seconds", found.search_seconds, True, seconds),
            row("parts", float(found.leaves), True, 1.0),
            row("bytes", float(path.stat().st_size), True, 2.0**30),
            row("check seconds", again.seconds, again.accepted and again.seconds <= CHECK_GOAL, CHECK_GOAL),
            row("changed ones rejected", float(rejected), rejected == mutations, float(mutations)),
        ]


def _rejected(path: Path, mutations: int) -> int:
    """How many changed copies of a certificate the checker does not accept."""
    place, count = path.with_suffix(".changed"), 0
    for seed in range(mutations):
        kind, found = mutated(path, place, seed), check(place)
        count += not found.accepted
        if found.accepted:
            print(f"accepted: {kind}, seed {seed}")
    return count


if __name__ == "__main__":
    main()

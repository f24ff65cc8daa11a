"""Certificates of real instances: CPU seconds of the verdict, of its certificate and of a check, bytes.

    python benchmarks/certificates.py --folder VNNCOMP --seconds 60 --json certificates.json
    python benchmarks/certificates.py --folder VNNCOMP --only oval21 --limit 2 --mutations 200
    python benchmarks/certificates.py --folder VNNCOMP --missing

Every row of VNNCOMP/instances.csv (columns id, benchmark, onnx, vnnlib, expected) that is expected to hold is
decided within `--seconds`, as by `rbl verify --certificate`, and where it holds a certificate is written
within `--seconds` more: it takes over the trees of the verdict. With `--mutations N` every certificate is
changed N times at random, and how many the checker rejects is counted. `--missing` lists the rows that hold
and have no certificate, with the cause of each. Nothing else can check these networks without the tool that
proved them, so that there is no peer.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from _mutations import mutated
from _rows import Row, markdown, write_json

from robustbench_local.certifying import certified
from robustbench_local.checker import check
from robustbench_local.problems import problems_of
from robustbench_local.specs import Verdict
from robustbench_local.verifiers import TreeRecord
from robustbench_local.verifying import Asked, decided

CHECK_GOAL = 60.0  # seconds


def main() -> None:
    """Runs what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--only", nargs="+", default=[], help="benchmarks or rows")
    parser.add_argument("--limit", type=int, default=10**6, help="rows of each benchmark")
    parser.add_argument("--seconds", type=float, default=60.0, help="for a verdict, and again for its proof")
    parser.add_argument("--mutations", type=int, default=0, help="changed copies of each certificate")
    parser.add_argument("--missing", action="store_true", help="list what holds and has no certificate")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[Row] = []
    missing: list[str] = []
    for case, found, cause in _measured(options):
        rows += found
        missing += [f"| {case} | {cause} |"] if cause else []
        text = "; ".join(f"{row.metric}: {row.ours:.4g}" for row in found)
        print(f"{case} {text} {cause}".strip(), flush=True)
    print("\n".join(["| row | cause |", "|---|---|", *missing]) if options.missing else markdown(rows))
    if options.json is not None:
        write_json(rows, options.json)


def _measured(options: argparse.Namespace) -> Iterator[tuple[str, list[Row], str]]:
    counts: dict[str, int] = {}
    folder, only, limit = options.folder, options.only, options.limit
    with (folder / "instances.csv").open(encoding="utf-8") as stream:
        instances = list(csv.DictReader(stream))
    for instance in instances:
        name, case = instance["benchmark"], instance["id"]
        wanted = not only or name in only or case in only
        if not wanted or instance["expected"] != "unsat" or counts.get(name, 0) >= limit:
            continue
        counts[name] = counts.get(name, 0) + 1
        paths = folder / instance["onnx"], folder / instance["vnnlib"]
        yield (case, *_of(case, *paths, options.seconds, options.mutations))


def _of(case: str, model: Path, spec: Path, seconds: float, mutations: int) -> tuple[list[Row], str]:
    """The numbers of a row; or why it has no certificate, "" where it was not decided either."""

    def row(metric: str, ours: float, met: bool, goal: float) -> Row:
        return Row("certificates", case, metric, ours, None, "", None, goal, met)

    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "proof"
        begun = time.process_time()
        batches, record = problems_of(model, spec, None, device=None), TreeRecord()
        asked = Asked("real", model, True)
        found = decided(batches, None, timeout=seconds, seed=0, asked=asked, record=record)
        verdict = time.process_time() - begun
        if found.verdict is not Verdict.HOLDS:
            return [row("not decided, seconds", verdict, False, seconds)], ""
        begun = time.process_time()
        proof = certified(found, batches, path, timeout=seconds, record=record)
        taken = time.process_time() - begun
        if proof.certificate is None:
            return [
                row("no certificate, seconds", taken, False, seconds)
            ], f"decided by {found.stage}; {proof.error}"
        begun = time.process_time()
        again = check(path)
        checking = time.process_time() - begun
        rejected = _rejected(path, mutations)
        return [
            row("verdict seconds", verdict, True, seconds),
            row("certificate seconds", taken, True, seconds),
            row("parts", float(again.leaves), True, 1.0),
            row("bytes", float(path.stat().st_size), True, 2.0**30),
            row("check seconds", checking, again.accepted and checking <= CHECK_GOAL, CHECK_GOAL),
            row("changed ones rejected", float(rejected), rejected == mutations, float(mutations)),
        ], ""


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

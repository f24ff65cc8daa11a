"""How time and memory grow: with the number of properties, with the memory of a batch, with domains at once.

    python benchmarks/scaling.py --json scaling.json --markdown
    python benchmarks/scaling.py --properties 1 100 --megabytes 32 --domains 64 --parts 500

Properties are robustness of the digits CNN (PGD-trained) around test images at radii from 0.01 to 0.04, none
twice; a call runs PGD, IBP, CROWN-IBP and CROWN to their end. Each number of properties is measured in a
process of its own: the plan's memory beside what the process took above its own before the call, after a
smaller call. Domains per second are those of branch and bound on pairs that CROWN leaves open, `--parts` of
them, by domains bounded at once.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from _rows import Row, machine, markdown, write_json

from robustbench_local.cascade import cascade, find_methods
from robustbench_local.data import load_dataset
from robustbench_local.evaluation import Cases, Subject
from robustbench_local.named_models import find_model
from robustbench_local.plan import plan_for
from robustbench_local.specs import Box, Verdict
from robustbench_local.suite import cases_of
from robustbench_local.verifiers import VERIFIERS, BranchAndBound, Budget

NETWORK = "digits-cnn:pgd"
STAGES = ("pgd", "ibp", "crown-ibp", "crown")
PATIENCE = 3600.0  # seconds that no run reaches
GROWTH = 1.5  # goal: time per property, against the run with a tenth of them, at the most


def properties(count: int) -> Cases:
    """`count` problems, of distinct radii where there are more than images."""
    data = load_dataset("digits", split="test")
    cases = cases_of(
        find_model(NETWORK),
        data.select(torch.arange(count) % len(data)),
        spec="robustness",
        norm="linf",
        eps=0.0,
    )
    assert cases.origins is not None
    radius = (0.01 + 0.03 * torch.arange(count) / count).reshape(-1, 1, 1, 1)
    inputs = Box((cases.origins - radius).clamp(0, 1), (cases.origins + radius).clamp(0, 1))
    return replace(cases, ids=range(count), query=replace(cases.query, inputs=inputs))


def one_call(count: int, megabytes: int) -> dict[str, float]:
    """Seconds, share decided, MB above the process's own, and MB of the plan, of one call in this process."""
    memory = megabytes * 2**20
    warm = properties(16)
    cascade(warm, find_methods(STAGES), timeout=PATIENCE, memory_bytes=memory)
    cases = properties(count)
    planned = plan_for(Subject.of(cases), cases.query, memory_bytes=memory).memory_bytes
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    result = cascade(cases, find_methods(STAGES), timeout=PATIENCE, memory_bytes=memory)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    decided = sum(case.verdict is not Verdict.UNKNOWN for case in result.cases) / count
    return {"seconds": seconds, "decided": decided, "peak": peak / 1024, "planned": planned / 2**20}


def called(count: int, megabytes: int, threads: int) -> dict[str, float]:
    """`one_call` in a process of its own."""
    command = [sys.executable, __file__, "--threads", str(threads), "--one", str(count), str(megabytes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def by_properties(counts: Sequence[int], threads: int) -> list[Row]:
    """Time per property and memory, against the run before."""
    rows: list[Row] = []
    before: float | None = None
    for count in counts:
        found = called(count, 128, threads)
        case, each = f"{count} properties", found["seconds"] / count
        ratio = None if before is None else before / each
        met = ratio is None or ratio >= 1 / GROWTH
        fits = found["peak"] <= found["planned"]
        rows += [
            Row("scaling", case, "seconds", found["seconds"], None, "", None, 0.0, True),
            Row("scaling", case, "ms per property", 1000 * each, _ms(before), "fewer of them", ratio,
                1 / GROWTH, met),
            Row("scaling", case, "decided", found["decided"], None, "", None, 0.0, True),
            Row("scaling", case, "peak MB", found["peak"], found["planned"], "plan",
                found["planned"] / max(found["peak"], 1e-3), 1.0, fits),
        ]  # fmt: skip
        before = each
    return rows


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1000 * seconds


def by_memory(count: int, megabytes: Sequence[int], threads: int) -> list[Row]:
    """Seconds of the same properties by the memory of a batch."""
    rows = []
    for size in megabytes:
        found = called(count, size, threads)
        case = f"{count} properties/{size} MiB a batch"
        rows += [
            Row("scaling", case, "seconds", found["seconds"], None, "", None, 0.0, True),
            Row("scaling", case, "peak MB", found["peak"], found["planned"], "plan",
                found["planned"] / max(found["peak"], 1e-3), 1.0, found["peak"] <= found["planned"]),
        ]  # fmt: skip
    return rows


def by_domains(sizes: Sequence[int], parts: int) -> list[Row]:
    """Domains per second of branch and bound, by how many are bounded at once."""
    data = load_dataset("digits", split="test").select(torch.arange(40))
    cases = cases_of(find_model(NETWORK), data, spec="robustness", norm="linf", eps=0.12)
    graph, query = Subject.of(cases).graph(), cases.query
    with torch.no_grad():
        upper = VERIFIERS["crown"].bound(graph, query).upper
    some = query.select((upper > 0).nonzero().squeeze(1)[:8])
    rows, plain = [], BranchAndBound()
    for size in sizes:
        method = replace(plain, settings=replace(plain.settings, parts=parts, batch=size))
        start = time.perf_counter()
        method.bound(graph, some, Budget())
        rate = parts / (time.perf_counter() - start)
        rows.append(Row("scaling", f"{size} domains at once", "domains/s", rate, None, "", None, 0.0, True))
    return rows


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """Runs all three and returns the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--properties", type=int, nargs="+", default=[1, 10, 100, 1000, 10_000])
    parser.add_argument("--megabytes", type=int, nargs="*", default=[4, 32, 128], help="of a batch")
    parser.add_argument("--domains", type=int, nargs="*", default=[8, 32, 128, 512], help="at once")
    parser.add_argument("--parts", type=int, default=2000, help="domains in all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--one", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.one is not None:
        print(json.dumps(one_call(*options.one)))
        return []
    rows = by_properties(options.properties, options.threads)
    rows += by_memory(min(1000, max(options.properties)), options.megabytes, options.threads)
    rows += by_domains(options.domains, options.parts)
    write_json(rows, options.json)
    if options.markdown:
        print(machine(), markdown(rows), sep="\n\n")
    return rows


if __name__ == "__main__":
    main()

"""Random small networks and queries with a known truth, thousands of them: is any verdict wrong?

    python benchmarks/soundness_verdicts.py --count 3000 --out verdicts.jsonl --json verdicts.json

Problem number n is always the same (`robustbench_local.random_problems`): a network of one of 19 families, a
kind of set, a shape of property and ten samples whose worst violations are shifted to chosen gaps around
zero, wide ones and ones as small as rounding. The worst violation is known by all points of a finite set, by
mixed-integer programming (HiGHS through scipy) of piecewise linear networks on polytopes, else by a search.
Every problem is decided by the plan with attacks, by the plan without attacks, and by one method alone, which
goes round. Wrong is a HOLDS beside a point that breaks the property by more than float64 rounding, or a
VIOLATED whose witness does not lie in the set and break the property again.

`--out` keeps every problem at once: a run that was stopped goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _rows import Row, machine, markdown, write_json
from rich.progress import Progress

from robustbench_local.cascade import cascade_all, find_methods
from robustbench_local.evaluation import Cases
from robustbench_local.planner import decide
from robustbench_local.problems import problems_of
from robustbench_local.random_oracles import milp_points
from robustbench_local.random_problems import FAMILIES, SAMPLES, Problem, random_problem
from robustbench_local.results import Result
from robustbench_local.specs import Choice, Query

METHODS = (
    "ibp",
    "crown",
    "alpha-crown",
    "bab",
    "split",
    "milp",
    "lp",
    "forward",
    "crown-ibp",
    "invprop",
    "sdp",
)
PLAN, BLIND = "plan", "plan without attacks"


def known(number: int) -> tuple[Problem, str]:
    """The problem and how its truth is known."""
    solved: list[int] = []

    def oracle(query: Query) -> list[torch.Tensor]:
        found = milp_points(query)
        solved.append(len(found))
        return found

    problem = random_problem(number, oracle=oracle)
    if isinstance(problem.query.inputs, Choice):
        return problem, "all points"
    return problem, "MILP" if solved[0] else "search"


def runs(number: int, seconds: float) -> dict[str, Callable[[list[Cases]], Result]]:
    """What decides the problem: name -> decider."""
    name = METHODS[number % len(METHODS)]
    return {
        PLAN: lambda batches: decide(batches, timeout=seconds),
        BLIND: lambda batches: decide(batches, timeout=seconds, attacks=False),
        name: lambda batches: cascade_all(batches, find_methods((name,)), timeout=seconds),
    }


def judged(number: int, seconds: float) -> dict[str, Any]:
    """One line of the journal: what every decider said, and what was wrong."""
    problem, oracle = known(number)
    batches = problems_of(None, problem.query, None, device=None)
    verdicts: dict[str, list[str]] = {}
    faults: list[str] = []
    for name, run in runs(number, seconds).items():
        cases = run(batches).cases
        verdicts[name] = [case.verdict.value[0] for case in cases]
        found = problem.faults([case.verdict for case in cases], [case.witness for case in cases])
        faults += [f"{name}: {fault}" for fault in found]
    facts = {"number": number, "family": problem.family, "set": problem.kind, "property": problem.shape}
    return {**facts, "oracle": oracle, "gaps": problem.gaps.tolist(), "verdicts": verdicts, "faults": faults}


def kept(path: Path | None) -> list[dict[str, Any]]:
    """The lines of a journal; one that was cut short does not count, and is taken off the file."""
    if path is None or not path.exists():
        return []
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        path.write_bytes(whole)
    return [json.loads(line) for line in whole.splitlines()]


def sweep(count: int, seconds: float, cpu: float, out: Path | None) -> list[dict[str, Any]]:
    """The lines of the first `count` problems, or of as many as `cpu` seconds allow."""
    lines = {line["number"]: line for line in kept(out)}
    start = time.process_time()
    with Progress() as progress:
        for number in progress.track(range(count), description="problems"):
            if number in lines:
                continue
            if time.process_time() - start > cpu:
                break
            lines[number] = judged(number, seconds)
            for fault in lines[number]["faults"]:
                progress.console.print(fault)
            if out is not None:
                with open(out, "a", encoding="utf-8") as stream:
                    stream.write(json.dumps(lines[number]) + "\n")
    return [lines[number] for number in sorted(lines) if number < count]


def rows_of(lines: list[dict[str, Any]], goal: int) -> list[Row]:
    """Problems, verdicts of every kind, and the wrong ones."""

    def row(case: str, metric: str, ours: float, goal: float, met: bool) -> Row:
        return Row("soundness_verdicts", case, metric, ours, None, "", None, goal, met)

    wrong = sum(len(line["faults"]) for line in lines)
    oracles = Counter(line["oracle"] for line in lines)
    found = [
        row("all", "networks", len(lines), goal, len(lines) >= goal),
        row("all", "wrong", wrong, 0, wrong == 0),
    ]
    found += [row("all", f"networks, truth by {name}", n, 0, True) for name, n in sorted(oracles.items())]
    for name in (PLAN, BLIND, "single methods"):
        said: Counter[str] = Counter()
        clear: Counter[bool] = Counter()
        for line in lines:
            chosen = [
                k
                for k in line["verdicts"]
                if (k not in (PLAN, BLIND) if name == "single methods" else k == name)
            ]
            for word, gap in zip(line["verdicts"][chosen[0]], line["gaps"], strict=True):
                said[word] += 1
                if gap <= -1e-3:
                    clear[word == "H"] += 1
        found += [row(name, word, said[word[0]], 0, True) for word in ("HOLDS", "VIOLATED", "UNKNOWN")]
        share = clear[True] / max(1, sum(clear.values()))
        found.append(row(name, "HOLDS, share of those true by 0.001 or more", share, 0, True))
    return found


def main(arguments: list[str] | None = None) -> list[Row]:
    """Runs the sweep and returns its rows."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--count", type=int, default=3000, help=f"networks, with {SAMPLES} queries each")
    parser.add_argument("--timeout", type=float, default=0.5, help="seconds of each of three verdicts")
    parser.add_argument(
        "--cpu-seconds", type=float, default=float("inf"), help="stop then; --out goes on later"
    )
    parser.add_argument("--out", type=Path, help="journal: a line for each network")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    lines = sweep(options.count, options.timeout, options.cpu_seconds, options.out)
    rows = rows_of(lines, options.count)
    write_json(rows, options.json)
    print(f"{len(lines)} networks of {len(FAMILIES)} families, {SAMPLES * len(lines)} queries")
    if options.markdown:
        print(machine(), markdown(rows), sep="\n\n")
    return rows


if __name__ == "__main__":
    main()

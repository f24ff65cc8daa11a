"""Competition instances beside two peers: solved and seconds per benchmark, and nothing wrong.

    python benchmarks/competition.py --peer-rows --out rows.jsonl --json competition.json
    python benchmarks/competition.py --out rows.jsonl --json competition.json
    python benchmarks/competition.py --no-attack --timeout 20

Needs RBL_VNNCOMP, a folder as `rbl competition` takes it, with `peers-2core-60s.csv` (id, benchmark, tool,
result, seconds, cap_s). `--peer-rows`: only instances that the peers ran. `--out` keeps every row at once: a
run that was stopped goes on, and a run of all rows after one of the peers' rows computes the rest.

The peers ran each instance in a fresh process; ours is one warm process, as the command is meant to be used.
Seconds of ours are the rows' wall clock, without the process's start, which is printed beside them.
`--no-attack` runs the `sat` rows without attacks: no row may say HOLDS.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_START = time.perf_counter()

import torch  # noqa: E402
from _rows import Row, machine, markdown, write_json  # noqa: E402

from robustbench_local.competition import (  # noqa: E402
    Instance,
    Journal,
    Settings,
    compete,
    everything,
    read_instances,
    selected,
    total,
    without_attacks,
)
from robustbench_local.competition import Row as Result  # noqa: E402

PEERS = "peers-2core-60s.csv"
_READY = time.perf_counter() - _START


@dataclass(frozen=True)
class Peer:
    """One peer's result on one instance: whether it gave a verdict, and the process's seconds."""

    solved: bool
    seconds: float


def peers_of(folder: Path) -> dict[str, dict[str, Peer]]:
    """tool -> id -> result."""
    found: dict[str, dict[str, Peer]] = defaultdict(dict)
    with open(folder / PEERS, encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            solved = row["result"] in ("sat", "unsat")
            found[row["tool"]][row["id"]] = Peer(solved, float(row["seconds"]))
    return dict(found)


def compared(rows: Sequence[Result], peers: dict[str, dict[str, Peer]]) -> list[Row]:
    """Solved and seconds of every benchmark and of all, on the instances that a peer ran, too."""
    found: list[Row] = []
    for tool, results in peers.items():
        groups: dict[str, list[Result]] = defaultdict(list)
        for row in rows:
            if row.id in results:
                groups[row.benchmark].append(row)
                groups["all"].append(row)
        for name, own in sorted(groups.items(), key=lambda item: item[0] == "all"):
            theirs = [results[row.id] for row in own]
            solved, peer = sum(row.solved for row in own), sum(one.solved for one in theirs)
            case = f"{name} ({len(own)})"
            ratio = solved / peer if peer else math.inf if solved else 1.0
            wanted = peer + 1 if name == "all" else peer
            met = solved >= wanted
            found.append(Row("competition", case, "solved", solved, peer, tool, _finite(ratio), wanted, met))
            seconds, other = sum(row.seconds for row in own), sum(one.seconds for one in theirs)
            ratio = other / max(seconds, 1e-9)
            found.append(Row("competition", case, "seconds", seconds, other, tool, ratio, 1.0, ratio >= 1.0))
    return found


def _finite(ratio: float) -> float | None:
    return ratio if math.isfinite(ratio) else None


def alone(rows: Sequence[Result]) -> list[Row]:
    """What needs no peer: wrong verdicts, rows over their time, and all that was solved."""
    whole = total(rows)
    case = f"all ({len(rows)})"
    numbers = (("wrong", whole.wrong, 0), ("late", whole.late, 0), ("failed", whole.failed, 0))
    found = [Row("competition", case, m, n, None, "", None, goal, n <= goal) for m, n, goal in numbers]
    found.append(Row("competition", case, "solved", whole.solved, None, "", None, 0, True))
    return [*found, Row("competition", case, "seconds", whole.seconds, None, "", None, 0, True)]


def chosen(folder: Path, options: argparse.Namespace, peers: dict[str, dict[str, Peer]]) -> list[Instance]:
    """The instances, those that peers ran first."""
    instances = selected(read_instances(folder), options.only)
    ran = {id_ for results in peers.values() for id_ in results}
    instances.sort(key=lambda one: one.id not in ran)  # stable: otherwise in the list's order
    if options.peer_rows:
        instances = [one for one in instances if one.id in ran]
    if options.no_attack:
        instances = [one for one in instances if one.expected == "sat"]
    return instances[: options.limit]


def main(arguments: list[str] | None = None) -> int:
    """1 if a verdict is wrong, else 0. A goal that is not met is no failure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--out", type=Path, help="keep the instances' rows here, and go on from it")
    parser.add_argument("--timeout", type=float, default=60.0)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="benchmarks or instances")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--peer-rows", action="store_true", help="only instances that the peers ran")
    parser.add_argument("--no-attack", action="store_true", help="sat rows, attacks off: never HOLDS")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if "RBL_VNNCOMP" not in os.environ:
        print("RBL_VNNCOMP names no folder of instances: nothing to run", file=sys.stderr)
        write_json([], options.json)
        return 0
    folder = Path(os.environ["RBL_VNNCOMP"])
    peers = peers_of(folder) if (folder / PEERS).is_file() else {}

    def finished(row: Result, new: bool) -> None:
        mark = "WRONG" if row.wrong else "" if new else "known"
        print(
            f"{row.id:24} {row.verdict:8} {row.seconds:7.2f} s  {row.reason or row.stage} {mark}", flush=True
        )

    rows = compete(
        chosen(folder, options, peers),
        Settings(options.timeout, attacks=not options.no_attack),
        decider=without_attacks if options.no_attack else everything,
        journal=None if options.out is None else Journal(options.out),
        finished=finished,
    )
    found = alone(rows) if options.no_attack else [*compared(rows, peers), *alone(rows)]
    print(f"{machine()}\nstart of the process: {_READY:.1f} s\n\n{markdown(found)}")
    write_json(found, options.json)
    return int(any(row.wrong for row in rows))


if __name__ == "__main__":
    sys.exit(main())

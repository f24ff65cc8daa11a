"""Benchmark rows, their timing, and how they are written: one JSON list, one Markdown table."""

from __future__ import annotations

import gc
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

__all__ = ["Pair", "Row", "interleaved", "machine", "markdown", "read_json", "write_json"]


@dataclass(frozen=True)
class Row:
    """One number of ours beside a peer's. `ratio` > 1 means that ours is better; None: no peer ran."""

    bench: str
    case: str
    metric: str
    ours: float
    peer: float | None
    peer_name: str
    ratio: float | None
    goal: float
    met: bool


@dataclass(frozen=True)
class Pair:
    """Median seconds of ours and the peer's; median ratio (peer / ours) of neighbouring runs."""

    ours: float
    peer: float
    ratio: float


def interleaved(
    ours: Callable[[], object], peer: Callable[[], object], *, repeats: int, seconds: float
) -> Pair:
    """Times both in turns, in alternating order, after one warm-up of each.

    At least two rounds, at most `repeats`, and no new round once `seconds` are over; a warm-up that takes
    longer than that is the only round. Neighbouring runs see the same load of a shared machine, so that
    the ratio is steadier than either time.
    """
    times = [(_timed(ours), _timed(peer))]
    if sum(times[0]) < seconds:
        times.clear()
    gc.collect()
    start = time.perf_counter()
    for turn in range(0 if times else repeats):
        if turn % 2 == 0:
            a, b = _timed(ours), _timed(peer)
        else:
            b, a = _timed(peer), _timed(ours)
        times.append((a, b))
        if turn >= 1 and time.perf_counter() - start > seconds:
            break
    ratio = statistics.median(b / a for a, b in times)
    return Pair(statistics.median(a for a, _ in times), statistics.median(b for _, b in times), ratio)


def _timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def write_json(rows: Sequence[Row], path: Path | None) -> None:
    """Writes the rows as a JSON list; nothing where `path` is None."""
    if path is None:
        return
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def read_json(path: Path) -> list[Row]:
    """The rows that `write_json` wrote."""
    return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))]


def markdown(rows: Sequence[Row]) -> str:
    """A Markdown table of the rows."""
    lines = ["| case | metric | ours | peer | peer's name | ratio | goal | met |", "|---" * 8 + "|"]
    for row in rows:
        met = "yes" if row.met else "**no**"
        cells = (row.ours, row.peer, row.peer_name or "-", row.ratio, row.goal, met)
        lines.append(f"| {row.case} | {row.metric} | " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines)


def _cell(value: float | str | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:.3g}" if math.isfinite(value) else str(value)


def machine() -> str:
    """Date, kind of machine and versions in one line."""
    packages = []
    for name in ("torch", "numpy", "auto-LiRPA", "robustbench-local"):
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    where = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    packages.insert(0, f"Python {platform.python_version()}")
    return f"{date.today().isoformat()}; {where}; {', '.join(packages)}"

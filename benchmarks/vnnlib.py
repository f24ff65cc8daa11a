"""Reading VNN-LIB 1.0: seconds and memory for large files, and for a folder of real ones.

    python benchmarks/vnnlib.py --json vnnlib.json --markdown
    python benchmarks/vnnlib.py --folder VNNCOMP    # also every .vnnlib file below this folder

The large files are written at random in the two shapes of the largest files of VNN-COMP: one statement per
bound of an image (vggnet16, 17 MB) and thousands of clauses with a box each (nn4sys, 95 MB). The peer is
the least that any reader does: decode the text and find all its tokens with one regular expression.
"""

from __future__ import annotations

import argparse
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from _rows import Row, interleaved, machine, markdown, write_json
from rich.progress import track

from robustbench_local.specs import read_vnnlib

SHAPES = ("image", "clauses")
GOALS = {17: 3.0, 95: 20.0}  # MB -> seconds; in between by size
MEMORY_GOAL = 10.0  # times the size of the file
WORDS = re.compile(r"[()]|[^\s()]+")


def image_text(size: int, noise: random.Random) -> Iterator[str]:
    """About `size` bytes of declarations and one-literal assertions."""
    inputs = max(1, size // 99)
    yield "".join(f"(declare-const X_{i} Real)\n" for i in range(inputs))
    yield "".join(f"(declare-const Y_{i} Real)\n" for i in range(1000))
    for i in range(inputs):
        value = noise.uniform(-2, 2)
        yield f"(assert (<= X_{i} {value + 0.01:.9f}))\n(assert (>= X_{i} {value:.9f}))\n"
    yield "(assert (or " + " ".join(f"(and (>= Y_{i} Y_7))" for i in range(1000) if i != 7) + "))\n"


def clauses_text(size: int, noise: random.Random) -> Iterator[str]:
    """About `size` bytes of one disjunction over boxes of 154 inputs."""
    yield (
        "".join(f"(declare-const X_{i} Real)\n" for i in range(154))
        + "(declare-const Y_0 Real)\n(assert (or\n"
    )
    for _ in range(max(1, size // 4380)):
        box = " ".join(f"(>= X_{i} {noise.random():.1f}) (<= X_{i} 1.0)" for i in range(154))
        yield f"(and {box} (<= Y_0 {noise.random()}))\n"
    yield "))\n"


TEXTS = {"image": image_text, "clauses": clauses_text}


def tokenize(path: Path) -> int:
    """The peer: the number of tokens."""
    return sum(1 for _ in WORDS.finditer(path.read_text(encoding="utf-8")))


def peak_memory(path: Path) -> float:
    """Bytes above the peak of the imports, from a process of its own (Linux)."""
    code = (
        "import pathlib, re, sys; from robustbench_local.specs import read_vnnlib\n"
        "status = pathlib.Path('/proc/self/status')\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s*(\\d+)', status.read_text())[1])\n"
        "before = peak(); read_vnnlib(sys.argv[1]); print(1024 * (peak() - before))"
    )
    command = [sys.executable, "-c", code, str(path)]
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    return float(done.stdout)


def large_file(shape: str, megabytes: int, folder: Path, options: argparse.Namespace) -> Iterator[Row]:
    """Rows of one written file."""
    path = folder / f"{shape}-{megabytes}.vnnlib"
    with path.open("w", encoding="utf-8") as stream:
        stream.writelines(TEXTS[shape](megabytes * 1_000_000, random.Random(0)))
    case, size = f"{shape}/{megabytes}MB", path.stat().st_size
    goal = next((s for m, s in GOALS.items() if megabytes <= m), 20.0 * megabytes / 95)
    pair = interleaved(
        lambda: read_vnnlib(path), lambda: tokenize(path), repeats=options.repeats, seconds=options.seconds
    )
    yield Row(
        "vnnlib", case, "seconds", pair.ours, pair.peer, "tokens only", pair.ratio, goal, pair.ours <= goal
    )
    share = peak_memory(path) / size
    yield Row("vnnlib", case, "peak memory / size", share, None, "", None, MEMORY_GOAL, share <= MEMORY_GOAL)
    path.unlink()


def real_files(folder: Path) -> Iterator[Row]:
    """Rows over all files below a folder: how many load, and the median seconds of one."""
    times, failed = [], 0
    paths = [p for p in sorted(folder.rglob("*.vnnlib*")) if p.is_file()]
    for path in track(paths, description="vnnlib files"):
        start = time.perf_counter()
        try:
            read_vnnlib(path)
        except Exception as error:
            print(f"{path}: {error}", file=sys.stderr)
            failed += 1
        times.append(time.perf_counter() - start)
    if times:
        case, middle, most = f"{len(times)} files", statistics.median(times), max(times)
        yield Row("vnnlib", case, "files not read", failed, None, "", None, 0, failed == 0)
        yield Row("vnnlib", case, "median seconds", middle, None, "", None, 2.0, middle <= 2.0)
        yield Row("vnnlib", case, "longest seconds", most, None, "", None, 20.0, most <= 20.0)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--only", nargs="+", choices=SHAPES, default=list(SHAPES), help="shapes of file")
    parser.add_argument("--megabytes", nargs="+", type=int, default=[17, 95], help="sizes of file")
    parser.add_argument("--folder", type=Path, help="read all real files below this folder too")
    parser.add_argument("--repeats", type=int, default=3, help="rounds per case, at most")
    parser.add_argument("--seconds", type=float, default=20.0, help="no new round of a case after this time")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> list[Row]:
    """Runs the cases and returns their rows."""
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    rows: list[Row] = []
    tasks = [(shape, size) for shape in options.only for size in options.megabytes]
    with tempfile.TemporaryDirectory() as folder:
        for shape, size in track(tasks, description="vnnlib"):
            rows += large_file(shape, size, Path(folder), options)
            write_json(rows, options.json)
    if options.folder is not None:
        rows += real_files(options.folder)
        write_json(rows, options.json)
    if options.markdown:
        print(machine(), markdown(rows), sep="\n\n")
    return rows


if __name__ == "__main__":
    main()

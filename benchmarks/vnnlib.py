"""Reading and lowering VNN-LIB: seconds and memory for large files, and every row of real instances.

    python benchmarks/vnnlib.py --json vnnlib.json --markdown
    python benchmarks/vnnlib.py --folder VNNCOMP    # also every row of VNNCOMP/instances.csv

The large files are written at random in the shapes of the largest files of VNN-COMP: one statement per
bound of an image (vggnet16, 17 MB) and thousands of clauses with a box each (nn4sys, 95 MB), in both versions
of the format. Each is read and lowered to its queries. The peer is the least that any reader does: decode the
text and find all its tokens with one regular expression.

Of a folder with an `instances.csv` (columns id, onnx, vnnlib), every row's network is loaded and its property
lowered; of another folder, every file below it is read. Their times are CPU times.
"""

from __future__ import annotations

import argparse
import csv
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from _rows import Row, interleaved, machine, markdown, write_json
from rich.progress import track
from torch import nn

from robustbench_local.specs import Query, Vnnlib2Property, read_vnnlib
from robustbench_local.verifiers import GraphNetwork, from_onnx

GOALS = {17: 3.0, 95: 20.0}  # MB -> seconds; in between by size
MEMORY_GOAL = 10.0  # times the size of the file
ROW_GOAL = 2.0  # median seconds of an instance
WORDS = re.compile(r"[()]|[^\s()]+")
CLAUSE_INPUTS = 154


def image_text(size: int, noise: random.Random) -> Iterator[str]:
    """About `size` bytes of declarations and one-literal assertions."""
    inputs = max(1, size // 99)
    yield "".join(f"(declare-const X_{i} Real)\n" for i in range(inputs))
    yield "".join(f"(declare-const Y_{i} Real)\n" for i in range(1000))
    yield from image_bounds([f"X_{i}" for i in range(inputs)], noise)
    yield "(assert (or " + " ".join(f"(and (>= Y_{i} Y_7))" for i in range(1000) if i != 7) + "))\n"


def image_text_2(size: int, noise: random.Random) -> Iterator[str]:
    """The same in version 2.0."""
    inputs = max(1, size // 78)
    yield header(inputs, 1000)
    yield from image_bounds([f"X[0,{i}]" for i in range(inputs)], noise)
    yield "(assert (or " + " ".join(f"(>= Y[0,{i}] Y[0,7])" for i in range(1000) if i != 7) + "))\n"


def image_bounds(names: list[str], noise: random.Random) -> Iterator[str]:
    """Two assertions per input."""
    for name in names:
        value = noise.uniform(-2, 2)
        yield f"(assert (<= {name} {value + 0.01:.9f}))\n(assert (>= {name} {value:.9f}))\n"


def clauses_text(size: int, noise: random.Random) -> Iterator[str]:
    """About `size` bytes of one disjunction over boxes of 154 inputs."""
    yield (
        "".join(f"(declare-const X_{i} Real)\n" for i in range(CLAUSE_INPUTS)) + "(declare-const Y_0 Real)\n"
    )
    yield from clauses([f"X_{i}" for i in range(CLAUSE_INPUTS)], "Y_0", max(1, size // 4380), noise)


def clauses_text_2(size: int, noise: random.Random) -> Iterator[str]:
    """The same in version 2.0."""
    yield header(CLAUSE_INPUTS, 1)
    names = [f"X[0,{i}]" for i in range(CLAUSE_INPUTS)]
    yield from clauses(names, "Y[0,0]", max(1, size // 5300), noise)


def clauses(names: list[str], output: str, count: int, noise: random.Random) -> Iterator[str]:
    """One assertion: an `or` of `count` boxes, each with a limit of the output."""
    yield "(assert (or\n"
    for _ in range(count):
        box = " ".join(f"(>= {name} {noise.random():.1f}) (<= {name} 1.0)" for name in names)
        yield f"(and {box} (<= {output} {noise.random():.12f}))\n"
    yield "))\n"


def header(inputs: int, outputs: int) -> str:
    """What a file of version 2.0 begins with."""
    shapes = f"(declare-input X real [1,{inputs}]) (declare-output Y real [1,{outputs}])"
    return f"(vnnlib-version <2.0>)\n(declare-network f {shapes})\n"


TEXTS: dict[str, Callable[[int, random.Random], Iterator[str]]] = {
    "image": image_text,
    "clauses": clauses_text,
    "image-2.0": image_text_2,
    "clauses-2.0": clauses_text_2,
}


def lowered(path: Path) -> list[Query]:
    """The queries of a file, of a network that is not there."""
    found = read_vnnlib(path)
    if isinstance(found, Vnnlib2Property):
        return found.queries(nn.Identity())
    return found.queries(nn.Identity(), (found.inputs,), found.outputs)


def tokenize(path: Path) -> int:
    """The peer: the number of tokens."""
    return sum(1 for _ in WORDS.finditer(path.read_text(encoding="utf-8")))


def peak_memory(path: Path) -> float:
    """Bytes above the peak of the imports, from a process of its own (Linux)."""
    code = (
        "import pathlib, re, sys; sys.path.insert(0, 'benchmarks'); from vnnlib import lowered\n"
        "status = pathlib.Path('/proc/self/status')\n"
        "peak = lambda: int(re.search(r'VmHWM:\\s*(\\d+)', status.read_text())[1])\n"
        "before = peak(); kept = lowered(pathlib.Path(sys.argv[1])); print(1024 * (peak() - before))"
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
        lambda: lowered(path), lambda: tokenize(path), repeats=options.repeats, seconds=options.seconds
    )
    name, fast = "tokens only", pair.ours <= goal
    yield Row("vnnlib", case, "seconds", pair.ours, pair.peer, name, pair.ratio, goal, fast)
    start = time.process_time()
    lowered(path)
    spent = time.process_time() - start
    yield Row("vnnlib", case, "CPU seconds", spent, None, "", None, goal, spent <= goal)
    share = peak_memory(path) / size
    yield Row("vnnlib", case, "peak memory / size", share, None, "", None, MEMORY_GOAL, share <= MEMORY_GOAL)
    path.unlink()


def instance(folder: Path, row: dict[str, str]) -> None:
    """Loads a row's network and lowers its property."""
    network = GraphNetwork(from_onnx(folder / row["onnx"]))
    found = read_vnnlib(folder / row["vnnlib"])
    if isinstance(found, Vnnlib2Property):
        found.queries(network)
    else:
        found.queries(network, network.graph.input_shape, found.outputs)


def real_files(folder: Path) -> Iterator[Row]:
    """How many rows of the instances, or files without any, cannot be loaded, and CPU seconds of one."""
    table = folder / "instances.csv"
    works: dict[str, Callable[[], object]] = {}
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                works[row["id"]] = lambda row=row: instance(folder, row)  # type: ignore[misc]
    else:
        for path in sorted(folder.rglob("*.vnnlib*")):
            works[str(path)] = lambda path=path: lowered(path)  # type: ignore[misc]
    times, failed = [], 0
    for name, work in track(works.items(), description="real files"):
        start = time.process_time()
        try:
            work()
        except Exception as error:
            print(f"{name}: {error}", file=sys.stderr)
            failed += 1
        times.append(time.process_time() - start)
    if times:
        case, middle, most = f"{len(times)} instances", statistics.median(times), max(times)
        yield Row("vnnlib", case, "not loaded", failed, None, "", None, 0, failed == 0)
        yield Row("vnnlib", case, "median CPU seconds", middle, None, "", None, ROW_GOAL, middle <= ROW_GOAL)
        yield Row("vnnlib", case, "longest CPU seconds", most, None, "", None, 20.0, most <= 20.0)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--only", nargs="+", choices=TEXTS, default=list(TEXTS), help="shapes of file")
    parser.add_argument("--megabytes", nargs="+", type=int, default=[17, 95], help="sizes of file")
    parser.add_argument("--folder", type=Path, help="load all real instances of this folder too")
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

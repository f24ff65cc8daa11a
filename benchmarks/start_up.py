"""Times a cold `rbl verify NET.onnx PROPERTY.vnnlib` from start to end of the process, beside `import torch`.

    python benchmarks/start_up.py --json start_up.json --markdown

Network (5-16-16-3, ReLU) and property are written to a temporary folder. Python's compiled files are
cached, as an installation by pip leaves them: where `PYTHONDONTWRITEBYTECODE` forbids that, every start
compiles the whole package anew (0.7 s more), so the processes that are timed run without that variable.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import torch
from _rows import Row, machine, markdown, write_json
from onnx import TensorProto, helper, numpy_helper

GOAL = 3.0  # seconds
WIDTHS = (5, 16, 16, 3)
HOLDS = "HOLDS"  # what `rbl verify` says of it


def network(path: Path) -> None:
    """Writes a ReLU network of fixed random weights."""
    random = np.random.default_rng(0)
    nodes, weights, value = [], [], "x"
    for k, (rows, columns) in enumerate(pairwise(WIDTHS)):
        weights += [
            numpy_helper.from_array((random.normal(size=(rows, columns)) / 4).astype(np.float32), f"w{k}"),
            numpy_helper.from_array(random.normal(size=columns).astype(np.float32), f"b{k}"),
        ]
        last = k == len(WIDTHS) - 2
        out = "y" if last else f"h{k}"
        nodes.append(helper.make_node("Gemm", [value, f"w{k}", f"b{k}"], [out]))
        if not last:
            nodes.append(helper.make_node("Relu", [out], [f"r{k}"]))
            value = f"r{k}"
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, w]) for n, w in (("x", 5), ("y", 3))]
    graph = helper.make_graph(nodes, "small", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)


def property_file(path: Path) -> None:
    """Writes the counterexamples of 'the first output stays below 50'."""
    names = [f"(declare-const X_{i} Real)" for i in range(WIDTHS[0])]
    names += [f"(declare-const Y_{i} Real)" for i in range(WIDTHS[-1])]
    box = [f"(assert (>= X_{i} 0.0))(assert (<= X_{i} 1.0))" for i in range(WIDTHS[0])]
    path.write_text("\n".join([*names, *box, "(assert (>= Y_0 50.0))"]) + "\n", encoding="utf-8")


def timed(command: list[str]) -> tuple[float, float, str]:
    """Wall seconds, CPU seconds and output of a command that must succeed."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, done.stdout


def measure(repeats: int) -> list[Row]:
    """Both in turns, after one warm-up of each that fills the caches of compiled files and of the disk."""
    with tempfile.TemporaryDirectory() as folder:
        net, spec = Path(folder) / "net.onnx", Path(folder) / "property.vnnlib"
        network(net)
        property_file(spec)
        ours = [sys.executable, "-m", "robustbench_local", "verify", str(net), str(spec)]
        alone = [sys.executable, "-c", "import torch"]
        if HOLDS not in timed(ours)[2]:
            raise SystemExit("rbl verify did not prove the property")
        timed(alone)
        pairs = [(timed(ours), timed(alone)) for _ in range(repeats)]
    rows = []
    for k, metric in enumerate(("seconds", "CPU seconds")):
        mine = statistics.median(a[k] for a, _ in pairs)
        torchs = statistics.median(b[k] for _, b in pairs)
        rows.append(
            Row(
                "start_up",
                "rbl verify",
                metric,
                mine,
                torchs,
                "import torch",
                torchs / mine,
                GOAL,
                mine <= GOAL,
            )
        )
    return rows


def main(arguments: list[str] | None = None) -> list[Row]:
    """Runs it and returns the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)  # what `machine` reports
    rows = measure(options.repeats)
    write_json(rows, options.json)
    if options.markdown:
        print(machine(), markdown(rows), sep="\n\n")
    return rows


if __name__ == "__main__":
    main()

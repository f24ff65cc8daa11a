"""Times `rbl demo` (600 test images, 6 radii, 3 models, PGD, IBP and CROWN) and two imports.

    python benchmarks/demo.py --json demo.json --markdown

Writes nothing but the report, into a temporary folder.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from _rows import Row, machine, markdown, write_json

DEMO_SECONDS = 60.0
HEAVY = ("torch.export", "plotly", "cvxpy")


def timed(command: list[str]) -> float:
    """Wall seconds of a command that must succeed."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def demo() -> list[Row]:
    """Seconds and peak memory of one run of the demo in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        seconds = timed([sys.executable, "-m", "robustbench_local", "demo", "--out", folder])
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return [
        Row("demo", "rbl demo", "seconds", seconds, None, "", None, DEMO_SECONDS, seconds <= DEMO_SECONDS),
        Row("demo", "rbl demo", "peak MB", peak, None, "", None, 4096.0, peak <= 4096.0),
    ]


def imports(repeats: int = 5) -> list[Row]:
    """How much `robustbench_local.specs` adds to `import torch`, and whether it pulls in heavy packages."""
    ours = [timed([sys.executable, "-c", "import robustbench_local.specs"]) for _ in range(repeats)]
    torch_alone = [timed([sys.executable, "-c", "import torch"]) for _ in range(repeats)]
    a, b = statistics.median(ours), statistics.median(torch_alone)
    code = (
        f"import sys, torch; new = {{m for m in {HEAVY!r} if m not in sys.modules}}\n"  # beyond torch's own
        "import robustbench_local.specs; print(len(new & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    heavy = float(done.stdout)
    name = "import robustbench_local.specs"
    return [
        Row("demo", name, "seconds", a, b, "import torch", b / a, 0.8, b / a >= 0.8),
        Row("demo", name, "heavy packages", heavy, None, "", None, 0.0, heavy == 0),
    ]


def main(arguments: list[str] | None = None) -> list[Row]:
    """Runs both and returns the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    rows = [*imports(), *demo()]
    write_json(rows, options.json)
    if options.markdown:
        print(machine(), markdown(rows), sep="\n\n")
    return rows


if __name__ == "__main__":
    main()

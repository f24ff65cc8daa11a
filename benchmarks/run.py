"""Runs every benchmark and rewrites the tables of RESULTS.md.

    python benchmarks/run.py                 # everything, about an hour on 2 cores
    python benchmarks/run.py --only pgd demo

Times are comparable within one run only.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from _rows import machine, markdown, read_json, write_json

FOLDER = Path(__file__).resolve().parent
RESULTS = FOLDER / "RESULTS.md"
SCRIPTS = {
    "bounds": ["--memory"],
    "pgd": [],
    "demo": [],
    "start_up": [],
    "vnnlib": [],
    "tightness": [],
    "soundness": [],
    "digits_grid": [],
    "test_set": [],
    "scaling": [],
}


def table(name: str, text: str, body: str) -> str:
    """`text` with the section of benchmark `name` replaced by `body`, or appended where there is none."""
    section = f"<!-- begin {name} -->\n{body}\n<!-- end {name} -->"
    pattern = re.compile(rf"<!-- begin {name} -->.*?<!-- end {name} -->", re.DOTALL)
    if pattern.search(text):
        return pattern.sub(lambda _: section, text)
    return f"{text.rstrip()}\n\n## {name}\n\n{section}\n"


def main(arguments: list[str] | None = None) -> int:
    """Each script in a process of its own; 1 if one failed, else 0. A goal that is not met is no failure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write all rows to this file")
    parser.add_argument("--only", nargs="+", choices=sorted(SCRIPTS), default=list(SCRIPTS))
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)  # what `machine` reports
    rows, failed = [], False
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only:
            path = Path(folder) / f"{name}.json"
            command = [sys.executable, str(FOLDER / f"{name}.py"), "--json", str(path)]
            command += ["--threads", str(options.threads), *SCRIPTS[name]]
            if subprocess.run(command, check=False).returncode != 0 or not path.is_file():
                print(f"benchmark {name} failed", file=sys.stderr)
                failed = True
                continue
            found = read_json(path)
            rows += found
            text = table(name, RESULTS.read_text(encoding="utf-8"), f"{machine()}\n\n{markdown(found)}")
            RESULTS.write_text(text, encoding="utf-8")
    write_json(rows, options.json)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

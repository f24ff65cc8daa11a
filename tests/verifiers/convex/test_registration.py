"""The convex verifiers stand in the registry, load nothing heavy before use, and have a benchmark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from robustbench_local.verifiers import VERIFIERS, Verifier

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def test_they_are_registered() -> None:
    for name in ("lp", "milp", "sdp"):
        assert isinstance(VERIFIERS[name], Verifier) and VERIFIERS[name].name == name


def test_importing_them_is_light() -> None:
    code = "import sys, robustbench_local.verifiers.convex; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"cvxpy", "scipy", "highspy", "clarabel", "scs"} & set(done.stdout.split())


def test_the_benchmark_writes_the_contracted_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "tightness.py"), "--json", str(path), "--markdown"]
    command += ["--only", "digits-mlp", "--images", "1", "--threads", "1", "--method", "ibp", "crown", "lp"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    rows = json.loads(path.read_text(encoding="utf-8"))
    keys = ["bench", "case", "metric", "ours", "peer", "peer_name", "ratio", "goal", "met"]
    assert [list(row) for row in rows] == [keys] * 6 and "| digits-mlp/" in done.stdout
    ibp, crown, lp = (row["ours"] for row in rows if "width" in row["metric"])
    assert ibp > crown >= lp > 0

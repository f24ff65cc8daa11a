"""VNN-COMP's own interface: the result file, and the three scripts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from robustbench_local.cli import run
from robustbench_local.specs import VnnlibProperty, read_vnnlib

from .folders import folder

SCRIPTS = Path(__file__).resolve().parents[2] / "vnncomp"

needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="the scripts are bash")


@pytest.mark.parametrize(
    ("network", "property_", "word", "code"),
    [
        ("net.onnx", "above.vnnlib", "unsat", 0),
        ("net.onnx", "inside.vnnlib", "sat", 0),
        ("packed.onnx.gz", "packed.vnnlib.gz", "sat", 0),
        ("net.onnx", "broken.vnnlib", "unknown", 2),
        ("gone.onnx", "above.vnnlib", "unknown", 2),
    ],
)
def test_result_files(tmp_path: Path, network: str, property_: str, word: str, code: int) -> None:
    place, result = folder(tmp_path), tmp_path / "result.txt"
    assert run(["vnncomp", str(place / network), str(place / property_), str(result)]) == code
    text = result.read_text(encoding="utf-8")
    assert text.split("\n")[0] == word and (word == "sat" or text == f"{word}\n")
    if word == "sat":
        assert re.fullmatch(r"sat\n\((\(X_\d+ \S+\)\n)+(\(Y_\d+ \S+\)\n?)+\)\n", text)
        values = {
            name: float(value) for name, value in re.findall(r"\((\w+) (\S+)\)", text.replace("))", ")"))
        }
        assert list(values) == ["X_0", "X_1", "Y_0"]
        found = read_vnnlib(place / property_)
        assert isinstance(found, VnnlibProperty)
        x = torch.tensor([[values["X_0"], values["X_1"]]], dtype=torch.float64)
        assert bool(found.unsafe(x, torch.tensor([[values["Y_0"]]], dtype=torch.float64)))
        exact = max(0.0, float(x.sum())) - max(0.0, float(x[0, 0] - x[0, 1]))
        assert values["Y_0"] == pytest.approx(exact, rel=1e-6)  # the outputs are onnxruntime's, in float32


def test_no_time_and_no_device(tmp_path: Path) -> None:
    place, result = folder(tmp_path), tmp_path / "result.txt"
    files = [str(place / "net.onnx"), str(place / "above.vnnlib"), str(result)]
    assert run(["vnncomp", *files, "--timeout", "0"]) == 0
    assert result.read_text(encoding="utf-8") == "timeout\n"
    assert run(["vnncomp", *files, "--device", "cuda:99"]) == 2
    assert result.read_text(encoding="utf-8") == "unknown\n"


@needs_bash
def test_the_scripts_run_an_instance(tmp_path: Path) -> None:
    place, result = folder(tmp_path / "in put"), tmp_path / "result.txt"
    rbl = tmp_path / "rbl"
    rbl.write_text(f'#!/bin/bash\nexec "{sys.executable}" -m robustbench_local "$@"\n', encoding="utf-8")
    rbl.chmod(0o755)
    environment = {**os.environ, "RBL": str(rbl), "PYTHONPATH": str(SCRIPTS.parent)}

    def call(name: str, *words: object) -> int:
        command = ["bash", str(SCRIPTS / name), *map(str, words)]
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode

    packed = place / "packed.onnx", place / "packed.vnnlib"  # only the .gz are there
    assert call("prepare_instance.sh", "v1", "any", *packed) == 0
    assert call("run_instance.sh", "v1", "any", *packed, result, 20) == 0
    assert result.read_text(encoding="utf-8").startswith("sat\n((X_0 ")
    result.unlink()
    gone = place / "gone.onnx", place / "above.vnnlib"
    assert call("prepare_instance.sh", "v1", "any", *gone) == 1
    assert call("run_instance.sh", "v2", "any", *packed, result, 20) == 1 and not result.exists()
    assert call("prepare_instance.sh", "v1", "any") == 1
    environment["RBL"] = str(tmp_path / "no-tool")  # whatever happens, there is a result
    assert call("run_instance.sh", "v1", "any", *packed, result, 20) == 0
    assert result.read_text(encoding="utf-8") == "unknown\n"


@needs_bash
@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.sh")), ids=lambda path: path.name)
def test_the_scripts_are_sound(path: Path) -> None:
    assert subprocess.run(["bash", "-n", str(path)], check=False).returncode == 0
    assert os.access(path, os.X_OK) and "set -eu" in path.read_text(encoding="utf-8")
    if shutil.which("shellcheck"):
        assert subprocess.run(["shellcheck", str(path)], check=False).returncode == 0

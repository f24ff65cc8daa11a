"""`rbl.export_onnx` and `rbl export`: files that compute what their models compute."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

import robustbench_local as rbl
from robustbench_local.cli import run
from robustbench_local.errors import GraphError, ShapeError
from robustbench_local.exporting import largest_difference
from robustbench_local.verifiers import from_onnx

MODEL = "digits-cnn:certified"


def test_a_zoo_model_becomes_a_file(tmp_path: Path) -> None:
    path = rbl.export_onnx(MODEL, tmp_path / "net.onnx")
    network = rbl.load_model(MODEL).requires_grad_(False)
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(from_onnx(path).run(x), network(x), atol=1e-5)
    difference, by = largest_difference(MODEL, path)
    assert difference < 1e-5 and by in ("onnxruntime", "from_onnx")


def test_a_file_becomes_another_file(tmp_path: Path) -> None:
    first = rbl.export_onnx(MODEL, tmp_path / "first.onnx")
    path = rbl.export_onnx(first, tmp_path / "other.onnx", opset=13, input_name="x", output_name="y")
    assert largest_difference(first, path)[0] < 1e-6
    model = onnx.load(path)
    assert (model.opset_import[0].version, model.graph.input[0].name) == (13, "x")


def test_modules_need_a_shape(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    with pytest.raises(ShapeError, match="input_shape"):
        rbl.export_onnx(network, tmp_path / "net.onnx")
    path = rbl.export_onnx(network, tmp_path / "net.onnx", input_shape=(3,))
    assert largest_difference(network, path)[0] < 1e-6


def test_the_file_of_another_model_is_told(tmp_path: Path) -> None:
    path = rbl.export_onnx(MODEL, tmp_path / "net.onnx")
    with pytest.raises(GraphError, match="differs from the model"):
        largest_difference("digits-cnn:nominal", path)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, report = tmp_path / "net.onnx", tmp_path / "report.json"
    arguments = ["export", MODEL, str(path), "--input-name", "x", "--opset", "14", "--json", str(report)]
    assert run([*arguments, "--device", "cpu", "--seed", "3"]) == 0
    said = capsys.readouterr().out
    assert "x (N, 1, 8, 8) -> output (N, 10)" in said and "opset 14" in said
    found = json.loads(report.read_text())
    assert found["path"] == str(path) and found["bytes"] == path.stat().st_size
    assert found["input"] == {"name": "x", "shape": [1, 8, 8]} and found["output"]["shape"] == [10]
    assert found["difference"] < 1e-5


def test_a_function_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "mine.py"
    source.write_text("from torch import nn\n\ndef net():\n    return nn.Linear(4, 2)\n", encoding="utf-8")
    assert run(["export", f"{source}:net", str(tmp_path / "net.onnx")]) == 2
    assert "--input-shape" in capsys.readouterr().err
    seeded = "    torch.manual_seed(0)\n    return nn.Linear(4, 2)\n"
    source.write_text(f"import torch\nfrom torch import nn\n\ndef net():\n{seeded}", encoding="utf-8")
    assert run(["export", f"{source}:net", str(tmp_path / "net.onnx"), "--input-shape", "4"]) == 0
    assert "input (N, 4) -> output (N, 2)" in capsys.readouterr().out

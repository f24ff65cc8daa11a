"""ONNX networks under VNN-LIB properties: small files, and competition instances where there are any."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

import robustbench_local as rbl
from robustbench_local.errors import DataError
from robustbench_local.named_models import find_model

INSTANCES = os.environ.get("RBL_VNNCOMP", "")
QUICK = ("rl_benchmarks", "safenlp", "test", "reach_prob_density", "acasxu", "cora", "nn4sys")

BOUNDS = """
(declare-const X_0 Real)
(declare-const X_1 Real)
(declare-const Y_0 Real)
(assert (>= X_0 -1.0))
(assert (<= X_0 1.0))
(assert (>= X_1 -1.0))
(assert (<= X_1 1.0))
"""


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """y = relu(x0 + x1) - relu(x0 - x1), as a file; over [-1, 1]^2 it takes all values of [-2, 2]."""
    weights = {
        "w": np.array([[1, 1], [1, -1]], np.float32),
        "v": np.array([[1, -1]], np.float32),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"], transB=1),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("Gemm", ["r", "v"], ["y"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 1])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    path = tmp_path / "small.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


def verdict(network: Path, condition: str) -> str:
    file = network.with_suffix(".vnnlib")
    file.write_text(BOUNDS + f"(assert {condition})\n", encoding="utf-8")
    return str(rbl.verify(network, file).verdict)


def test_verdicts_of_an_onnx_network(network: Path) -> None:
    assert verdict(network, "(>= Y_0 2.5)") == "HOLDS"
    assert verdict(network, "(>= Y_0 1.5)") == "VIOLATED"
    assert verdict(network, "(or (and (<= Y_0 -2.5)) (and (>= Y_0 2.5)))") == "HOLDS"


def test_an_onnx_network_is_a_model_like_any_other(network: Path) -> None:
    model = find_model(network)
    assert (model.name, model.family) == ("small.onnx", "onnx")
    x = torch.tensor([[0.5, 0.25], [-1.0, 1.0]])
    assert torch.equal(model.network(x), torch.tensor([[0.5], [0.0]]))
    lower, upper = rbl.bounds(model.network, -torch.ones(1, 2), torch.ones(1, 2), method="crown")
    assert float(lower) <= -2 and float(upper) >= 2


def test_a_missing_onnx_file_is_named() -> None:
    with pytest.raises(DataError, match=r"nowhere\.onnx"):
        find_model("nowhere.onnx")


def quick_rows() -> list[dict[str, str]]:
    """The first two instances of the benchmarks that take seconds."""
    if not INSTANCES:
        return []
    with (Path(INSTANCES) / "instances.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [row for name in QUICK for row in [r for r in rows if r["benchmark"] == name][:2]]


@pytest.mark.skipif(not INSTANCES, reason="RBL_VNNCOMP does not name a folder of competition instances")
@pytest.mark.parametrize("row", quick_rows(), ids=lambda row: row["id"])
def test_no_verdict_contradicts_the_known_one(row: dict[str, str]) -> None:
    folder = Path(INSTANCES)
    found = rbl.verify(folder / row["onnx"], folder / row["vnnlib"], timeout=20)
    allowed = {"sat": {"VIOLATED", "UNKNOWN"}, "unsat": {"HOLDS", "UNKNOWN"}}
    assert str(found.verdict) in allowed.get(row["expected"], {"HOLDS", "VIOLATED", "UNKNOWN"})

"""A folder of small instances: one network, properties of every outcome, and rows that cannot be used."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

COLUMNS = ("id", "benchmark", "onnx", "vnnlib", "timeout_s", "expected")

BOUNDS = """
(declare-const X_0 Real)
(declare-const X_1 Real)
(declare-const Y_0 Real)
(assert (>= X_0 -1.0))
(assert (<= X_0 1.0))
(assert (>= X_1 -1.0))
(assert (<= X_1 1.0))
"""

GOOD = (
    ("holds", "small", "net.onnx", "above.vnnlib", "20", "unsat"),
    ("fails", "small", "net.onnx", "inside.vnnlib", "20", "sat"),
    ("both", "other", "net.onnx", "either.vnnlib", "20", "unsat"),
    ("packed", "other", "packed.onnx.gz", "packed.vnnlib.gz", "20", "sat"),
    ("open", "other", "net.onnx", "above.vnnlib", "20", "open"),
)
"""The network's values over the box are those of [-2, 2]."""

BAD = (
    ("no-network", "bad", "gone.onnx", "above.vnnlib", "20", "unsat"),
    ("no-property", "bad", "net.onnx", "gone.vnnlib", "20", "unsat"),
    ("broken-network", "bad", "broken.onnx", "above.vnnlib", "20", "unsat"),
    ("broken-property", "bad", "net.onnx", "broken.vnnlib", "20", "unsat"),
    ("cut-archive", "bad", "cut.onnx.gz", "above.vnnlib", "20", "unsat"),
    ("other-sizes", "bad", "net.onnx", "sizes.vnnlib", "20", "unsat"),
    ("a-folder", "bad", ".", "above.vnnlib", "20", "unsat"),
    ("no-seconds", "bad", "net.onnx", "above.vnnlib", "soon", "unsat"),
    ("minus", "bad", "net.onnx", "above.vnnlib", "-1", "unsat"),
    ("no-word", "bad", "net.onnx", "above.vnnlib", "20", "perhaps"),
    ("short", "bad", "net.onnx"),
)


def network() -> onnx.ModelProto:
    """y = relu(x0 + x1) - relu(x0 - x1)."""
    weights = {"w": np.array([[1, 1], [1, -1]], np.float32), "v": np.array([[1, -1]], np.float32)}
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
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def folder(path: Path, rows: Sequence[Sequence[str]] = (*GOOD, *BAD)) -> Path:
    """The files of all rows, and the list of these."""
    path.mkdir(parents=True, exist_ok=True)
    data = network().SerializeToString()
    (path / "net.onnx").write_bytes(data)
    (path / "broken.onnx").write_bytes(b"\x08\x07 no network")
    (path / "packed.onnx.gz").write_bytes(gzip.compress(data))
    (path / "cut.onnx.gz").write_bytes(gzip.compress(data)[:-20])
    conditions = {
        "above": "(>= Y_0 2.5)",
        "inside": "(>= Y_0 1.5)",
        "either": "(or (and (<= Y_0 -2.5)) (and (>= Y_0 2.5)))",
        "broken": "(>= Y_0",
    }
    for name, condition in conditions.items():
        (path / f"{name}.vnnlib").write_text(f"{BOUNDS}(assert {condition})\n", encoding="utf-8")
    (path / "packed.vnnlib.gz").write_bytes(gzip.compress((path / "inside.vnnlib").read_bytes()))
    extra = "(declare-const X_2 Real)\n(assert (= X_2 0.0))\n"
    (path / "sizes.vnnlib").write_text(f"{BOUNDS}{extra}(assert (>= Y_0 2.5))\n", encoding="utf-8")
    with open(path / "instances.csv", "w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([COLUMNS, *rows])
    return path

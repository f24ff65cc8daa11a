"""Starts are quick: what a verdict does not need is not loaded, torch's compiler and pandas least of all."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper, save

from .models import X, chain, floats

#: Modules that cost a tenth of a second to two seconds.
HEAVY = (
    *("torch._dynamo", "torch._inductor", "sympy", "pandas", "pyarrow", "scipy", "sklearn", "cvxpy"),
    *("jinja2", "plotly", "matplotlib", "onnxruntime", "hypothesis"),
)
LIGHT = (*HEAVY, "torch", "numpy", "onnx", "rich")
REPORT = f"; import sys; print([m for m in {LIGHT} if m in sys.modules])"

PROPERTY = """
(declare-const X_0 Real)
(declare-const X_1 Real)
(declare-const Y_0 Real)
(assert (>= X_0 -1.0))
(assert (<= X_0 1.0))
(assert (>= X_1 -1.0))
(assert (<= X_1 1.0))
(assert (>= Y_0 2.5))
"""


def loaded(code: str, *arguments: str) -> set[str]:
    """Which of the modules above a program has loaded at its end."""
    command = [sys.executable, "-c", code + REPORT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(ast.literal_eval(done.stdout.splitlines()[-1]))


def written(folder: Path, *nodes: object, shape: tuple[int, ...], weights: dict[str, object]) -> str:
    path = folder / "net.onnx"
    save(chain(*nodes, shape=shape, opset=13, weights=weights), path)
    return str(path)


def dense(folder: Path) -> str:
    nodes = [
        helper.make_node("Sub", [X, "m"], ["s"]),
        helper.make_node("MatMul", ["s", "a"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["q"]),
        helper.make_node("Relu", ["q"], ["r"]),
        helper.make_node("Gemm", ["r", "c"], ["t"]),
        helper.make_node("Concat", ["t", "r"], ["u"], axis=1),
        helper.make_node("Slice", ["u", "one", "five", "one"], ["v"]),
        helper.make_node("Softmax", ["v"], ["w"], axis=1),
        helper.make_node("ReduceSum", ["w", "one"], ["x1"]),
        helper.make_node("Mul", ["x1", "t"], ["y"]),
    ]
    weights = {"m": floats(1, 1, 3), "a": floats(2, 3, 4), "b": floats(3, 4), "c": floats(4, 4, 2)}
    ends = {"one": np.array([1]), "five": np.array([5])}
    return written(folder, *nodes, shape=(1, 3), weights={**weights, **ends})


def images(folder: Path) -> str:
    nodes = [
        helper.make_node("Conv", [X, "k", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "b", "b", "b", "v"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("AveragePool", ["m"], ["a"], kernel_shape=[2, 2]),
        helper.make_node("ConvTranspose", ["a", "t"], ["d"]),
        helper.make_node("Transpose", ["d"], ["p"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["p", "w"], ["q"]),
        helper.make_node("Flatten", ["q"], ["y"]),
    ]
    weights = {"k": floats(1, 2, 1, 3, 3), "b": floats(2, 2), "v": 1.5 + floats(3, 2)}
    weights |= {"t": floats(4, 2, 3, 2, 2), "w": floats(5, 3, 2)}
    return written(folder, *nodes, shape=(1, 1, 6, 6), weights=weights)


@pytest.mark.parametrize("network", [dense, images])
def test_reading_a_network_loads_nothing_heavy(network: Callable[[Path], str], tmp_path: Path) -> None:
    code = "import sys; from robustbench_local.verifiers import from_onnx; from_onnx(sys.argv[1])"
    assert loaded(code, network(tmp_path)) & set(HEAVY) == set()


def test_the_command_line_decides_a_property_without_anything_heavy(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gemm", [X, "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    model = written(tmp_path, *nodes, shape=(1, 2), weights={"w": np.ones((2, 1), np.float32)})
    spec = tmp_path / "small.vnnlib"
    spec.write_text(PROPERTY, encoding="utf-8")
    code = (
        "import sys; from robustbench_local.cli import run; "
        "assert run(['verify', *sys.argv[1:], '--json', '-']) == 0"
    )
    assert loaded(code, model, str(spec)) & set(HEAVY) == set()


def test_the_python_interface_decides_a_property_without_anything_heavy(tmp_path: Path) -> None:
    code = "import sys; import robustbench_local as rbl; rbl.verify(*sys.argv[1:])"
    nodes = [helper.make_node("Gemm", [X, "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    model = written(tmp_path, *nodes, shape=(1, 2), weights={"w": np.ones((2, 1), np.float32)})
    spec = tmp_path / "small.vnnlib"
    spec.write_text(PROPERTY, encoding="utf-8")
    assert loaded(code, model, str(spec)) & set(HEAVY) == set()


def test_the_package_itself_loads_almost_nothing() -> None:
    assert loaded("import robustbench_local") == set()

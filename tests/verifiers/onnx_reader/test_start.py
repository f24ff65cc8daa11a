"""Reading a plain network does not load torch's compiler, which costs a program two seconds at its start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

CODE = """
import sys
from robustbench_local.verifiers import from_onnx
from_onnx(sys.argv[1])
print("torch._dynamo" in sys.modules)
"""


def test_the_compiler_is_not_loaded(tmp_path: Path) -> None:
    weights = {
        "m": np.zeros((1, 3)),
        "a": np.ones((3, 4)),
        "b": np.ones(4),
        "c": np.ones((4, 2)),
        "d": np.ones(2),
    }
    nodes = [
        helper.make_node("Sub", ["x", "m"], ["s"]),
        helper.make_node("MatMul", ["s", "a"], ["p"]),
        helper.make_node("Add", ["p", "b"], ["q"]),
        helper.make_node("Relu", ["q"], ["r"]),
        helper.make_node("Gemm", ["r", "c", "d"], ["t"]),
        helper.make_node("Tanh", ["t"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "plain",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    path = tmp_path / "plain.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), path)
    done = subprocess.run([sys.executable, "-c", CODE, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"

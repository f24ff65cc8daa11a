"""Small ONNX models, and the two ways to run them: onnxruntime one sample at a time, our graph on a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from robustbench_local.verifiers import Graph

X = "x"


def floats(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def chain(*nodes: Any, shape: Sequence[int | str], opset: int, weights: dict[str, Any] | None = None) -> Any:
    """A model from nodes; its output is the last node's first output."""
    graph = helper.make_graph(
        list(nodes),
        "network",
        [helper.make_tensor_value_info(X, TensorProto.FLOAT, list(shape))],
        [helper.make_empty_tensor_value_info(nodes[-1].output[0])],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (weights or {}).items()],
    )
    version = helper.find_min_ir_version_for([helper.make_opsetid("", opset)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version)


def single(
    kind: str, *inputs: Any, shape: Sequence[int | str], opset: int, outputs: int = 1, **attributes: Any
) -> Any:
    """A model of one operator; `inputs` are `X`, arrays, or None for an input left out."""
    names, weights = [], {}
    for i, given in enumerate(inputs):
        if isinstance(given, str):
            names.append(given)
        elif given is None:
            names.append("")
        else:
            names.append(f"w{i}")
            weights[f"w{i}"] = given
    ends = [f"y{i}" for i in range(outputs)]
    node = helper.make_node(kind, names, ends, name=f"the {kind}", **attributes)
    nodes = [node]
    if outputs > 1:  # all of them count
        flat = [helper.make_node("Flatten", [end], [f"{end}f"], axis=1) for end in ends]
        nodes += [*flat, helper.make_node("Concat", [f"{end}f" for end in ends], ["all"], axis=1)]
    return chain(*nodes, shape=shape, opset=opset, weights=weights)


def session(model: Any) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def expected(model: Any, x: Tensor, graph: Graph) -> Tensor:
    """onnxruntime's outputs (B, *output_shape) on samples x (B, *input_shape), one at a time."""
    run = session(model)
    entry = run.get_inputs()[0]
    shape = [size if isinstance(size, int) else 1 for size in entry.shape]
    results = [run.run(None, {entry.name: sample.reshape(shape).numpy()})[0] for sample in x]
    return torch.stack([torch.from_numpy(np.asarray(r)).reshape(graph.output_shape) for r in results])


def relative_error(got: Tensor, wanted: Tensor) -> float:
    """Largest difference by the largest number."""
    if got.shape != wanted.shape:
        return float("inf")
    difference = (got.double() - wanted.double()).abs().max()
    return float(difference / wanted.double().abs().max().clamp(min=1e-6))


def operators(graph: Graph) -> list[str]:
    """The graph's operators, short: ["linear", "relu"]."""
    return [getattr(n.op, "__name__", str(n.op)).split(".")[0] for n in graph.nodes[1:]]

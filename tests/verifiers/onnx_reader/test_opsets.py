"""Every version of every operator: the cases at each opset that takes them, as values and as constants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import defs, helper
from robustbench_local.verifiers.onnx_reader import CONVERTERS

from robustbench_local.verifiers import from_onnx

from . import cases, indexing_cases, layer_cases
from .models import X, expected, relative_error, session

FAMILIES = (*cases.FAMILIES, *indexing_cases.FAMILIES, *layer_cases.FAMILIES)
BY_CHAINS = {"Acosh", "And", "DequantizeLinear", "Not", "OneHot", "Or", "Xor"}
"""Tested in other models (test_converters.py)."""
MOST = 4
"""Cases of one version: test_converters.py runs each at its own."""


@cache
def versions(kind: str) -> tuple[int, ...]:
    """The opsets from 7 on at which the operator changed, 7 itself where it was there before."""
    found = {s.since_version for s in defs.get_all_schemas_with_history() if s.name == kind and not s.domain}
    return tuple(sorted({max(version, 7) for version in found}))


def at(model: Any, opset: int) -> Any:
    """The model at another opset; None where onnxruntime does not run it there."""
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    moved.opset_import[0].version = opset
    moved.ir_version = helper.find_min_ir_version_for([helper.make_opsetid("", opset)])
    try:
        run = session(moved)
        entry = run.get_inputs()[0]
        run.run(
            None, {entry.name: np.ones([s if isinstance(s, int) else 1 for s in entry.shape], np.float32)}
        )
    except Exception:  # onnxruntime's own errors share no public base
        return None
    return moved


def single_operators() -> Iterator[tuple[str, Any]]:
    for family in FAMILIES:
        for model in family():
            yield family.__name__, model


def folded(model: Any, x: torch.Tensor) -> Any:
    """The output of the model with its operator on constants, as a summand of an input of zeros."""
    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    node, graph = moved.graph.node[0], moved.graph
    shape = [d.dim_value or 1 for d in graph.input[0].type.tensor_type.shape.dim]
    node.input[:] = ["constant" if name == X else name for name in node.input]
    graph.initializer.append(onnx.numpy_helper.from_array(x.reshape(shape).numpy(), "constant"))
    made = graph.output[0].name
    graph.node.append(helper.make_node("Cast", [made], ["number"], to=onnx.TensorProto.FLOAT))
    graph.node.append(helper.make_node("Identity", ["zero"], ["nothing"]))
    graph.node.append(helper.make_node("Add", ["number", "nothing"], ["sum"]))
    graph.input[0].CopyFrom(helper.make_tensor_value_info("zero", onnx.TensorProto.FLOAT, [1]))
    graph.output[0].name = "sum"
    return from_onnx(moved).run(torch.zeros(1, 1))


def test_every_version_of_every_operator() -> None:
    pytest.importorskip("onnxruntime")
    met: Counter[tuple[str, int]] = Counter()
    wrong: list[str] = []
    for name, given in single_operators():
        kind, own = given.graph.node[0].op_type, given.opset_import[0].version
        for version in versions(kind):
            if met[kind, version] == MOST:
                continue
            model = given if version == own else at(given, version)
            if model is None:
                continue
            graph = from_onnx(model)
            x = 2 * torch.rand(1, *graph.input_shape, generator=torch.Generator().manual_seed(1)) - 1
            x = x.abs() + 0.1 if name == "positive" else x
            wanted = expected(model, x, graph)
            if not relative_error(graph.run(x), wanted) < 1e-5:
                wrong.append(f"{kind} {version} of {name}")
            if len(model.graph.node) == 1:
                if not relative_error(folded(model, x).reshape(wanted.shape), wanted) < 1e-5:
                    wrong.append(f"{kind} {version} of {name}, folded")
            met[kind, version] += 1
    assert wrong == []
    missing = {(k, v) for k in set(CONVERTERS) - BY_CHAINS for v in versions(k)} - set(met)
    assert missing == set(_NOT_RUN), missing ^ set(_NOT_RUN)


_NOT_RUN = {
    ("Equal", 7): "takes no floating-point numbers then",
    ("GlobalLpPool", 22): "onnxruntime has it up to opset 21",
    ("QuantizeLinear", 28): "onnxruntime has it up to opset 27",
    ("Scatter", 11): "deprecated",
    ("Upsample", 10): "deprecated",
}

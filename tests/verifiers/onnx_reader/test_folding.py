"""Shape arithmetic: operators on whole numbers and truth values, evaluated as onnxruntime does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from robustbench_local.errors import GraphError, UnsupportedOpError
from robustbench_local.verifiers import from_onnx

from .models import X, chain, expected, relative_error

A, B = np.array([[-7, 5, 3], [2, -2, 9]]), np.array([[2, -3, 4], [-5, 2, 1]])
LIST, PLACE = np.array([3, -1, 4, 1]), np.array([1, 0])
TRUE = np.array([[True, False, True], [False, False, True]])

CASES: dict[str, tuple[str, list[Any], int, dict[str, Any]]] = {
    **{kind: (kind, [A, B], 13, {}) for kind in ("Add", "Sub", "Mul", "Div", "Equal", "Greater", "Less")},
    **{kind: (kind, [A, B], 13, {}) for kind in ("GreaterOrEqual", "LessOrEqual", "Max", "Min", "Mod")},
    **{
        kind: (kind, [A], 13, {}) for kind in ("Abs", "Neg", "Sign", "Identity", "Shape", "Size", "Transpose")
    },
    **{kind: (kind, [TRUE, ~TRUE], 13, {}) for kind in ("And", "Or", "Xor")},
    **{kind: (kind, [A], 13, {"axes": [1]}) for kind in ("ReduceMax", "ReduceMin", "ReduceProd")},
    "ReduceSum": ("ReduceSum", [A, np.array([0])], 13, {}),
    "ReduceMean of all": ("ReduceSum", [A], 13, {"keepdims": 0}),
    "ReduceL1": ("ReduceL1", [A], 11, {"axes": [0]}),
    "ReduceSumSquare": ("ReduceSumSquare", [A], 11, {"axes": [0]}),
    "Mod, sign of the dividend": ("Mod", [A, B], 13, {"fmod": 1}),
    "Not": ("Not", [TRUE], 13, {}),
    "Where": ("Where", [TRUE, A, B], 13, {}),
    "Pow": ("Pow", [A, np.array(2)], 13, {}),
    "ArgMax": ("ArgMax", [A], 13, {"axis": 1}),
    "ArgMin": ("ArgMin", [A], 13, {"axis": 0, "keepdims": 0}),
    "Cast": ("Cast", [np.array([1.7, -1.7, 0.2], np.float32)], 13, {"to": TensorProto.INT64}),
    "Cast of truth": ("Cast", [TRUE], 13, {"to": TensorProto.INT64}),
    "Concat": ("Concat", [A, B], 13, {"axis": 1}),
    "ConstantOfShape": ("ConstantOfShape", [np.array([2, 3])], 13, {}),
    "CumSum": ("CumSum", [A, np.array(1)], 14, {"exclusive": 1}),
    "Expand": ("Expand", [LIST, np.array([2, 1])], 13, {}),
    "EyeLike": ("EyeLike", [A], 9, {"k": 1}),
    "Flatten": ("Flatten", [A], 13, {}),
    "Gather": ("Gather", [LIST, np.array([3, -1, 0])], 13, {}),
    "GatherElements": ("GatherElements", [A, PLACE.reshape(1, 2)], 13, {"axis": 1}),
    "GatherND": ("GatherND", [A, PLACE.reshape(1, 2)], 13, {}),
    "OneHot": ("OneHot", [PLACE, np.array(3), np.array([5, -5])], 11, {"axis": 0}),
    "Pad": ("Pad", [A, np.array([1, 0, 0, 2]), np.array(7)], 13, {}),
    "Range": ("Range", [np.array(1), np.array(10), np.array(3)], 11, {}),
    "Reshape": ("Reshape", [A, np.array([0, -1, 1])], 13, {}),
    "ScatterElements": ("ScatterElements", [A, PLACE.reshape(2, 1), B[:, :1]], 13, {"axis": 1}),
    "ScatterND": ("ScatterND", [A, PLACE.reshape(2, 1), B], 13, {}),
    "Slice": ("Slice", [A, np.array([2]), np.array([-9]), np.array([1]), np.array([-2])], 13, {}),
    "Split": ("Split", [LIST, np.array([3, 1])], 13, {}),
    "Squeeze": ("Squeeze", [A.reshape(2, 1, 3)], 13, {}),
    "Unsqueeze": ("Unsqueeze", [A, np.array([0, 3])], 13, {}),
    "Tile": ("Tile", [A, np.array([1, 2])], 13, {}),
    "TopK": ("TopK", [A, np.array([2])], 11, {}),
    "Trilu": ("Trilu", [A], 14, {"upper": 0}),
}


@pytest.mark.parametrize("name", CASES)
def test_whole_numbers_are_evaluated_as_by_onnxruntime(name: str) -> None:
    pytest.importorskip("onnxruntime")
    kind, inputs, opset, attributes = CASES[name]
    names = [f"c{k}" for k in range(len(inputs))]
    ends = ["v", "rest"] if kind in ("TopK", "Split") else ["v"]
    model = chain(
        helper.make_node(kind, names, ends, **attributes),
        helper.make_node("Cast", ["v"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", [X, "f"], ["y"]),
        shape=(1,),
        opset=opset,
        weights=dict(zip(names, inputs, strict=True)),
    )
    graph = from_onnx(model)
    x = torch.tensor([[0.5], [-0.25]])
    assert relative_error(graph.run(x), expected(model, x, graph)) == 0


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("ConstantOfShape", [np.array([2**20, 2**20])]),
        ("Expand", [np.zeros(1), np.array([2**20, 2**20])]),
        ("Tile", [np.zeros(2), np.array([2**40])]),
        ("Range", [np.array(0), np.array(2**50), np.array(1)]),
        ("Add", [np.zeros((2**15, 1), np.int64), np.zeros((1, 2**15), np.int64)]),
        ("MatMul", [np.zeros((2**15, 1), np.float32), np.zeros((1, 2**15), np.float32)]),
        ("Pad", [np.zeros(1, np.float32), np.array([2**40, 0])]),
        ("OneHot", [np.array([1]), np.array(2**40), np.array([0, 1])]),
        ("HannWindow", [np.array(2**40)]),
    ],
)
def test_huge_constants_are_refused_before_they_are_made(kind: str, inputs: list[Any]) -> None:
    names = [f"c{k}" for k in range(len(inputs))]
    model = chain(
        helper.make_node(kind, names, ["v"]),
        helper.make_node("ReduceSum", ["v"], ["s"], keepdims=0),
        helper.make_node("Cast", ["s"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", [X, "f"], ["y"]),
        shape=(1,),
        opset=17,
        weights=dict(zip(names, inputs, strict=True)),
    )
    with pytest.raises((GraphError, UnsupportedOpError), match=r"numbers|tensor of shape|small amounts"):
        from_onnx(model)

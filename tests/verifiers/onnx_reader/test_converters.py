"""Every converter against onnxruntime: each sample of a batch as the file's single sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from robustbench_local.verifiers.onnx_reader import CONVERTERS

from robustbench_local.verifiers import from_onnx

from .cases import FAMILIES, positive
from .models import X, chain, expected, floats, operators, relative_error

BY_COMPARISON = {"And", "Or", "Not", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.__name__)
def test_graph_equals_onnxruntime(family: Callable[[], Any]) -> None:
    pytest.importorskip("onnxruntime")
    wrong = []
    for number, model in enumerate(family()):
        node = model.graph.node[0]
        graph = from_onnx(model)
        generator = torch.Generator().manual_seed(number)
        x = 2 * torch.rand(3, *graph.input_shape, generator=generator) - 1
        x = x.abs() + 0.1 if family is positive else x
        error = relative_error(graph.run(x), expected(model, x, graph))
        if not error < 1e-5:
            wrong.append(f"{number} {node.op_type} {model.opset_import[0].version} {error} {node.attribute}")
    assert wrong == []


def test_every_converter_has_a_case() -> None:
    met = {model.graph.node[0].op_type for family in FAMILIES for model in family()}
    assert set(CONVERTERS) - met == BY_COMPARISON


@pytest.mark.parametrize("kind", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
def test_comparisons_choose(kind: str) -> None:
    pytest.importorskip("onnxruntime")
    model = chain(
        helper.make_node(kind, [X, "w"], ["c"]),
        helper.make_node("Less", [X, "v"], ["l"]),
        helper.make_node("And", ["c", "l"], ["a"]),
        helper.make_node("Or", ["a", "l"], ["o"]),
        helper.make_node("Not", ["o"], ["n"]),
        helper.make_node("Where", ["n", X, "v"], ["z"]),
        helper.make_node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["z", "f"], ["y"]),
        shape=(1, 4),
        opset=16,
        weights={"w": floats(1, 4), "v": floats(2, 4)},
    )
    graph = from_onnx(model)
    x = torch.tensor(floats(3, 5, 4))
    assert relative_error(graph.run(x), expected(model, x, graph)) == 0


def test_shape_arithmetic_is_folded() -> None:
    """A flatten as torch exports it (Shape, Gather, Unsqueeze, Concat, Reshape); an expanded class token."""
    pytest.importorskip("onnxruntime")
    i = {"zero": np.array(0), "rest": np.array([-1]), "one": np.array([1]), "six": np.array([6])}
    model = chain(
        helper.make_node("Shape", [X], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"], axis=0),
        helper.make_node("Unsqueeze", ["n"], ["u"], axes=[0]),
        helper.make_node("Concat", ["u", "one", "six"], ["t"], axis=0),
        helper.make_node("ConstantOfShape", ["t"], ["c"]),
        helper.make_node("Add", ["c", "token"], ["k"]),
        helper.make_node("Concat", ["k", X], ["j"], axis=1),
        helper.make_node("Concat", ["u", "rest"], ["f"], axis=0),
        helper.make_node("Reshape", ["j", "f"], ["y"]),
        shape=("N", 4, 6),
        opset=11,
        weights={"token": floats(1, 6), **i},
    )
    graph = from_onnx(model)
    assert operators(graph) == ["concatenate", "reshape"]
    x = torch.tensor(floats(3, 5, 4, 6))
    assert relative_error(graph.run(x), expected(model, x, graph)) < 1e-6


def test_products_and_convolutions_take_the_following_bias() -> None:
    model = chain(
        helper.make_node("Conv", [X, "k"], ["a"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "w"], ["e"]),
        helper.make_node("Sub", ["e", "v"], ["y"]),
        shape=(1, 1, 3, 3),
        opset=13,
        weights={
            "k": floats(1, 2, 1, 2, 2),
            "b": floats(2, 1, 2, 1, 1),
            "w": floats(3, 8, 5),
            "v": floats(4, 5),
        },
    )
    graph = from_onnx(model)
    assert operators(graph) == ["conv2d", "reshape", "linear"]
    pytest.importorskip("onnxruntime")
    x = torch.tensor(floats(3, 5, 1, 3, 3))
    assert relative_error(graph.run(x), expected(model, x, graph)) < 1e-6


def test_a_product_that_is_read_twice_keeps_its_bias_apart() -> None:
    model = chain(
        helper.make_node("MatMul", [X, "w"], ["a"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Add", ["c", "a"], ["y"]),
        shape=(1, 3),
        opset=13,
        weights={"w": floats(1, 3, 2), "b": floats(2, 2)},
    )
    graph = from_onnx(model)
    assert operators(graph) == ["linear", "add", "add"]
    x = torch.tensor(floats(3, 4, 3))
    wanted = 2 * x @ torch.tensor(floats(1, 3, 2)) + torch.tensor(floats(2, 2))
    assert relative_error(graph.run(x), wanted) < 1e-6

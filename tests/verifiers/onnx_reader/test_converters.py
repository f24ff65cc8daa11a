"""Every converter against onnxruntime: each sample of a batch as the file's single sample."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from robustbench_local.verifiers.onnx_reader import CONVERTERS

from robustbench_local.errors import UnsupportedOpError
from robustbench_local.verifiers import from_onnx

from . import cases, indexing_cases, layer_cases
from .cases import positive
from .models import X, chain, expected, floats, operators, relative_error, single

FAMILIES = (*cases.FAMILIES, *indexing_cases.FAMILIES, *layer_cases.FAMILIES)
BY_CHAINS = {"Acosh", "And", "DequantizeLinear", "Not", "OneHot", "Or", "Xor"}


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
    assert set(CONVERTERS) - met == BY_CHAINS


def same(model: Any, x: torch.Tensor) -> float:
    graph = from_onnx(model)
    return relative_error(graph.run(x), expected(model, x, graph))


@pytest.mark.parametrize("kind", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
def test_comparisons_choose(kind: str) -> None:
    pytest.importorskip("onnxruntime")
    model = chain(
        helper.make_node(kind, [X, "w"], ["c"]),
        helper.make_node("Less", [X, "v"], ["l"]),
        helper.make_node("And", ["c", "l"], ["a"]),
        helper.make_node("Xor", ["a", "c"], ["b"]),
        helper.make_node("Or", ["b", "l"], ["o"]),
        helper.make_node("Not", ["o"], ["n"]),
        helper.make_node("Where", ["n", X, "v"], ["z"]),
        helper.make_node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["z", "f"], ["y"]),
        shape=(1, 4),
        opset=16,
        weights={"w": floats(1, 4), "v": floats(2, 4)},
    )
    assert same(model, torch.tensor(floats(3, 5, 4))) == 0


def test_classes_become_vectors_and_quotients() -> None:
    """OneHot of ArgMax along each axis; integers are divided towards zero."""
    pytest.importorskip("onnxruntime")
    for axis in (-1, 0, 1):
        model = chain(
            helper.make_node("ArgMax", [X], ["i"], axis=2, keepdims=0),
            helper.make_node("Sub", ["i", "three"], ["s"]),
            helper.make_node("Div", ["s", "two"], ["q"]),
            helper.make_node("OneHot", ["q", "depth", "values"], ["y"], axis=axis),
            shape=(1, 4, 6),
            opset=11,
            weights={
                "three": np.array(3),
                "two": np.array(2),
                "depth": np.array(5),
                "values": np.array([-1.5, 2.5], np.float32),
            },
        )
        assert same(model, torch.tensor(floats(3, 5, 4, 6))) == 0


@pytest.mark.parametrize("opset", [10, 13, 21])
def test_quantised_networks(opset: int) -> None:
    pytest.importorskip("onnxruntime")
    model = chain(
        helper.make_node("QuantizeLinear", [X, "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
        helper.make_node("DequantizeLinear", ["k", "t"], ["w"]),
        helper.make_node("Conv", ["d", "w"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "t"], ["r"]),
        helper.make_node("DequantizeLinear", ["r", "t"], ["y"]),
        shape=(1, 3, 4, 4),
        opset=opset,
        weights={
            "s": np.array(0.03, np.float32),
            "z": np.array(7, np.uint8),
            "t": np.array(0.01, np.float32),
            "k": (100 * floats(1, 2, 3, 2, 2)).astype(np.int8),
        },
    )
    x = torch.tensor(floats(3, 5, 3, 4, 4))
    assert same(model, x) < 2e-2  # a sum on the edge of two integers may round to either
    graph = from_onnx(model)
    near = (graph.run(x) - expected(model, x, graph)).abs() < 1e-6
    assert float(near.float().mean()) > 0.95


def test_the_inverse_of_the_hyperbolic_cosine() -> None:
    pytest.importorskip("onnxruntime")
    for opset in (9, 22):
        x = 1 + torch.tensor(floats(3, 5, 4)) ** 2
        assert same(single("Acosh", X, shape=(1, 4), opset=opset), x) < 1e-5


@pytest.mark.parametrize("taken", [True, False])
def test_a_constant_condition_chooses_a_branch(taken: bool) -> None:
    """As old exports of torch's squeeze have it: both branches read values of the outer graph."""
    pytest.importorskip("onnxruntime")

    def branch(kind: str, name: str) -> Any:
        made = [helper.make_node(kind, ["h"], [name]), helper.make_node("Mul", [name, "w"], [f"{name}m"])]
        ends = [helper.make_tensor_value_info(f"{name}m", TensorProto.FLOAT, None)]
        return helper.make_graph(made, name, [], ends)

    model = chain(
        helper.make_node("Neg", [X], ["h"]),
        helper.make_node("Shape", ["h"], ["s"]),
        helper.make_node("Gather", ["s", "one"], ["n"]),
        helper.make_node("Equal", ["n", "four"], ["c"]),
        helper.make_node("If", ["c"], ["b"], then_branch=branch("Exp", "t"), else_branch=branch("Sin", "e")),
        helper.make_node("Add", ["b", "h"], ["y"]),
        shape=(1, 4),
        opset=13,
        weights={"one": np.array(1), "four": np.array(4 if taken else 5), "w": floats(1, 4)},
    )
    graph = from_onnx(model)
    assert operators(graph) == ["neg", "exp" if taken else "sin", "mul", "add"]
    assert same(model, torch.tensor(floats(3, 5, 4))) < 1e-6
    model.graph.node[3].input[0] = X
    with pytest.raises(UnsupportedOpError, match="condition depends"):
        from_onnx(model)


def test_functions_of_the_model_are_inlined() -> None:
    pytest.importorskip("onnxruntime")
    body = [
        helper.make_node("Mul", ["a", "b"], ["m"]),
        helper.make_node("LeakyRelu", ["m"], ["r"]),
        helper.make_node("Add", ["r", "a"], ["c"]),
    ]
    body[1].attribute.add(name="alpha", ref_attr_name="slope", type=1)
    opsets = [helper.make_opsetid("", 13)]
    function = helper.make_function("own", "Gated", ["a", "b"], ["c"], body, opsets, ["slope"])
    model = chain(
        helper.make_node("Gated", [X, "w"], ["h"], domain="own", slope=0.3),
        helper.make_node("Gated", ["h", X], ["y"], domain="own", slope=-0.5),
        shape=(1, 4),
        opset=13,
        weights={"w": floats(1, 4)},
    )
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.ir_version = 8
    assert same(model, torch.tensor(floats(3, 5, 4))) < 1e-6


def test_empty_parts_are_left_out() -> None:
    pytest.importorskip("onnxruntime")
    model = chain(
        helper.make_node("Split", [X, "sizes"], ["a", "b", "c"], axis=1),
        helper.make_node("Slice", [X, "one", "one", "one"], ["e"]),
        helper.make_node("Concat", ["c", "b", "e", "a"], ["y"], axis=1),
        shape=(1, 4),
        opset=13,
        weights={"sizes": np.array([3, 0, 1]), "one": np.array([1])},
    )
    assert same(model, torch.tensor(floats(3, 5, 4))) == 0


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

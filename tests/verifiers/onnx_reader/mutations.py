"""Networks to mutate, and what may happen to a file: bytes flipped or cut off, fields of the model."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from robustbench_local.verifiers.onnx_reader import CONVERTERS

from .models import X, chain, floats

__all__ = ["NETWORKS", "mutated"]


def images() -> Any:
    """Convolutions, folded shapes, pooling and products."""
    return chain(
        helper.make_node("Conv", [X, "k", "b"], ["c"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["m"], kernel_shape=[2, 2]),
        helper.make_node("Shape", ["m"], ["s"]),
        helper.make_node("Slice", ["s", "one", "four"], ["t"]),
        helper.make_node("ReduceProd", ["t"], ["p"], keepdims=1),
        helper.make_node("Concat", ["one", "p"], ["q"], axis=0),
        helper.make_node("Reshape", ["m", "q"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "v"], ["g"], transB=1, alpha=0.5),
        helper.make_node("Softmax", ["g"], ["y"], axis=1),
        shape=(1, 1, 6, 6),
        opset=13,
        weights={
            "k": floats(1, 2, 1, 3, 3),
            "b": floats(2, 2),
            "w": floats(3, 3, 8),
            "v": floats(4, 3),
            "one": np.array([1]),
            "four": np.array([4]),
        },
    )


def sequences() -> Any:
    """A recurrent cell, attention and normalisation."""
    return chain(
        helper.make_node("Transpose", [X], ["t"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["t", "w", "r", "b"], ["h"], hidden_size=3, direction="forward"),
        helper.make_node("Squeeze", ["h", "one"], ["s"]),
        helper.make_node("Transpose", ["s"], ["q"], perm=[1, 0, 2]),
        helper.make_node("Transpose", ["q"], ["k"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "k"], ["a"]),
        helper.make_node("Softmax", ["a"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "q"], ["v"]),
        helper.make_node("LayerNormalization", ["v", "g"], ["n"], axis=-1),
        helper.make_node("ReduceMean", ["n"], ["y"], axes=[1], keepdims=0),
        shape=("N", 4, 2),
        opset=17,
        weights={
            "w": floats(1, 1, 12, 2),
            "r": floats(2, 1, 12, 3),
            "b": floats(3, 1, 24),
            "g": floats(4, 3),
            "one": np.array([1]),
        },
    )


def moves() -> Any:
    """Gathering, scattering, padding, resizing, choosing, quantising."""
    return chain(
        helper.make_node("Pad", [X, "pads", "half"], ["p"]),
        helper.make_node("Resize", ["p", "", "", "sizes"], ["r"], mode="linear"),
        helper.make_node("Gather", ["r", "some"], ["g"], axis=2),
        helper.make_node("Split", ["g", "parts"], ["a", "b"], axis=3),
        helper.make_node("Concat", ["b", "a"], ["c"], axis=3),
        helper.make_node("ScatterND", ["c", "where", "what"], ["s"]),
        helper.make_node("QuantizeLinear", ["s", "half", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "half", "zero"], ["d"]),
        helper.make_node("Greater", ["d", "half"], ["m"]),
        helper.make_node("Where", ["m", "d", "c"], ["e"]),
        helper.make_node("Flatten", ["e"], ["f"]),
        helper.make_node("ReduceMax", ["f"], ["y"], axes=[1], keepdims=1),
        shape=(1, 1, 4, 4),
        opset=13,
        weights={
            "pads": np.array([0, 0, 1, 0, 0, 0, 0, 1]),
            "half": np.array(0.5, np.float32),
            "zero": np.array(3, np.uint8),
            "sizes": np.array([1, 1, 8, 6]),
            "some": np.array([0, 5, 7, 2]),
            "parts": np.array([2, 4]),
            "where": np.array([[0, 0, 1, 2], [0, 0, 3, 3]]),
            "what": floats(5, 2),
        },
    )


def several() -> Any:
    """Two inputs, three outputs, one of them a class."""
    nodes = [
        helper.make_node("MatMul", [X, "w"], ["a"]),
        helper.make_node("Tanh", ["u"], ["t"]),
        helper.make_node("Mul", ["a", "t"], ["m"]),
        helper.make_node("Clip", ["m", "low", "high"], ["c"]),
        helper.make_node("ArgMax", ["c"], ["k"], axis=1),
        helper.make_node("Einsum", ["c", "w"], ["e"], equation="ij,kj->ik"),
        helper.make_node("Pow", ["e", "two"], ["y"]),
    ]
    weights = {"w": floats(1, 3, 4), "low": np.array(-0.5, np.float32), "high": np.array(0.7, np.float32)}
    weights["two"] = np.array(2.0, np.float32)
    graph = helper.make_graph(
        nodes,
        "several",
        [
            helper.make_tensor_value_info(X, TensorProto.FLOAT, ["N", 3]),
            helper.make_tensor_value_info("u", TensorProto.FLOAT, ["N", 4]),
        ],
        [helper.make_empty_tensor_value_info(name) for name in ("y", "k", "c")],
        [numpy_helper.from_array(a, n) for n, a in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)


NETWORKS: list[Callable[[], Any]] = [images, sequences, moves, several]


def mutated(data: bytes, seed: int) -> bytes:
    """Seeds take turns: changes of the bytes, and of the model that they encode."""
    choice = random.Random(seed)
    return _bytes_changed(data, choice) if seed % 3 == 0 else _model_changed(data, choice)


def _bytes_changed(data: bytes, choice: random.Random) -> bytes:
    """One to three bytes set, one bit flipped, or the end cut off."""
    changed = bytearray(data)
    for _ in range(choice.randint(1, 3)):
        changed[choice.randrange(len(changed))] = choice.randrange(256)
    changed[choice.randrange(len(changed))] ^= 1 << choice.randrange(8)
    return bytes(changed[: choice.randrange(1, len(changed))]) if choice.random() < 0.1 else bytes(changed)


def _model_changed(data: bytes, choice: random.Random) -> bytes:
    """One to three fields of the model."""
    model = onnx.load_from_string(data)
    for _ in range(choice.randint(1, 3)):
        choice.choice(CHANGES)(model, choice)
    changed: bytes = model.SerializeToString()
    return changed


def _integer(choice: random.Random) -> int:
    return choice.choice([0, 1, -1, 2, 3, 7, -5, 100, 2**31, -(2**63), 2**63 - 1])


def another_operator(model: Any, choice: random.Random) -> None:
    kinds = [*sorted(CONVERTERS), "Loop", "If", "Scan", "Unknown", "Swish", "Attention", "Constant"]
    choice.choice(model.graph.node).op_type = choice.choice(kinds)


def another_domain(model: Any, choice: random.Random) -> None:
    choice.choice(model.graph.node).domain = choice.choice(["com.microsoft", "ai.onnx", "own"])


def another_opset(model: Any, choice: random.Random) -> None:
    model.opset_import[0].version = choice.choice([0, 6, 7, 9, 11, 13, 18, 21, 25, 99])


def another_input(model: Any, choice: random.Random) -> None:
    graph = model.graph
    node = choice.choice(graph.node)
    names = [X, "", "absent", *(t.name for t in graph.initializer), *(n.output[0] for n in graph.node)]
    if node.input:
        node.input[choice.randrange(len(node.input))] = choice.choice(names)


def one_input_less(model: Any, choice: random.Random) -> None:
    node = choice.choice(model.graph.node)
    del node.input[choice.randrange(len(node.input) + 1) :]


def one_input_more(model: Any, choice: random.Random) -> None:
    choice.choice(model.graph.node).input.append(choice.choice(model.graph.initializer).name)


def another_output(model: Any, choice: random.Random) -> None:
    graph = model.graph
    names = [n for node in graph.node for n in node.output]
    graph.output[0].name = choice.choice([*names, X, "absent", graph.initializer[0].name])


def another_attribute(model: Any, choice: random.Random) -> None:
    found = [a for node in model.graph.node for a in node.attribute]
    if not found:
        return
    attribute = choice.choice(found)
    attribute.i, attribute.f = _integer(choice), choice.uniform(-3, 3)
    for place in range(len(attribute.ints)):
        attribute.ints[place] = _integer(choice)
    if attribute.s:
        attribute.s = choice.choice([b"", b"cubic", b"nearest", b"reverse", b"\xff\xfe", b"ij,jk->ki"])


def another_kind_of_attribute(model: Any, choice: random.Random) -> None:
    found = [a for node in model.graph.node for a in node.attribute]
    if found:
        choice.choice(found).type = choice.randrange(15)


def a_new_attribute(model: Any, choice: random.Random) -> None:
    names = ["axis", "axes", "perm", "pads", "kernel_shape", "group", "dilations", "to", "keepdims", "mode"]
    several = choice.random() < 0.5
    value = [_integer(choice) for _ in range(choice.randrange(5))] if several else _integer(choice)
    kind = onnx.AttributeProto.INTS if several else onnx.AttributeProto.INT
    added = helper.make_attribute(choice.choice(names), value, attr_type=kind)
    choice.choice(model.graph.node).attribute.append(added)


def another_size(model: Any, choice: random.Random) -> None:
    dims = choice.choice(model.graph.initializer).dims
    if dims:
        dims[choice.randrange(len(dims))] = abs(_integer(choice)) % 2**62


def another_type(model: Any, choice: random.Random) -> None:
    choice.choice(model.graph.initializer).data_type = choice.randrange(30)


def another_input_shape(model: Any, choice: random.Random) -> None:
    dims = choice.choice(model.graph.input).type.tensor_type.shape.dim
    dims[choice.randrange(len(dims))].dim_value = _integer(choice)


def another_input_type(model: Any, choice: random.Random) -> None:
    choice.choice(model.graph.input).type.tensor_type.elem_type = choice.choice([0, 1, 7, 9, 10, 11, 99])


def other_numbers(model: Any, choice: random.Random) -> None:
    """The first number of a tensor."""
    tensor = choice.choice(model.graph.initializer)
    if tensor.data_type == TensorProto.FLOAT:
        number = np.array(choice.choice([np.nan, np.inf, 1e30, -1e-30, 0.0]), np.float32).tobytes()
    else:
        number = (_integer(choice) % 2**64).to_bytes(8, "little")
    tensor.raw_data = number[: len(tensor.raw_data)] + tensor.raw_data[len(number) :]


def data_cut_off(model: Any, choice: random.Random) -> None:
    tensor = choice.choice(model.graph.initializer)
    tensor.raw_data = tensor.raw_data[: choice.randrange(len(tensor.raw_data) + 1)]


def data_elsewhere(model: Any, choice: random.Random) -> None:
    tensor = choice.choice(model.graph.initializer)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", choice.choice(["/etc/hostname", "../x", "net.onnx", "", "\0"])


def another_order(model: Any, choice: random.Random) -> None:
    nodes = list(model.graph.node)
    choice.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def an_operator_twice(model: Any, choice: random.Random) -> None:
    model.graph.node.append(choice.choice(model.graph.node))


CHANGES: list[Callable[[Any, random.Random], None]] = [
    another_operator,
    another_domain,
    another_opset,
    another_input,
    one_input_less,
    one_input_more,
    another_output,
    another_attribute,
    another_kind_of_attribute,
    a_new_attribute,
    another_size,
    another_type,
    another_input_shape,
    another_input_type,
    other_numbers,
    data_cut_off,
    data_elsewhere,
    another_order,
    an_operator_twice,
]

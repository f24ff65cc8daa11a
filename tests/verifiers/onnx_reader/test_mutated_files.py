"""Mutated files: an error of ours, or the graph of what the file now says; never a crash or a hang."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper
from robustbench_local.verifiers.onnx_reader import CONVERTERS

from robustbench_local.errors import RobustBenchError
from robustbench_local.verifiers import Graph, from_onnx

from .models import X, chain, expected, floats, relative_error

FILES = int(os.environ.get("RBL_MUTATED", "200"))
SECONDS = 5.0


def network() -> bytes:
    """Convolutions, folded shapes, pooling and products in one small file."""
    model = chain(
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
    data: bytes = model.SerializeToString()
    return data


def mutated(data: bytes, seed: int) -> bytes:
    """Seeds take turns: changes of the bytes, and of the model that they encode."""
    choice = random.Random(seed)
    return bytes_changed(data, choice) if seed % 2 else model_changed(data, choice)


def bytes_changed(data: bytes, choice: random.Random) -> bytes:
    """One to three bytes set, one bit flipped, or the end cut off."""
    changed = bytearray(data)
    for _ in range(choice.randint(1, 3)):
        changed[choice.randrange(len(changed))] = choice.randrange(256)
    changed[choice.randrange(len(changed))] ^= 1 << choice.randrange(8)
    return bytes(changed[: choice.randrange(1, len(changed))]) if choice.random() < 0.1 else bytes(changed)


def model_changed(data: bytes, choice: random.Random) -> bytes:
    """One to three changes that keep the encoding whole: operators, inputs, attributes, sizes, weights."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(choice.randint(1, 3)):
        choice.choice(CHANGES)(model.graph, choice)
    changed: bytes = model.SerializeToString()
    return changed


def integer(choice: random.Random) -> int:
    return choice.choice([0, 1, -1, 2, 3, 7, -5, 100, 2**31, -(2**63), 2**63 - 1])


def another_operator(graph: Any, choice: random.Random) -> None:
    choice.choice(graph.node).op_type = choice.choice([*sorted(CONVERTERS), "Loop", "If", "Unknown"])


def another_input(graph: Any, choice: random.Random) -> None:
    node = choice.choice(graph.node)
    names = [X, "", "absent", *(t.name for t in graph.initializer), *(n.output[0] for n in graph.node)]
    if node.input:
        node.input[choice.randrange(len(node.input))] = choice.choice(names)


def one_input_less(graph: Any, choice: random.Random) -> None:
    node = choice.choice(graph.node)
    del node.input[choice.randrange(len(node.input) + 1) :]


def another_attribute(graph: Any, choice: random.Random) -> None:
    found = [a for node in graph.node for a in node.attribute]
    if found:
        attribute = choice.choice(found)
        attribute.i, attribute.f = integer(choice), choice.uniform(-3, 3)
        for place in range(len(attribute.ints)):
            attribute.ints[place] = integer(choice)


def a_new_attribute(graph: Any, choice: random.Random) -> None:
    name = choice.choice(["axis", "axes", "perm", "pads", "kernel_shape", "group", "dilations", "to"])
    value = [integer(choice) for _ in range(choice.randrange(5))] or integer(choice)
    choice.choice(graph.node).attribute.append(helper.make_attribute(name, value, attr_type=kind_of(value)))


def kind_of(value: Any) -> Any:
    return onnx.AttributeProto.INTS if isinstance(value, list) else onnx.AttributeProto.INT


def another_size(graph: Any, choice: random.Random) -> None:
    dims = choice.choice(graph.initializer).dims
    if dims:
        dims[choice.randrange(len(dims))] = abs(integer(choice)) % 2**62


def another_input_shape(graph: Any, choice: random.Random) -> None:
    dims = graph.input[0].type.tensor_type.shape.dim
    dims[choice.randrange(len(dims))].dim_value = integer(choice)


def other_integers(graph: Any, choice: random.Random) -> None:
    tensor = choice.choice([t for t in graph.initializer if t.name in ("one", "four")])
    tensor.raw_data = integer(choice).to_bytes(8, "little", signed=True)


def another_order(graph: Any, choice: random.Random) -> None:
    nodes = list(graph.node)
    choice.shuffle(nodes)
    del graph.node[:]
    graph.node.extend(nodes)


CHANGES: list[Callable[[Any, random.Random], None]] = [
    another_operator,
    another_input,
    one_input_less,
    another_attribute,
    a_new_attribute,
    another_size,
    another_input_shape,
    other_integers,
    another_order,
]


def agrees(graph: Graph, data: bytes) -> bool:
    """Whether the graph is what onnxruntime makes of the file; True where that cannot run it."""
    x = 2 * torch.rand(3, *graph.input_shape, generator=torch.Generator().manual_seed(0)) - 1
    try:
        wanted = expected(data, x, graph)
    except Exception:  # onnxruntime's own errors share no public base; it also checks what no network needs
        return True
    got = graph.run(x)
    return not bool(torch.isfinite(wanted).all()) or relative_error(got, wanted) < 1e-3


def test_two_hundred_mutated_files(tmp_path: Any) -> None:
    pytest.importorskip("onnxruntime")
    data, path = network(), tmp_path / "net.onnx"
    read, wrong = 0, []
    for seed in range(FILES):
        changed = mutated(data, seed)
        path.write_bytes(changed)
        start = time.perf_counter()
        try:
            graph = from_onnx(path)
        except RobustBenchError:
            graph = None
        if time.perf_counter() - start > SECONDS:
            wrong.append(f"{seed}: too slow")
        if graph is not None:
            read += 1
            if not agrees(graph, changed):
                wrong.append(f"{seed}: another function")
    assert wrong == []
    assert FILES / 20 < read < FILES  # the mutations are neither all fatal nor all harmless

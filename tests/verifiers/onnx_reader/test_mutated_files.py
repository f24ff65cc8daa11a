"""Mutated files: an error of ours, or the graph of what the file now says; never a crash or a hang."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
import torch
from onnx import helper

from robustbench_local.errors import RobustBenchError
from robustbench_local.verifiers import Graph, from_onnx

from .models import X, chain, expected, floats, relative_error

FILES = 200
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
            "one": helper_ints(1),
            "four": helper_ints(4),
        },
    )
    data: bytes = model.SerializeToString()
    return data


def helper_ints(*values: int) -> Any:
    import numpy as np

    return np.array(values, dtype=np.int64)


def mutated(data: bytes, seed: int) -> bytes:
    """One to three changes: a byte set, bytes removed, repeated or inserted, the end cut off."""
    choice = random.Random(seed)
    changed = bytearray(data)
    for _ in range(choice.randint(1, 3)):
        place = choice.randrange(len(changed))
        kind = choice.randrange(5)
        if kind < 2:
            changed[place] = choice.randrange(256)
        elif kind == 2:
            del changed[place : place + choice.randint(1, 4)]
        elif kind == 3:
            changed[place:place] = changed[place : place + choice.randint(1, 8)]
        else:
            changed[place] ^= 1 << choice.randrange(8)
    return bytes(changed[: choice.randrange(1, len(changed))]) if choice.random() < 0.05 else bytes(changed)


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
    assert FILES / 10 < read < FILES  # the mutations are neither all fatal nor all harmless

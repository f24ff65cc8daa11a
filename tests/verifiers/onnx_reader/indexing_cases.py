"""One-operator models that take, put, choose or count entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from .cases import IMAGE, MATRIX, ints, number
from .models import X, chain, floats, single


def scattering() -> Iterator[Any]:
    new = floats(1, 2, 6)
    rows = ints(3, 0, 1, 1, 0, 2, 0, 1, 3, 2, 1, 0).reshape(2, 6)
    for kind, opset in (("Scatter", 9), ("ScatterElements", 11), ("ScatterElements", 18)):
        yield single(kind, X, rows, new, shape=(4, 6), opset=opset)
        yield single(kind, X, ints(1, -2).reshape(1, 1, 2), X, shape=(1, 1, 2), opset=opset, axis=2)
        yield single(kind, floats(2, 4, 6), rows, X, shape=(2, 6), opset=opset)
    for reduction, opset in (("add", 16), ("mul", 16), ("max", 18), ("min", 18)):
        settings = {"opset": opset, "reduction": reduction}
        repeated = ints(0, 0, 3, 0).reshape(4, 1)
        yield single("ScatterElements", X, repeated, floats(1, 4, 1), shape=(4, 6), axis=1, **settings)
        yield single("ScatterND", X, repeated, floats(1, 4, 6), shape=(4, 6), **settings)
        yield single("ScatterND", floats(2, 4, 6), repeated, X, shape=(4, 6), **settings)
    for opset in (11, 13, 18):
        yield single("ScatterND", X, ints(0, 3, 0, -2).reshape(2, 2), new, shape=MATRIX, opset=opset)
        yield single("ScatterND", X, ints(1, 5).reshape(1, 2), floats(1, 1), shape=(4, 6), opset=opset)
        yield single(
            "ScatterND", floats(2, 8, 6), ints(7, 0, 2, 1).reshape(4, 1), X, shape=(4, 6), opset=opset
        )


def both_of_top(opset: int, inputs: Sequence[Any], settings: dict[str, Any]) -> Any:
    """The entries and, as numbers, their places."""
    return chain(
        helper.make_node("TopK", [X, *(f"k{i}" for i in range(len(inputs)))], ["v", "i"], **settings),
        helper.make_node("Cast", ["i"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["v", "f"], ["y"], axis=1),
        shape=MATRIX,
        opset=opset,
        weights={f"k{i}": given for i, given in enumerate(inputs)},
    )


def choosing() -> Iterator[Any]:
    some = np.array([True, False, True, True])
    for opset in (9, 11):
        yield single("Compress", X, some, shape=MATRIX, opset=opset, axis=1)
        yield single("Compress", X, some, shape=MATRIX, opset=opset)
        yield single("Compress", X, some, shape=(4, 6), opset=opset, axis=-2)
    turned = ints(1, 3, 2, 4, 1, 2)
    yield single("ReverseSequence", X, turned, shape=(4, 6), opset=10, batch_axis=1, time_axis=0)
    yield single("ReverseSequence", X, ints(6, 1, 3, 2), shape=(4, 6), opset=10, batch_axis=0, time_axis=1)
    for opset, settings, inputs in (
        (7, {"k": 3, "axis": 1}, ()),
        (10, {"axis": 1}, (ints(2),)),
        (11, {}, (ints(2),)),
        (11, {"largest": 0, "axis": 1}, (ints(3),)),
        (24, {"largest": 0, "sorted": 1}, (ints(3),)),
    ):
        yield both_of_top(opset, inputs, settings)
    for opset in (7, 11, 13):
        yield single("Hardmax", X, shape=MATRIX, opset=opset)
        yield single("Hardmax", X, shape=("N", 2, 3, 4), opset=opset, axis=2)
        yield single("Hardmax", X, shape=(2, 3, 4), opset=opset, axis=1)
    for kind in ("ArgMax", "ArgMin"):
        for opset in (7, 11, 13):
            yield single(kind, X, shape=MATRIX, opset=opset, axis=1)
        for opset in (12, 13):
            yield single(kind, X, shape=MATRIX, opset=opset, axis=-1, keepdims=0, select_last_index=1)


def tests() -> Iterator[Any]:
    """Truth values become numbers at the output."""
    yield single("IsNaN", X, shape=MATRIX, opset=9)
    for settings in ({}, {"detect_negative": 0}, {"detect_positive": 0}):
        yield single("IsInf", X, shape=MATRIX, opset=10, **settings)
    yield single("Mod", X, 0.3 + floats(1, 6) ** 2, shape=MATRIX, opset=10, fmod=1)
    yield single("Mod", number(0.7), X, shape=MATRIX, opset=13, fmod=1)
    for kind in ("Equal", "Greater", "Less"):
        yield single(kind, X, floats(1, 6), shape=MATRIX, opset=11)
        yield single(kind, number(0.2), X, shape=MATRIX, opset=13)
        yield single(kind, X, X, shape=MATRIX, opset=19)
    yield single("Greater", X, floats(1, 6), shape=MATRIX, opset=9)
    yield single("Less", X, floats(1, 6), shape=MATRIX, opset=9)
    for kind in ("GreaterOrEqual", "LessOrEqual"):
        yield single(kind, X, floats(1, 6), shape=MATRIX, opset=12)
        yield single(kind, X, X, shape=MATRIX, opset=16)


def quantising() -> Iterator[Any]:
    """To integers and back: the integers themselves are the output's numbers."""
    scale, scales = number(0.02), np.array([0.02, 0.05, 0.01], np.float32)
    for opset in (10, 13, 19, 21):
        yield single("QuantizeLinear", X, scale, shape=IMAGE, opset=opset)
        yield single("QuantizeLinear", X, scale, np.array(100, np.uint8), shape=IMAGE, opset=opset)
        yield single("QuantizeLinear", X, scale, np.array(-3, np.int8), shape=IMAGE, opset=opset)
    for opset in (13, 21):
        zeros = np.array([1, 2, -3], np.int8)
        yield single("QuantizeLinear", X, scales, zeros, shape=IMAGE, opset=opset, axis=1)
    yield single("QuantizeLinear", X, number(0.001), np.array(5, np.int16), shape=IMAGE, opset=21)


FAMILIES = (scattering, choosing, tests, quantising)

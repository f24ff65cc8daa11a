"""One-operator models for every converter: opsets, attributes, both orders of operands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import TensorProto

from .models import X, floats, single

IMAGE = (1, 3, 6, 5)
MATRIX = (1, 4, 6)


def ints(*values: int) -> Any:
    return np.array(values, dtype=np.int64)


def number(value: float) -> Any:
    return np.array(value, dtype=np.float32)


def elementwise() -> Iterator[Any]:
    plain = "Abs Acos Asin Atan Ceil Cos Erf Exp Floor Neg Relu Sigmoid Sign Sin Softplus Softsign Tan Tanh"
    for kind in f"{plain} Elu LeakyRelu Selu Identity HardSigmoid Reciprocal ThresholdedRelu".split():
        for opset in (10, 13):
            yield single(kind, X, shape=("N", 3, 4), opset=opset)
    for kind in ("Cosh", "Sinh", "Celu", "Round"):
        yield single(kind, X, shape=MATRIX, opset=14)
    yield single("HardSwish", X, shape=MATRIX, opset=14)
    yield single("Mish", X, shape=MATRIX, opset=18)
    yield single("Elu", X, shape=MATRIX, opset=13, alpha=0.3)
    yield single("LeakyRelu", X, shape=MATRIX, opset=16, alpha=0.3)
    yield single("Celu", X, shape=MATRIX, opset=12, alpha=0.3)
    yield single("Selu", X, shape=MATRIX, opset=8, alpha=0.3, gamma=2.0)
    yield single("HardSigmoid", X, shape=MATRIX, opset=8, alpha=0.7, beta=0.1)
    yield single("ThresholdedRelu", X, shape=MATRIX, opset=10, alpha=0.2)
    yield single("Gelu", X, shape=MATRIX, opset=20)
    yield single("Gelu", X, shape=MATRIX, opset=20, approximate="tanh")
    yield single("Clip", X, shape=MATRIX, opset=10, min=-0.2, max=0.3)
    yield single("Clip", X, shape=MATRIX, opset=10, min=0.0)
    yield single("Clip", X, shape=MATRIX, opset=7)
    yield single("Clip", X, None, number(0.1), shape=MATRIX, opset=13)
    yield single("Clip", X, number(-0.1), number(0.1), shape=MATRIX, opset=11)
    yield single("Dropout", X, shape=MATRIX, opset=7, ratio=0.5)
    yield single("Dropout", X, number(0.5), np.array(False), shape=MATRIX, opset=13)
    yield single("Cast", X, shape=MATRIX, opset=13, to=TensorProto.FLOAT)
    yield single("Cast", X, shape=MATRIX, opset=9, to=TensorProto.DOUBLE)


def several() -> Iterator[Any]:
    for kind in ("Add", "Sub", "Mul", "Div"):
        for opset in (7, 14):
            yield single(kind, X, 2 + floats(1, 6), shape=MATRIX, opset=opset)
            yield single(kind, X, 2 + floats(1, 4, 1), shape=MATRIX, opset=opset)
            yield single(kind, X, X, shape=MATRIX, opset=opset)
        if kind != "Div":
            yield single(kind, floats(1, 1, 4, 1), X, shape=MATRIX, opset=13)
        yield single(kind, X, number(3.0), shape=(5,), opset=13)
        yield single(kind, X, 2 + floats(2, 3, 4, 6), shape=MATRIX, opset=13)
        yield single(kind, X, 2 + floats(2, 2, 1, 4, 6), shape=MATRIX, opset=13)
        yield single(kind, X, 2 + floats(2, 1, 1, 4, 6), shape=MATRIX, opset=13)
        yield single(kind, X, 2 + floats(2, 3, 1), shape=(3, 5), opset=13)
    for kind in ("Max", "Min", "Sum", "Mean"):
        yield single(kind, X, floats(3, 4, 6), shape=MATRIX, opset=13)
        yield single(kind, floats(3, 6), X, X, floats(4, 6), shape=MATRIX, opset=8)
        yield single(kind, floats(3, 6), floats(4, 6), X, shape=MATRIX, opset=13)
        yield single(kind, X, shape=MATRIX, opset=13)
    yield single("Max", X, number(0.0), shape=MATRIX, opset=13)
    yield single("Pow", X, number(2.0), shape=MATRIX, opset=7)
    yield single("Pow", X, np.array(3, dtype=np.int64), shape=MATRIX, opset=13)
    yield single("Pow", X, np.array([2, 3, 1, 0, 2, 3], dtype=np.float32), shape=MATRIX, opset=12)
    yield single("Pow", 1.5 + floats(1, 6), X, shape=MATRIX, opset=13)
    yield single("PRelu", X, floats(1, 6), shape=MATRIX, opset=9)
    yield single("PRelu", X, floats(1, 3, 1, 1), shape=IMAGE, opset=16)
    condition = floats(5, 4, 6) > 0
    yield single("Where", condition, X, floats(1, 6), shape=MATRIX, opset=9)
    yield single("Where", condition, number(0.5), X, shape=MATRIX, opset=16)


def matrices() -> Iterator[Any]:
    for shape in ((1, 6), ("N", 6), MATRIX, (6,), (2, 6)):
        yield single("MatMul", X, floats(1, 6, 3), shape=shape, opset=9)
        yield single("MatMul", X, floats(1, 6), shape=shape, opset=13)
    for shape in ((6, 4), (6,), (1, 6, 4), (1, 6, 1), (6, 1), (1, 2, 6, 3)):
        yield single("MatMul", floats(1, 3, 6), X, shape=shape, opset=13)
        yield single("MatMul", floats(1, 6), X, shape=shape, opset=13)
    yield single("MatMul", X, floats(1, 1, 6, 2), shape=MATRIX, opset=13)
    yield single("MatMul", X, floats(1, 5, 6, 2), shape=MATRIX, opset=13)
    yield single("MatMul", floats(1, 5, 2, 4), X, shape=MATRIX, opset=13)
    yield single("MatMul", X, floats(1, 2, 3, 6, 2), shape=MATRIX, opset=13)
    yield single("MatMul", X, X, shape=(1, 5, 5), opset=13)
    yield single("MatMul", X, X, shape=(1, 2, 3, 3), opset=13)
    yield single("MatMul", X, X, shape=(5,), opset=13)
    for opset in (7, 9, 11, 13):
        yield single("Gemm", X, floats(1, 3, 6), floats(2, 3), shape=(1, 6), opset=opset, transB=1)
        yield single(
            "Gemm", X, floats(1, 6, 3), number(0.5), shape=("N", 6), opset=opset, alpha=0.7, beta=-2.0
        )
    yield single("Gemm", X, floats(1, 6, 3), shape=(1, 6), opset=11)
    yield single("Gemm", X, floats(1, 6, 3), floats(2, 1, 3), shape=(1, 6), opset=11, beta=0.5)
    yield single("Gemm", X, floats(1, 5, 3), floats(2, 4, 1), shape=(5, 4), opset=11, transA=1)
    yield single("Gemm", X, floats(1, 5, 3), floats(2, 3), shape=(4, 5), opset=13, alpha=2.0)
    yield single("Gemm", floats(1, 3, 4), X, floats(2, 3, 5), shape=(5, 4), opset=13, transB=1, alpha=2.0)
    yield single("Gemm", X, X, X, shape=(4, 4), opset=13, transB=1, alpha=2.0, beta=0.5)
    yield single("Gemm", X, floats(1, 3, 3), X, shape=(1, 3), opset=13, beta=0.5)


def windows() -> Iterator[Any]:
    for opset in (7, 11, 22):
        yield single(
            "Conv", X, floats(1, 2, 3, 3, 2), floats(2, 2), shape=IMAGE, opset=opset, pads=[1, 1, 1, 1]
        )
    weight = floats(1, 2, 3, 3, 3)
    for pads in ([1, 0, 2, 1], [0, 0, 0, 0], [2, 1, 2, 1]):
        yield single("Conv", X, weight, shape=IMAGE, opset=11, pads=pads, strides=[2, 1])
    for mode in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        yield single("Conv", X, floats(1, 2, 3, 2, 3), shape=IMAGE, opset=11, auto_pad=mode, strides=[2, 2])
        yield single("MaxPool", X, shape=IMAGE, opset=11, auto_pad=mode, kernel_shape=[2, 3], strides=[2, 2])
        yield single("AveragePool", X, shape=IMAGE, opset=11, auto_pad=mode, kernel_shape=[2, 2])
    yield single("Conv", X, floats(1, 6, 1, 3, 3), shape=IMAGE, opset=11, group=3, dilations=[2, 1])
    yield single("Conv", X, floats(1, 2, 4, 3), shape=(1, 4, 7), opset=11, strides=[2], pads=[1, 1])
    yield single("Conv", X, floats(1, 2, 2, 2, 2, 2), shape=(1, 2, 3, 4, 3), opset=11)
    weight = floats(1, 3, 2, 3, 3)
    yield single("ConvTranspose", X, weight, floats(2, 2), shape=IMAGE, opset=9, pads=[1, 1, 1, 1])
    yield single("ConvTranspose", X, weight, shape=IMAGE, opset=11, strides=[2, 2], pads=[1, 0, 0, 1])
    yield single("ConvTranspose", X, weight, shape=IMAGE, opset=11, strides=[2, 2], output_padding=[1, 1])
    yield single("ConvTranspose", X, weight, shape=IMAGE, opset=11, strides=[2, 2], output_shape=[12, 10])
    yield single("ConvTranspose", X, floats(1, 3, 1, 2, 2), shape=IMAGE, opset=11, group=3, dilations=[2, 1])
    yield single("ConvTranspose", X, floats(1, 4, 2, 3), shape=(1, 4, 5), opset=11)
    pool = {"kernel_shape": [3, 2], "strides": [2, 2]}
    for kind in ("MaxPool", "AveragePool"):
        for opset in (7, 10, 12):
            yield single(kind, X, shape=IMAGE, opset=opset, pads=[1, 1, 1, 1], **pool)
        yield single(kind, X, shape=IMAGE, opset=11, pads=[1, 0, 0, 1], **pool)
        yield single(kind, X, shape=(1, 2, 7), opset=11, kernel_shape=[3])
        yield single(kind, X, shape=(1, 2, 3, 4, 3), opset=11, kernel_shape=[2, 2, 2])
        yield single(kind, X, shape=(1, 1, 7, 7), opset=12, ceil_mode=1, kernel_shape=[2, 2], strides=[2, 2])
    yield single("MaxPool", X, shape=IMAGE, opset=12, kernel_shape=[2, 2], dilations=[2, 1])
    yield single("AveragePool", X, shape=IMAGE, opset=7, pads=[1, 1, 1, 1], count_include_pad=1, **pool)
    yield single("AveragePool", X, shape=IMAGE, opset=11, pads=[1, 0, 0, 1], count_include_pad=1, **pool)
    for shape in (IMAGE, (1, 2, 7), (1, 2, 3, 4, 3)):
        yield single("GlobalAveragePool", X, shape=shape, opset=7)
        yield single("GlobalMaxPool", X, shape=shape, opset=7)


def normalisations() -> Iterator[Any]:
    scale, shift, mean, variance = floats(1, 3), floats(2, 3), floats(3, 3), 1.5 + floats(4, 3)
    for opset in (7, 9, 14, 15):
        statistics = (X, scale, shift, mean, variance)
        yield single("BatchNormalization", *statistics, shape=IMAGE, opset=opset, epsilon=1e-3)
        yield single("BatchNormalization", *statistics, shape=("N", 3), opset=opset)
    yield single("InstanceNormalization", X, scale, shift, shape=IMAGE, opset=7, epsilon=1e-3)
    yield single("LayerNormalization", X, floats(1, 6), floats(2, 6), shape=MATRIX, opset=17)
    yield single("LayerNormalization", X, floats(1, 4, 6), shape=MATRIX, opset=17, axis=1, epsilon=1e-2)
    yield single("LayerNormalization", X, floats(1, 6), floats(2, 6), shape=(4, 6), opset=17)
    image = (1, 4, 3, 5)
    yield single("GroupNormalization", X, floats(1, 4), floats(2, 4), shape=image, opset=21, num_groups=2)
    yield single("GroupNormalization", X, floats(1, 2), floats(2, 2), shape=image, opset=18, num_groups=2)
    yield single("RMSNormalization", X, floats(1, 6), shape=MATRIX, opset=23, epsilon=1e-3)
    yield single("RMSNormalization", X, floats(1, 4, 6), shape=MATRIX, opset=23, axis=1)
    for kind in ("Softmax", "LogSoftmax"):
        for opset in (7, 11, 13):
            yield single(kind, X, shape=MATRIX, opset=opset)
            yield single(kind, X, shape=(2, 3, 4), opset=opset)
            yield single(kind, X, shape=("N", 2, 3, 4), opset=opset, axis=2)
        yield single(kind, X, shape=MATRIX, opset=13, axis=0)
        yield single(kind, X, shape=(5,), opset=13, axis=0)


def shapes() -> Iterator[Any]:
    for target in ((1, -1), (0, -1), (0, 0, 2, 3), (-1,), (2, 12), (-1, 6), (1, 1, 1, 24), (6, 4)):
        yield single("Reshape", X, ints(*target), shape=MATRIX, opset=9)
    yield single("Reshape", X, ints(0, -1), shape=("N", 4, 6), opset=14)
    for axis in (0, 1, 2, 3):
        yield single("Flatten", X, shape=MATRIX, opset=9, axis=axis)
    yield single("Flatten", X, shape=MATRIX, opset=11, axis=-1)
    yield single("Flatten", X, shape=(4, 6), opset=11)
    yield single("Squeeze", X, shape=(1, 1, 4, 1), opset=7, axes=[1, 3])
    yield single("Squeeze", X, ints(0, 1), shape=(1, 1, 4, 1), opset=13)
    yield single("Squeeze", X, shape=(1, 1, 4, 1), opset=13)
    yield single("Unsqueeze", X, shape=(1, 4), opset=7, axes=[0, 2])
    yield single("Unsqueeze", X, ints(-1, 0), shape=(4,), opset=13)
    for order in ([0, 2, 1], [1, 0, 2], [2, 1, 0], [1, 2, 0]):
        yield single("Transpose", X, shape=MATRIX, opset=9, perm=order)
    yield single("Transpose", X, shape=MATRIX, opset=13)
    yield single("Transpose", X, shape=(4, 6), opset=13)
    for target in ((1, 3, 4, 6), (2, 4, 6), (1,), (5, 2, 1, 6)):
        yield single("Expand", X, ints(*target), shape=MATRIX, opset=8)
    yield single("Expand", X, ints(1, 3, 4), shape=(1, 3, 1), opset=13)
    yield single("Tile", X, ints(1, 2, 3), shape=MATRIX, opset=9)
    yield single("Tile", X, ints(2, 1, 1), shape=MATRIX, opset=13)
    for mode in ("DCR", "CRD"):
        yield single("DepthToSpace", X, shape=(1, 8, 2, 3), opset=11, blocksize=2, mode=mode)
    yield single("SpaceToDepth", X, shape=(1, 2, 4, 6), opset=9, blocksize=2)


def indices() -> Iterator[Any]:
    yield single("Slice", X, shape=MATRIX, opset=9, starts=[1, -4], ends=[3, 1000], axes=[1, 2])
    yield single("Slice", X, shape=MATRIX, opset=7, starts=[0, 1], ends=[1, 2])
    for start, end, axis, step in (
        (0, 9, 1, 2),
        (3, -9, 1, -1),
        (-1, -(2**63), 2, -2),
        (1, 5, -1, 3),
        (0, 1, 0, 1),
    ):
        yield single("Slice", X, ints(start), ints(end), ints(axis), ints(step), shape=MATRIX, opset=10)
    yield single("Slice", X, ints(1, 2), ints(3, 5), shape=(4, 6), opset=13)
    for table in (np.array(2), ints(1), ints(1, 2, 3), ints(3, 0, -1, 3), ints(1, 0, 2, 3).reshape(2, 2)):
        yield single("Gather", X, table, shape=MATRIX, opset=9, axis=1)
        yield single("Gather", X, table, shape=(1, 2, 5), opset=13, axis=-1)
        yield single("Gather", X, table, shape=(4, 6), opset=13)
    yield single("Gather", X, np.array(0), shape=MATRIX, opset=11)
    yield single("Split", X, shape=MATRIX, opset=7, axis=1, split=[1, 3], outputs=2)
    yield single("Split", X, shape=MATRIX, opset=11, axis=2, outputs=3)
    yield single("Split", X, ints(2, 4), shape=MATRIX, opset=13, axis=-1, outputs=2)
    yield single("Split", X, shape=(1, 4, 7), opset=18, axis=2, num_outputs=4, outputs=4)
    yield single("Concat", X, X, floats(1, 1, 2, 6), shape=MATRIX, opset=9, axis=1)
    yield single("Concat", X, X, shape=MATRIX, opset=11, axis=-1)
    yield single("Concat", X, floats(1, 2, 4, 6), X, shape=MATRIX, opset=13, axis=0)
    yield single("Concat", floats(1, 3), X, shape=(5,), opset=13, axis=0)
    yield single("Concat", X, shape=MATRIX, opset=13, axis=0)
    yield single("Pad", X, shape=IMAGE, opset=9, pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.5)
    yield single("Pad", X, ints(0, 1, 0, -1, 0, 0, 2, -1), number(0.5), shape=IMAGE, opset=11)
    yield single("Pad", X, ints(1, 0, 0, 0, 0, 2), shape=MATRIX, opset=13)
    yield single("Pad", X, ints(1, 2), None, ints(-1), shape=MATRIX, opset=18)
    for mode in ("reflect", "edge"):
        yield single("Pad", X, shape=IMAGE, opset=9, pads=[0, 0, 1, 2, 0, 1, 2, 1], mode=mode)
        yield single("Pad", X, ints(2, 3), shape=(5,), opset=13, mode=mode)
    yield single("Pad", X, ints(2, 3), None, shape=(5,), opset=19, mode="wrap")


def tables() -> Iterator[Any]:
    yield single(
        "GatherElements", X, ints(3, 0, 1, -1, 2, 2).reshape(1, 1, 6), shape=MATRIX, opset=11, axis=1
    )
    yield single("GatherElements", X, ints(3, 0, 1, -1).reshape(4, 1), shape=(4, 6), opset=13, axis=-1)
    yield single("GatherND", X, ints(0, 3, 0, -2).reshape(2, 2), shape=MATRIX, opset=11)
    yield single("GatherND", X, ints(3, 5, 0, 1).reshape(2, 2), shape=(4, 6), opset=13)
    yield single("GatherND", X, ints(3, 0).reshape(1, 2), shape=MATRIX, opset=13, batch_dims=1)
    for settings in ({}, {"exclusive": 1}, {"reverse": 1}, {"exclusive": 1, "reverse": 1}):
        yield single("CumSum", X, np.array(1), shape=MATRIX, opset=11, **settings)
        yield single("CumSum", X, np.array(-1), shape=(4, 6), opset=14, **settings)
    yield single("Trilu", X, shape=MATRIX, opset=14)
    yield single("Trilu", X, np.array(-1), shape=(4, 6), opset=14, upper=0)


def reductions() -> Iterator[Any]:
    for axes in ([1], [1, 2], [0]):
        yield single("ReduceProd", X, shape=MATRIX, opset=11, axes=axes, keepdims=0)
    yield single("ReduceProd", X, shape=MATRIX, opset=13)
    for (
        kind
    ) in "ReduceL1 ReduceL2 ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare".split():
        yield single(kind, X, shape=MATRIX, opset=11, axes=[1])
        yield single(kind, X, shape=MATRIX, opset=8, axes=[0, 2], keepdims=0)
        yield single(kind, X, shape=MATRIX, opset=11)
        yield single(kind, X, shape=MATRIX, opset=11, keepdims=0)
        yield single(kind, X, ints(-1), shape=("N", 4, 6), opset=18, keepdims=0)
        yield single(kind, X, ints(0), shape=(4, 6), opset=18)
    yield single("ReduceSum", X, ints(1, 2), shape=MATRIX, opset=13)
    yield single("ReduceSum", X, shape=MATRIX, opset=13, noop_with_empty_axes=1)
    for kind in ("ArgMax", "ArgMin"):
        yield single(kind, X, shape=MATRIX, opset=11, axis=1)
        yield single(kind, X, shape=MATRIX, opset=13, axis=-1, keepdims=0)
        yield single(kind, X, shape=(5,), opset=13)


def resizing() -> Iterator[Any]:
    double = np.array([1, 1, 2, 2], dtype=np.float32)
    yield single("Upsample", X, double, shape=IMAGE, opset=9, mode="nearest")
    yield single("Upsample", X, double, shape=IMAGE, opset=9, mode="linear")
    yield single("Resize", X, double, shape=IMAGE, opset=10, mode="nearest")
    odd = np.array([1, 1, 1.5, 3], dtype=np.float32)
    empty = np.zeros(0, dtype=np.float32)
    for scales in (double, odd):
        for frame in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"):
            settings = {"shape": IMAGE, "opset": 13, "coordinate_transformation_mode": frame}
            yield single("Resize", X, empty, scales, mode="linear", **settings)
            for rounding in ("floor", "round_prefer_floor"):
                yield single("Resize", X, empty, scales, mode="nearest", nearest_mode=rounding, **settings)
    yield single("Resize", X, None, None, ints(1, 3, 9, 10), shape=IMAGE, opset=13, mode="linear")
    yield single("Resize", X, None, None, ints(9, 10), shape=IMAGE, opset=18, axes=[2, 3])
    yield single("Resize", X, None, np.array([1, 1, 0.5, 0.4], dtype=np.float32), shape=IMAGE, opset=13)


def positive() -> Iterator[Any]:
    """Operators whose arguments must be positive: the test shifts the inputs."""
    for kind in ("Log", "Sqrt"):
        yield single(kind, X, shape=MATRIX, opset=13)
    yield single("ReduceLogSum", X, shape=MATRIX, opset=11, axes=[1])
    yield single("ReduceLogSum", X, ints(1, 2), shape=MATRIX, opset=18)
    yield single("Pow", X, number(0.5), shape=MATRIX, opset=13)
    yield single("Div", floats(1, 6), X, shape=MATRIX, opset=13)
    yield single("Reciprocal", X, shape=MATRIX, opset=13)


def recurrent() -> Iterator[Any]:
    """Time-major, a batch of one, 5 steps of 3 features, hidden size 4."""
    steps = (5, 1, 3)
    for kind, gates, states in (("LSTM", 4, 2), ("GRU", 3, 1), ("RNN", 1, 1)):
        for direction, count in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
            weights = floats(1, count, 4 * gates, 3), floats(2, count, 4 * gates, 4)
            biases, start = floats(3, count, 8 * gates), [floats(4 + i, count, 1, 4) for i in range(states)]
            settings = {"shape": steps, "hidden_size": 4, "direction": direction}
            yield single(kind, X, *weights, opset=14, **settings)
            yield single(kind, X, *weights, biases, None, *start, opset=7, **settings)
            for state in range(states):
                model = single(kind, X, *weights, biases, None, *start, opset=7, **settings)
                model.graph.node[0].output[:] = ["", *([""] * state), "end"]
                model.graph.output[0].name = "end"
                yield model
            if kind == "GRU":
                yield single(kind, X, *weights, biases, opset=14, linear_before_reset=1, **settings)
            if kind == "RNN":
                yield single(kind, X, *weights, biases, opset=14, activations=["Relu"] * count, **settings)
    lengths = np.array([5], dtype=np.int32)
    yield single("RNN", X, *weights, None, lengths, opset=14, **settings)


FAMILIES = (
    recurrent,
    elementwise,
    several,
    matrices,
    windows,
    normalisations,
    shapes,
    indices,
    tables,
    reductions,
    resizing,
    positive,
)

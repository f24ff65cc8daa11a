"""One-operator models of layers: windows, resizing, recurrent cells, linear maps, ONNX's own functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .cases import IMAGE, MATRIX, ints, number
from .models import X, floats, single

SEVERAL = (3, 2, 5, 4)
"""A fixed batch of three images: one sample."""


def fixed_batches() -> Iterator[Any]:
    weight, c = floats(1, 3, 2, 2, 3), [floats(k, 2) for k in range(3)]
    yield single("Conv", X, weight, floats(2, 3), shape=SEVERAL, opset=11, pads=[1, 0, 0, 1])
    yield single("ConvTranspose", X, floats(1, 2, 3, 2, 2), shape=SEVERAL, opset=11, strides=[2, 2])
    for kind in ("MaxPool", "AveragePool"):
        yield single(kind, X, shape=SEVERAL, opset=11, kernel_shape=[2, 2], strides=[2, 1])
    for kind in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"):
        yield single(kind, X, shape=SEVERAL, opset=7)
    yield single("BatchNormalization", X, *c, 1.5 + c[0], shape=SEVERAL, opset=15)
    yield single("InstanceNormalization", X, c[0], c[1], shape=SEVERAL, opset=7)
    yield single("LRN", X, shape=SEVERAL, opset=13, size=3)
    yield single("DepthToSpace", X, shape=(3, 8, 2, 3), opset=13, blocksize=2)
    yield single("SpaceToDepth", X, shape=(3, 2, 4, 6), opset=13, blocksize=2)


def pools() -> Iterator[Any]:
    window = {"kernel_shape": [3, 2], "strides": [2, 2]}
    for kind in ("MaxPool", "AveragePool"):
        for pads in ([1, 0, 0, 1], [1, 1, 1, 1], [2, 1, 2, 1], [0, 0, 0, 0]):
            yield single(kind, X, shape=IMAGE, opset=11, pads=pads, ceil_mode=1, **window)
        yield single(kind, X, shape=IMAGE, opset=22, pads=[1, 0, 0, 1], ceil_mode=1, **window)
    for dilation in (1, 2, 3):
        wide = {"kernel_shape": [3, 3], "dilations": [dilation, 1], "pads": [1, 2, 2, 1]}
        yield single("MaxPool", X, shape=(1, 2, 9, 5), opset=12, **wide)
        yield single("MaxPool", X, shape=(1, 2, 9, 5), opset=12, strides=[2, 3], ceil_mode=1, **wide)
    for settings in ({}, {"count_include_pad": 1}, {"strides": [2, 2], "pads": [1, 0, 1, 1]}):
        dilated = {"kernel_shape": [2, 2], "dilations": [2, 1], **settings}
        yield single("AveragePool", X, shape=IMAGE, opset=19, **dilated)
    yield single("AveragePool", X, shape=(1, 2, 7), opset=19, kernel_shape=[2], dilations=[3])
    for order in (1, 2, 3):
        yield single("LpPool", X, shape=IMAGE, opset=7, p=order, pads=[1, 1, 1, 0], **window)
        yield single("LpPool", X, shape=IMAGE, opset=11, p=order, auto_pad="SAME_UPPER", **window)
        yield single("GlobalLpPool", X, shape=IMAGE, opset=7, p=order)
    yield single("LpPool", X, shape=IMAGE, opset=18, kernel_shape=[2, 2], dilations=[2, 2])
    yield single("LpPool", X, shape=IMAGE, opset=22, kernel_shape=[2, 2], strides=[2, 2])
    for size in (1, 3, 5):
        yield single("LRN", X, shape=(1, 4, 3, 2), opset=7, size=size, alpha=0.5, beta=0.7, bias=2.0)
    for order in (1, 2):
        yield single("LpNormalization", X, shape=MATRIX, opset=7, p=order)
        yield single("LpNormalization", X, shape=(4, 6), opset=22, p=order, axis=0)


def sizes() -> Iterator[Any]:
    grown, shrunk = np.array([1, 1, 1.5, 2], np.float32), np.array([1, 1, 0.6, 0.5], np.float32)
    empty = np.zeros(0, np.float32)
    for scales in (grown, shrunk):
        for mode in ("cubic", "linear"):
            yield single("Resize", X, empty, scales, shape=IMAGE, opset=18, mode=mode, antialias=1)
        for extra in ({}, {"cubic_coeff_a": -0.5}, {"exclude_outside": 1}):
            yield single("Resize", X, empty, scales, shape=IMAGE, opset=13, mode="cubic", **extra)
        symmetric = {"coordinate_transformation_mode": "half_pixel_symmetric", "mode": "linear"}
        yield single("Resize", X, empty, scales, shape=IMAGE, opset=19, **symmetric)
    crop = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 0.5}
    roi = np.array([0, 0, -0.2, 0.3, 1, 1, 0.7, 1.1], np.float32)
    yield single("Resize", X, roi, None, ints(1, 3, 4, 6), shape=IMAGE, opset=13, mode="linear", **crop)
    for policy in ("not_larger", "not_smaller"):
        kept = {"keep_aspect_ratio_policy": policy, "axes": [2, 3]}
        yield single("Resize", X, None, None, ints(9, 11), shape=IMAGE, opset=18, **kept)
    yield single("Upsample", X, shape=IMAGE, opset=7, scales=[1.0, 1.0, 2.0, 3.0], mode="nearest")
    grid = floats(1, 1, 3, 4, 2) * 1.2
    for mode in ("bilinear", "nearest", "bicubic"):
        for padding in ("zeros", "border", "reflection"):
            for aligned in (0, 1):
                settings = {"mode": mode, "padding_mode": padding, "align_corners": aligned}
                yield single("GridSample", X, grid, shape=IMAGE, opset=16, **settings)
    for mode in ("linear", "cubic"):
        yield single("GridSample", X, grid, shape=IMAGE, opset=20, mode=mode)
    space = floats(2, 1, 2, 3, 2, 3)
    yield single("GridSample", X, space, shape=(1, 2, 3, 3, 2), opset=20, mode="linear")
    blocks = {"shape": (1, 8, 12), "opset": 18}
    yield single("Col2Im", X, ints(4, 5), ints(2, 2), **blocks)
    yield single("Col2Im", X, ints(2, 3), ints(2, 2), pads=[1, 1, 1, 1], **blocks)


def cells() -> Iterator[Any]:
    """Recurrent cells beside the usual: activations, peepholes, coupled gates, clipping, short sequences."""
    size, batches = 4, ((5, 1, 3), (5, 2, 3))
    for shape in batches:
        for kind, gates, states in (("LSTM", 4, 2), ("GRU", 3, 1), ("RNN", 1, 1)):
            weights = floats(1, 1, gates * size, 3), floats(2, 1, gates * size, size)
            bias, start = floats(3, 1, 2 * gates * size), [floats(4, 1, shape[1], size)] * states
            full = (X, *weights, bias, None, *start)
            settings = {"shape": shape, "opset": 14, "hidden_size": size}
            yield single(kind, *full, **settings)
            yield single(kind, *full, clip=0.3, **settings)
            short = np.array([3, 4][: shape[1]], np.int32)
            yield single(kind, X, *weights, bias, short, *start, **settings)
            names = ["HardSigmoid", "ScaledTanh", "Elu"][: {"LSTM": 3, "GRU": 2, "RNN": 1}[kind]]
            more = {"activation_alpha": [0.3, 0.7, 0.5][: len(names)], "activation_beta": [0.4, 0.9]}
            yield single(kind, *full, activations=names, **more, **settings)
            plain = ["Softsign", "Relu", "Tanh"][: len(names)]
            yield single(kind, *full, activations=plain, **settings)
            yield single(kind, *full, direction="reverse", **settings)
        peepholes = floats(5, 1, 3 * size)
        lstm = (X, floats(1, 1, 16, 3), floats(2, 1, 16, 4), floats(3, 1, 32))
        start = [floats(4, 1, shape[1], 4), floats(6, 1, shape[1], 4)]
        for extra in ({}, {"input_forget": 1}):
            settings = {"shape": shape, "opset": 14, "hidden_size": size, **extra}
            yield single("LSTM", *lstm, None, *start, peepholes, **settings)
            yield single("LSTM", *lstm, None, None, None, peepholes, **settings)
        gru = (X, floats(1, 1, 12, 3), floats(2, 1, 12, 4), floats(3, 1, 24), None, floats(4, 1, shape[1], 4))
        for after in (0, 1):
            settings = {"shape": shape, "opset": 14, "hidden_size": size, "linear_before_reset": after}
            yield single("GRU", *gru, activations=["Sigmoid", "Softplus"], **settings)


def maps() -> Iterator[Any]:
    for equation, shape, constant in (
        ("bij,jk->bik", MATRIX, (6, 3)),
        ("bij,bjk->bik", (1, 4, 6), (1, 6, 3)),
        ("ij,kj->ik", (4, 6), (3, 6)),
        ("...ij,jk->...ik", MATRIX, (6, 3)),
        ("kj,bij->bki", MATRIX, (3, 6)),
        ("ij,j", (4, 6), (6,)),
    ):
        order = (X, floats(1, *constant)) if equation[0] != "k" else (floats(1, *constant), X)
        yield single("Einsum", *order, shape=shape, opset=12, equation=equation)
    yield single("Einsum", X, X, shape=MATRIX, opset=12, equation="bij,bkj->bik")
    yield single("Einsum", X, X, shape=(4, 6), opset=12, equation="ij,kj->ki")
    for opset, along in ((17, {"axis": 1}), (20, {})):
        axis = [] if along else [None, np.array(1, np.int64)]
        for shape in ((1, 5, 1), (1, 5, 2), (1, 4, 3, 2)):
            yield single("DFT", X, *axis, shape=shape, opset=opset, **along)
            yield single("DFT", X, *axis, shape=shape, opset=opset, inverse=1, **along)
        length = np.array(7, np.int64)
        yield single("DFT", X, length, *axis[1:], shape=(1, 5, 1), opset=opset, onesided=1, **along)
    yield single("Det", X, shape=(1, 3, 3), opset=11)
    yield single("Det", X, shape=(2, 3, 3), opset=11)
    for settings in ({}, {"exclusive": 1}, {"reverse": 1}, {"exclusive": 1, "reverse": 1}):
        yield single("CumProd", X, np.array(1), shape=MATRIX, opset=26, **settings)


def functions() -> Iterator[Any]:
    """Operators that ONNX defines by others."""
    yield single("Shrink", X, shape=MATRIX, opset=9, lambd=0.3, bias=0.1)
    yield single("Swish", X, shape=MATRIX, opset=24, alpha=0.7)
    yield single("MeanVarianceNormalization", X, shape=IMAGE, opset=9, axes=[2, 3])
    yield single("MeanVarianceNormalization", X, shape=IMAGE, opset=13, axes=[1, 2, 3])
    yield single("CenterCropPad", X, ints(4, 8), shape=IMAGE, opset=18, axes=[2, 3])
    yield single("CastLike", X, number(1.0), shape=MATRIX, opset=15)
    yield single("CastLike", X, number(1.0), shape=MATRIX, opset=19)
    heads = {"shape": (1, 5, 8), "opset": 23, "q_num_heads": 2, "kv_num_heads": 2}
    keys, values = floats(1, 1, 6, 8), floats(2, 1, 6, 8)
    yield single("Attention", X, keys, values, **heads)
    yield single("Attention", X, X, X, is_causal=1, **heads)
    yield single("Attention", X, keys, values, floats(3, 5, 6), scale=0.3, softcap=2.0, **heads)
    turns = floats(4, 10, 2), floats(5, 10, 2), ints(0, 1, 2, 5, 9).reshape(1, 5)
    yield single("RotaryEmbedding", X, *turns, shape=(1, 2, 5, 4), opset=23)


def hyperbolic() -> Iterator[Any]:
    for kind in ("Asinh", "Atanh"):
        for opset in (9, 22):
            yield single(kind, X, shape=MATRIX, opset=opset)


FAMILIES = (fixed_batches, pools, sizes, cells, maps, functions, hyperbolic)

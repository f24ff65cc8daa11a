"""Draws one layer recipe that fits a shape; one function per layer kind, in one registry.

A function takes Hypothesis' `draw` and one sample's shape and returns a recipe whose output is not empty.
Shapes: vectors (n,), sequences (c, l), images (c, h, w).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from .random_networks import Layer

__all__ = ["LAYERS", "Maker", "fitting"]

Draw = Callable[[st.SearchStrategy[Any]], Any]
Shape = tuple[int, ...]

_WIDTHS = st.integers(1, 4)
_ROOM = 96  # layers that enlarge a sample are offered only below this many coordinates


@dataclass(frozen=True)
class Maker:
    """How to draw one kind of layer: for samples with one of these numbers of axes, growing them or not."""

    axes: frozenset[int]
    draw: Callable[[Draw, Shape], Layer]
    grows: bool = False


#: Every layer kind that `networks` can draw. Simple ones come first: failing examples shrink to them.
LAYERS: dict[str, Maker] = {}

_ANY = (1, 2, 3)


def fitting(shape: Shape, kinds: list[str]) -> list[str]:
    """Those of `kinds` that apply to samples of this shape."""
    roomy = math.prod(shape) <= _ROOM
    return [k for k in kinds if len(shape) in LAYERS[k].axes and (roomy or not LAYERS[k].grows)]


def _layer(
    kind: str, *axes: int, grows: bool = False
) -> Callable[[Callable[[Draw, Shape], Layer]], Callable[[Draw, Shape], Layer]]:
    def enter(draw: Callable[[Draw, Shape], Layer]) -> Callable[[Draw, Shape], Layer]:
        LAYERS[kind] = Maker(frozenset(axes), draw, grows)
        return draw

    return enter


def _plain(kind: str) -> None:
    LAYERS[kind] = Maker(frozenset(_ANY), lambda draw, shape: Layer(kind))


_plain("relu")


@_layer("linear", 1)
def _linear(draw: Draw, shape: Shape) -> Layer:
    return Layer("linear", (shape[0], draw(st.integers(1, 8)), draw(st.booleans())))


_plain("leaky_relu")
_plain("sigmoid")
_plain("tanh")
for _curve in ("gelu", "silu", "softplus", "elu", "hardtanh", "abs", "sin", "square"):
    _plain(_curve)
_plain("softmax")
_plain("log_softmax")
LAYERS["attention"] = Maker(frozenset({2}), lambda draw, shape: Layer("attention"))


@_layer("layer_norm", *_ANY)
def _layer_norm(draw: Draw, shape: Shape) -> Layer:
    return Layer("layer_norm", (shape[-1],))


def _span(draw: Draw, sizes: Shape) -> dict[str, int]:
    """Kernel, stride, padding and dilation of a window that fits in every one of `sizes`."""
    room = min(sizes)
    padding = draw(st.integers(0, 1))
    kernel = draw(st.integers(1, min(3, room + 2 * padding)))
    widest = 1 if kernel == 1 else min(2, (room + 2 * padding - 1) // (kernel - 1))
    return {
        "kernel_size": kernel,
        "stride": draw(st.integers(1, 2)),
        "padding": padding,
        "dilation": draw(st.integers(1, widest)),
    }


def _channels(draw: Draw, channels: int) -> dict[str, int]:
    groups = draw(st.sampled_from([g for g in (1, 2, 3, 4) if channels % g == 0]))
    return {"in_channels": channels, "out_channels": groups * draw(st.integers(1, 2)), "groups": groups}


def _convolution(draw: Draw, shape: Shape) -> Layer:
    options: dict[str, Any] = {**_channels(draw, shape[0]), **_span(draw, shape[1:])}
    options["bias"] = draw(st.booleans())
    return Layer(f"conv{len(shape) - 1}d", options=tuple(options.items()))


LAYERS["conv2d"] = Maker(frozenset({3}), _convolution)
LAYERS["conv1d"] = Maker(frozenset({2}), _convolution)


@_layer("conv_transpose2d", 3, grows=True)
def _conv_transpose2d(draw: Draw, shape: Shape) -> Layer:
    options: dict[str, Any] = _channels(draw, shape[0])
    kernel, stride = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    dilation = draw(st.integers(1, 2))
    # a side of n becomes (n - 1) * stride - 2 * padding + reach + output_padding + 1
    reach = dilation * (kernel - 1)
    most = ((min(shape[1:]) - 1) * stride + reach) // 2
    options |= {"kernel_size": kernel, "stride": stride, "dilation": dilation}
    options |= {"padding": draw(st.integers(0, min(1, most))), "bias": draw(st.booleans())}
    options["output_padding"] = draw(st.integers(0, max(stride, dilation) - 1))
    return Layer("conv_transpose2d", options=tuple(options.items()))


@_layer("batch_norm", *_ANY)
def _batch_norm(draw: Draw, shape: Shape) -> Layer:
    return Layer("batch_norm", (shape[0], len(shape)))


@_layer("normalize", *_ANY)
def _normalize(draw: Draw, shape: Shape) -> Layer:
    return Layer("normalize", (shape[0], len(shape)))


@_layer("scale", *_ANY)
def _scale(draw: Draw, shape: Shape) -> Layer:
    return Layer("scale", (draw(st.sampled_from([2.0, -1.0, 0.5])), draw(st.sampled_from([0.0, 0.25]))))


@_layer("flatten", 2, 3)
def _flatten(draw: Draw, shape: Shape) -> Layer:
    return Layer("flatten")


@_layer("reshape", *_ANY)
def _reshape(draw: Draw, shape: Shape) -> Layer:
    size = math.prod(shape)
    first = draw(st.sampled_from(_divisors(size)))
    second = draw(st.sampled_from(_divisors(size // first)))
    forms = [(size,), (first, size // first), (first, second, size // first // second)]
    return Layer("reshape", (draw(st.sampled_from(forms)),))


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


@_layer("permute", 2, 3)
def _permute(draw: Draw, shape: Shape) -> Layer:
    return Layer("permute", ((0, *draw(st.permutations(range(1, len(shape) + 1)))),))


@_layer("slice", *_ANY)
def _slice(draw: Draw, shape: Shape) -> Layer:
    axis = draw(st.integers(1, len(shape)))
    start = draw(st.integers(0, shape[axis - 1] - 1))
    stop = draw(st.integers(start + 1, shape[axis - 1]))
    return Layer("slice", (axis, start, stop, draw(st.integers(1, 2))))


@_layer("pad", *_ANY, grows=True)
def _pad(draw: Draw, shape: Shape) -> Layer:
    sides = 2 * max(1, len(shape) - 1)  # not the channels
    sizes = tuple(draw(st.lists(st.integers(0, 1), min_size=sides, max_size=sides)))
    return Layer("pad", (sizes, draw(st.sampled_from([0.0, 0.5]))))


def _reduction(kind: str) -> Callable[[Draw, Shape], Layer]:
    def make(draw: Draw, shape: Shape) -> Layer:
        axes = tuple(sorted(draw(st.sets(st.integers(1, len(shape)), min_size=1))))
        return Layer(kind, (axes, len(axes) == len(shape) or draw(st.booleans())))

    return make


LAYERS["mean"] = Maker(frozenset(_ANY), _reduction("mean"))
LAYERS["sum"] = Maker(frozenset(_ANY), _reduction("sum"))


def _pool(kind: str) -> Callable[[Draw, Shape], Layer]:
    def make(draw: Draw, shape: Shape) -> Layer:
        kernel = draw(st.integers(1, min(3, *shape[1:])))
        stride, padding = draw(st.integers(1, kernel)), draw(st.integers(0, kernel // 2))
        return Layer(f"{kind}{len(shape) - 1}d", (kernel, stride, padding))

    return make


for _kind in ("avg_pool", "max_pool"):
    LAYERS[f"{_kind}1d"] = Maker(frozenset({2}), _pool(_kind))
    LAYERS[f"{_kind}2d"] = Maker(frozenset({3}), _pool(_kind))


def _mixing(draw: Draw, shape: Shape, channels: int) -> tuple[Layer, ...]:
    """A branch from `shape` to the same shape with `channels` in the first axis."""
    if len(shape) == 1:
        first = Layer("linear", (shape[0], channels, True))
    else:
        window = {"kernel_size": 3, "padding": 1} if draw(st.booleans()) else {"kernel_size": 1}
        options = {"in_channels": shape[0], "out_channels": channels, **window}
        first = Layer(f"conv{len(shape) - 1}d", options=tuple(options.items()))
    after = draw(st.sampled_from(["none", "relu", "tanh", "batch_norm"]))
    settings = (channels, len(shape)) if after == "batch_norm" else ()
    return (first,) if after == "none" else (first, Layer(after, settings))


@_layer("residual", *_ANY)
def _residual(draw: Draw, shape: Shape) -> Layer:
    return Layer("residual", branches=(_mixing(draw, shape, shape[0]),))


@_layer("product", *_ANY)
def _product(draw: Draw, shape: Shape) -> Layer:
    return Layer("product", branches=(_mixing(draw, shape, shape[0]),))


@_layer("cat", *_ANY, grows=True)
def _cat(draw: Draw, shape: Shape) -> Layer:
    return Layer("cat", branches=tuple(_mixing(draw, shape, draw(_WIDTHS)) for _ in range(2)))

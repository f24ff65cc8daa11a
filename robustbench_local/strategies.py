"""Hypothesis strategies for networks, input sets and queries: property tests of verifiers and attacks.

    from hypothesis import given
    from robustbench_local import strategies as rbs

    @given(data=st.data(), network=rbs.networks())
    def test_attack_never_beats_verifier(data, network):
        query = data.draw(rbs.queries(network))

Every value is described by small integers and floats that Hypothesis draws: failures shrink to few
layers, small shapes and simple numbers, and replay exactly. No global random state is read or changed.
Needs Hypothesis: `pip install robustbench_local[testing]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from robustbench_local.specs import All, Atom, Ball, Box, InputSet, Query, Tree
from robustbench_local.specs import Any as AnyOf

from .errors import MissingPackageError, UnknownNameError
from .random_networks import Layer, RandomNetwork, build_layer

try:
    from hypothesis import strategies as st
except ModuleNotFoundError as error:
    raise MissingPackageError(
        "hypothesis is not installed",
        where="robustbench_local.strategies",
        cure="run: pip install hypothesis",
    ) from error

from .random_layers import LAYERS, fitting

__all__ = [
    "LAYERS",
    "RandomNetwork",
    "balls",
    "boxes",
    "input_sets",
    "networks",
    "queries",
    "shapes",
    "tensors",
]

_Draw = Callable[[st.SearchStrategy[Any]], Any]
_Shape = tuple[int, ...]
_SEEDS = st.integers(0, 2**16)


@st.composite
def shapes(draw: _Draw, *, axes: Sequence[int] = (1, 2, 3), longest: int = 6) -> _Shape:
    """Shapes of one sample: vectors (n,), sequences (c, l), images (c, h, w), each side at most `longest`."""
    count = draw(st.sampled_from(list(axes)))
    sides = draw(st.lists(st.integers(1, longest), min_size=count, max_size=count))
    return tuple(sides if count == 1 else [min(sides[0], 3), *sides[1:]])


@st.composite
def networks(
    draw: _Draw,
    *,
    inputs: st.SearchStrategy[_Shape] | None = None,
    outputs: int | None = None,
    depth: int = 5,
    layers: Collection[str] | None = None,
    dtype: torch.dtype = torch.float32,
) -> RandomNetwork:
    """Networks in eval mode: 1 to `depth` random layers, then a linear one to `outputs` values (2 to 4).

    `inputs` draws the shape of one sample; `layers` restricts the kinds of layers to some of `LAYERS`
    (UnknownNameError otherwise). The module has `input_shape` and `output_shape`; its `repr` rebuilds it.
    """
    kinds = list(LAYERS if layers is None else layers)
    for kind in kinds:
        if kind not in LAYERS:
            raise UnknownNameError.of("layer kind", kind, LAYERS)
    start = shape = draw(inputs if inputs is not None else shapes())
    body: list[Layer] = []
    for _ in range(draw(st.integers(1, depth))):
        choices = fitting(shape, kinds)
        if not choices:
            break
        body.append(LAYERS[draw(st.sampled_from(choices))].draw(draw, shape))
        shape = _shape_after(body[-1], shape)
    if len(shape) > 1:
        body.append(Layer("flatten"))
    body.append(Layer("linear", (math.prod(shape), outputs or draw(st.integers(2, 4)), True)))
    return RandomNetwork(start, body, draw(_SEEDS), dtype)


def _shape_after(layer: Layer, shape: _Shape) -> _Shape:
    with torch.no_grad():
        return tuple(build_layer(layer).eval()(torch.zeros(1, *shape)).shape[1:])


@st.composite
def tensors(
    draw: _Draw, shape: _Shape, *, low: float = -1.0, high: float = 1.0, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Tensors of `shape`, uniform in [low, high]; they shrink to the constant nearest to zero."""
    return _uniform(draw, shape, low, high).to(dtype)


def _uniform(draw: _Draw, shape: _Shape, low: float, high: float) -> Tensor:
    seed = draw(_SEEDS)
    if seed == 0:
        return torch.full(shape, min(max(0.0, low), high), dtype=torch.float64)
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return low + (high - low) * noise


def _batches(batch: int | None) -> st.SearchStrategy[int]:
    return st.integers(1, 3) if batch is None else st.just(batch)


@st.composite
def boxes(
    draw: _Draw,
    shape: _Shape,
    *,
    batch: int | None = None,
    radius: float = 0.5,
    dtype: torch.dtype = torch.float32,
) -> Box:
    """Boxes of samples of `shape` around points of [-1, 1], half widths up to `radius`, some of them zero.

    `batch` boxes, or one to three if None.
    """
    full = (draw(_batches(batch)), *shape)
    centre = _uniform(draw, full, -1, 1)
    width = draw(st.floats(0, radius)) * _uniform(draw, full, -0.5, 1).clamp(min=0)
    return Box((centre - width).to(dtype), (centre + width).to(dtype))


@st.composite
def balls(
    draw: _Draw,
    shape: _Shape,
    *,
    batch: int | None = None,
    p: float | None = None,
    radius: float = 0.5,
    dtype: torch.dtype = torch.float32,
) -> Ball:
    """Balls of norm `p` (1, 2 or inf; any if None) around points of [-1, 1], radii in [0, `radius`]."""
    count = draw(_batches(batch))
    centre = _uniform(draw, (count, *shape), -1, 1).to(dtype)
    radii = draw(st.lists(st.floats(0, radius, width=32), min_size=count, max_size=count))
    norm = draw(st.sampled_from([math.inf, 2, 1])) if p is None else p
    return Ball(centre, torch.tensor(radii, dtype=dtype), norm)


@st.composite
def input_sets(
    draw: _Draw, shape: _Shape, *, batch: int | None = None, dtype: torch.dtype = torch.float32
) -> InputSet:
    """Boxes, balls of each norm, and balls cut by the box [-1, 1] that their centres lie in."""
    kind = draw(st.sampled_from(["box", "ball", "cut ball"]))
    if kind == "box":
        box: Box = draw(boxes(shape, batch=batch, dtype=dtype))
        return box
    ball: Ball = draw(balls(shape, batch=batch, dtype=dtype))
    if kind == "ball":
        return ball
    ones = torch.ones(ball.batch, *shape, dtype=dtype)
    cut: InputSet = ball & Box(-ones, ones)
    return cut


@st.composite
def queries(
    draw: _Draw,
    network: RandomNetwork,
    *,
    batch: int | None = None,
    sets: st.SearchStrategy[InputSet] | None = None,
) -> Query:
    """Queries on `network`: one of `sets` (default: `input_sets`), one to four affine atoms, any AND/OR tree.

    Coefficients and constants are uniform in [-1, 1]; strict and non-strict atoms both occur.
    """
    inputs = draw(input_sets(network.input_shape, batch=batch) if sets is None else sets)
    m = draw(st.integers(1, 4))
    C = _uniform(draw, (inputs.batch, m, math.prod(network.output_shape)), -1, 1)
    d = _uniform(draw, (inputs.batch, m), -1, 1)
    return Query(network, inputs, C, d, draw(_trees(m)), text=f"{m} random atoms")


def _trees(m: int) -> st.SearchStrategy[Tree]:
    """AND/OR trees over the atoms 0 ... m - 1."""
    leaves: st.SearchStrategy[Tree] = st.builds(Atom, st.integers(0, m - 1), st.booleans())

    def grown(children: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        groups = st.lists(children, min_size=1, max_size=3).map(tuple)
        return st.one_of(st.builds(AnyOf, groups), st.builds(All, groups))

    return st.recursive(leaves, grown, max_leaves=5)

"""Hypothesis strategies for input sets that are small, odd-sized and full of awkward numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from hypothesis import strategies as st
from robustbench_local.specs.sets import enclose_sum
from torch import Tensor

from robustbench_local.specs import Ball, Box, Coupled, CoupledBall, InputSet, Polytope, Product

DTYPES = [torch.float32, torch.float64]
NORMS = [1, 2, math.inf]


def uniform(seed: int, shape: tuple[int, ...], low: float = -1.0, high: float = 1.0) -> Tensor:
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return low + (high - low) * noise


@dataclass(frozen=True)
class Draw:
    """What a random set is made from: all numbers follow from the seed."""

    seed: int
    batch: int
    shape: tuple[int, ...]
    dtype: torch.dtype
    scale: float
    p: float

    @property
    def center(self) -> Tensor:
        return uniform(self.seed, (self.batch, *self.shape)).to(self.dtype)

    def uniform(self, stream: int, shape: tuple[int, ...], low: float = -1.0, high: float = 1.0) -> Tensor:
        return uniform(self.seed + stream, shape, low, high)


def random_box(draw: Draw) -> Box:
    center = draw.center
    width = (draw.scale * draw.uniform(1, center.shape, -0.5, 1.0)).clamp(min=0).to(draw.dtype)
    return Box(center - width, center + width)


def random_ball(draw: Draw) -> Ball:
    return Ball(draw.center, draw.scale * draw.uniform(2, (draw.batch,), 0.1, 1.0), draw.p)


def random_cut(draw: Draw) -> InputSet:
    """A ball cut by a box that holds a point of it, with faces that are odd float64 numbers."""
    ball, center, scale = random_ball(draw), draw.center, draw.scale
    near = center.double() + scale * draw.uniform(3, center.shape) * 0.1 / center[0].numel()
    low = near - scale * draw.uniform(4, center.shape, 0.0, 0.7)
    high = near + scale * draw.uniform(5, center.shape, 0.0, 0.7)
    if draw.dtype == torch.float32:  # leave room for float32 points
        low, high = low - 1e-6, high + 1e-6
    return ball & Box(low, high, dtype=draw.dtype)


def random_product(draw: Draw) -> Product:
    """Two or three blocks of other kinds, of two shapes."""
    other = replace(draw, seed=draw.seed + 40, shape=(2,))
    blocks = [random_cut(draw), random_coupled(other), random_ball(replace(other, seed=draw.seed + 60))]
    return Product(blocks[: 2 + draw.seed % 2])


def random_polytope(draw: Draw) -> Polytope:
    """A box cut by one to four rows, some strict, that leave a few float32 steps around the centre."""
    box, center = random_box(replace(draw, scale=max(draw.scale, 1e-3))), draw.center.double()
    m, n = 1 + draw.seed % 4, center[0].numel()
    A = draw.uniform(6, (1 if draw.seed % 3 else draw.batch, m, n))
    if draw.seed % 2:  # rows that share directions, and coordinates that are in no row
        A = A.round()
    room = draw.uniform(7, (draw.batch, m), 1e-3, 0.5) * draw.scale + 2e-6 * n
    b = (A * center.flatten(1).unsqueeze(1)).sum(2) + room
    return Polytope(A, b, box, strict=torch.arange(m) % 2 == 1)


def random_coupled(draw: Draw) -> Coupled:
    """Differences around that of two points of the boxes; 0 in some coordinates, one-sided in others."""
    first, shape = draw.center, (draw.batch, *draw.shape)
    kind = draw.uniform(8, shape, 0, 4).floor()
    shift = torch.where(kind == 0, 0.0, draw.scale * draw.uniform(9, shape))
    second = (first + shift).to(draw.dtype)
    boxes = []
    for k, point in enumerate((first, second)):
        low, high = ((draw.scale * draw.uniform(10 + 2 * k + i, shape, -0.3, 1)).clamp(min=0) for i in (0, 1))
        boxes.append(Box(point - low.to(draw.dtype), point + high.to(draw.dtype)))
    wide = torch.where(kind == 0, 0.0, draw.scale * draw.uniform(14, shape, 0, 1) ** 2)
    least, most = enclose_sum(second.double(), -first.double())
    low = torch.where(kind == 1, least, least - wide)
    return Coupled(boxes[0], boxes[1], low, most + wide)


def random_coupled_ball(draw: Draw) -> CoupledBall:
    """Two boxes, often overlapping, and a radius that some pair of them keeps."""
    first, second = random_coupled(draw).boxes
    x = torch.maximum(first.lower, second.lower).minimum(first.upper)
    far = (x - x.clamp(second.lower, second.upper)).flatten(1).norm(p=1, dim=1)
    radius = far + draw.scale * draw.uniform(15, (draw.batch,), 0.01, 1) + 1e-6 * x[0].numel()
    return CoupledBall(first, second, radius, 1 + draw.seed % 2)


# every kind of set, by name; a new kind is one function and one line here
KINDS: dict[str, Callable[[Draw], InputSet]] = {
    "box": random_box,
    "ball": random_ball,
    "cut": random_cut,
    "polytope": random_polytope,
    "coupled": random_coupled,
    "coupled ball": random_coupled_ball,
    "product": random_product,
}


@st.composite
def sets(draw: Any, kinds: Sequence[str] = tuple(KINDS)) -> tuple[InputSet, int]:
    """A set of a random kind, and a seed for points; centres inside and outside of the cutting box."""
    seed = draw(st.integers(0, 2**16))
    batch, shape = draw(st.integers(1, 4)), draw(st.sampled_from([(1,), (2,), (5,), (2, 3), (1, 4, 4)]))
    dtype = draw(st.sampled_from(DTYPES))
    scale = draw(st.sampled_from([1e-6, 0.03, 1.0, 30.0]))
    kind, p = draw(st.sampled_from(kinds)), draw(st.sampled_from(NORMS))
    return KINDS[kind](Draw(seed, batch, shape, dtype, scale, p)), seed


def samples(inputs: InputSet, seed: int, dtype: torch.dtype) -> Tensor:
    """One random point of each set."""
    noise = uniform(seed, (inputs.batch, *inputs.shape), 0.0, 1.0).to(dtype)
    radial = uniform(seed + 1, (inputs.batch,), 0.0, 1.0).to(dtype)
    return inputs.sample(noise.clamp(max=1 - 1e-6), radial)

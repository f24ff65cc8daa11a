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

from robustbench_local.specs import (
    Ball,
    Box,
    Choice,
    Concatenation,
    Coupled,
    CoupledBall,
    InputSet,
    Levels,
    Meet,
    Patch,
    Polytope,
    Product,
    Segment,
    SparseBall,
    TokenSet,
    Union,
    WeightedBall,
)

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


def random_limits(draw: Draw) -> Box:
    """A box that holds the centre; a fifth of its faces go through it."""
    center = draw.center
    below = draw.scale * (draw.uniform(70, center.shape, 0.0, 1.0) - 0.2).clamp(min=0)
    above = draw.scale * (draw.uniform(71, center.shape, 0.0, 1.0) - 0.2).clamp(min=0)
    return Box((center - below).to(draw.dtype), (center + above).to(draw.dtype))


def random_sparse(draw: Draw) -> SparseBall:
    """Coordinates or groups of them; every third seed has centres that leave the box, and a larger k."""
    center, limits = draw.center, random_limits(draw)
    groups = (draw.uniform(72, draw.shape, 0.0, 4.0).floor().long() * 5) if draw.seed % 2 else None
    k = draw.uniform(73, (draw.batch,), 0.0, 4.0).floor()
    if draw.seed % 3 == 0:
        stray = draw.uniform(74, center.shape, 0.0, 1.0) > 0.8
        center = torch.where(stray, limits.upper.to(draw.dtype) + draw.scale, center)
        k = k + stray.flatten(1).sum(1)
    return SparseBall(center, k, limits, groups=groups)


def random_weighted(draw: Draw) -> WeightedBall:
    """Radii of several sizes and some of 0, alone or cut by a box that holds a point of the ball."""
    center = draw.center
    size = draw.uniform(75, center.shape, -1.0, 1.0)
    radius = draw.scale * torch.where(size > -0.6, 10.0**size, 0.0)
    ball = WeightedBall(center, radius, 1 if draw.p == 1 else 2)
    if draw.seed % 2:
        return ball
    near = center.double() + radius * draw.uniform(76, center.shape) * 0.5 / center[0].numel()
    low = near - draw.scale * draw.uniform(77, center.shape, 0.0, 0.7)
    high = near + draw.scale * draw.uniform(78, center.shape, 0.0, 0.7)
    low, high = torch.where(radius > 0, low, center.double()), torch.where(radius > 0, high, center.double())
    if draw.dtype == torch.float32:
        low, high = low - 1e-6, high + 1e-6
    return ball & Box(low, high, dtype=draw.dtype)


def random_patch(draw: Draw) -> Patch:
    """Images with or without channels, windows of any size at all places, at some, or on a stride."""
    height, width = 1 + draw.seed % 5, 1 + draw.seed % 4
    image = replace(draw, shape=(2, height, width) if draw.seed % 2 else (height, width))
    size = 1 + draw.seed % 7 % height, 1 + draw.seed % 11 % width
    room = height - size[0], width - size[1]
    places = [(0, 0), room, (room[0], 0)] if draw.seed % 3 == 0 else None
    return Patch(image.center, size, random_limits(image), places=places, stride=1 + draw.seed % 2)


def random_choice(draw: Draw) -> Choice:
    points = draw.uniform(80, (draw.batch, 5, *draw.shape)).to(draw.dtype)
    mask = draw.uniform(81, (draw.batch, 5)) > -0.3
    mask[:, draw.seed % 5] = True
    return Choice(draw.scale * points, mask)


def random_levels(draw: Draw) -> Levels:
    """A box with one or two chosen blocks of coordinates, the first of them one coordinate."""
    box, n = random_limits(draw), draw.center[0].numel()
    middle, blocks = box.centre().flatten(1), []
    for i, index in enumerate([torch.tensor([n - 1]), torch.arange(min(3, n - 1))][: 1 + draw.seed % 2]):
        points = middle[:, None, index] + draw.scale * draw.uniform(
            82 + i, (draw.batch, 4, len(index)), -0.3, 0.3
        )
        points[:, 1] = middle[:, index]  # within the box, whatever becomes of the others
        blocks.append((index, Choice(points.to(draw.dtype))))
    return Levels(box, [(index, values) for index, values in blocks if len(index)])


def random_segment(draw: Draw) -> Segment:
    """Between two points; every third seed gives ends a few bits apart, with floats between them."""
    first = draw.center
    second = (first.double() + draw.scale * draw.uniform(84, first.shape)).to(draw.dtype)
    if draw.seed % 3 == 0:
        first, second = (first * 16).round() / 16, (second * 4).round() / 4
    return Segment(first, second)


def random_union(draw: Draw) -> Union:
    """Two or three members, not all of them convex."""
    members = [random_cut(draw), random_choice(draw), random_sparse(draw), random_box(draw)]
    return Union(members[draw.seed % 3 :][:3])


def random_concatenation(draw: Draw) -> Concatenation:
    """Sets of several kinds as one batch, in an order that is not theirs."""
    members = [random_ball(draw), random_box(draw), random_choice(draw)]
    rows = torch.randperm(3 * draw.batch, generator=torch.Generator().manual_seed(draw.seed))
    return Concatenation(members, rows.chunk(3))


def random_meet(draw: Draw) -> Meet:
    """Two balls and rows, or a product and rows, that all hold the first centre with room to spare."""
    draw = replace(draw, scale=max(draw.scale, 1e-3))
    center, scale = draw.center, draw.scale
    n, size = center[0].numel(), (draw.batch, *draw.shape)
    away = center + (0.2 * scale / n * draw.uniform(16, size)).to(draw.dtype)
    radii = [scale * draw.uniform(17 + i, (draw.batch,), 0.4, 1.0) for i in range(2)]
    balls = [Ball(center, radii[0], 2), Ball(away, radii[1], 1)]
    rows = random_polytope(draw)
    if draw.seed % 3 == 0:
        return Meet(balls)
    return Meet([balls[0], rows]) if draw.seed % 3 == 1 else Meet([*balls, rows])


def random_tokens(draw: Draw) -> TokenSet:
    """Vectors of two or three numbers at one to four positions; some are equal, some are masked."""
    T, S, D = 1 + draw.seed % 4, 1 + draw.seed % 5, 2 + draw.seed % 2
    candidates = draw.scale * draw.uniform(90, (draw.batch, T, S, D))
    candidates[:, :, -1] = candidates[:, :, 0]
    mask, original = draw.uniform(91, (draw.batch, T, S)) > -0.5, draw.uniform(92, (draw.batch, T), 0, S)
    swaps = draw.uniform(93, (draw.batch,), 0, T + 1).floor()
    return TokenSet(candidates.to(draw.dtype), original.floor().long(), swaps, mask=mask)


# every kind of set, by name; a new kind is one function and one line here
KINDS: dict[str, Callable[[Draw], InputSet]] = {
    "box": random_box,
    "ball": random_ball,
    "cut": random_cut,
    "polytope": random_polytope,
    "coupled": random_coupled,
    "meet": random_meet,
    "coupled ball": random_coupled_ball,
    "product": random_product,
    "sparse": random_sparse,
    "weighted": random_weighted,
    "patch": random_patch,
    "choice": random_choice,
    "levels": random_levels,
    "segment": random_segment,
    "union": random_union,
    "concatenation": random_concatenation,
    "tokens": random_tokens,
}


# those whose projection is the nearest point up to rounding, and whose support is exact
CONVEX = ("box", "ball", "cut", "coupled", "coupled ball", "polytope", "product", "weighted")


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

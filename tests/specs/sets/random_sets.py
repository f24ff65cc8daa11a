"""Hypothesis strategies for input sets that are small, odd-sized and full of awkward numbers."""

from __future__ import annotations

import math
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from robustbench_local.specs import Ball, Box, InputSet

DTYPES = [torch.float32, torch.float64]
NORMS = [1, 2, math.inf]


def uniform(seed: int, shape: tuple[int, ...], low: float = -1.0, high: float = 1.0) -> Tensor:
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return low + (high - low) * noise


@st.composite
def sets(draw: Any, kinds: tuple[str, ...] = ("box", "ball", "cut")) -> tuple[InputSet, int]:
    """A set of a random kind, and a seed for points; centres inside and outside of the cutting box."""
    seed = draw(st.integers(0, 2**16))
    batch, shape = draw(st.integers(1, 4)), draw(st.sampled_from([(1,), (2,), (5,), (2, 3), (1, 4, 4)]))
    dtype = draw(st.sampled_from(DTYPES))
    scale = draw(st.sampled_from([1e-6, 0.03, 1.0, 30.0]))
    center = uniform(seed, (batch, *shape)).to(dtype)
    kind, p = draw(st.sampled_from(kinds)), draw(st.sampled_from(NORMS))
    if kind == "box":
        width = (scale * uniform(seed + 1, center.shape, -0.5, 1.0)).clamp(min=0).to(dtype)
        return Box(center - width, center + width), seed
    radius = scale * uniform(seed + 2, (batch,), 0.1, 1.0)
    ball = Ball(center, radius, p)
    if kind == "ball":
        return ball, seed
    # the cutting box holds a point of the ball, and its faces are odd float64 numbers
    near = center.double() + scale * uniform(seed + 3, center.shape) * 0.1 / center[0].numel()
    low = near - scale * uniform(seed + 4, center.shape, 0.0, 0.7)
    high = near + scale * uniform(seed + 5, center.shape, 0.0, 0.7)
    if dtype == torch.float32:  # leave room for float32 points
        low, high = low - 1e-6, high + 1e-6
    return ball & Box(low, high, dtype=dtype), seed


def samples(inputs: InputSet, seed: int, dtype: torch.dtype) -> Tensor:
    """One random point of each set."""
    noise = uniform(seed, (inputs.batch, *inputs.shape), 0.0, 1.0).to(dtype)
    radial = uniform(seed + 1, (inputs.batch,), 0.0, 1.0).to(dtype)
    return inputs.sample(noise.clamp(max=1 - 1e-6), radial)

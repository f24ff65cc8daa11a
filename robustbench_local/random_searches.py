"""The worst point of a small set by brute force: all points of a list, else a dense cloud and ascent.

None of this is shared with the attacks or the verifiers that it judges.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.specs import Box, Choice, InputSet, Query

__all__ = ["best_of", "best_points"]

_CLOUD = 1000
_ROUNDS = 25
_STEPS = 24


@torch.no_grad()
def best_points(query: Query, generator: torch.Generator, *, count: int = _CLOUD) -> Tensor:
    """Points (B, *in) of the sets, in their dtype, where the violation is the largest that is known.

    All points of a `Choice`; of other sets `count` random ones, the corners of boxes, and then random steps
    from the best, which get shorter, so that in few dimensions the maximum is met closely.
    """
    if isinstance(query.inputs, Choice) and count == _CLOUD:
        return best_of(query, query.inputs.points.to(query.inputs.dtype).transpose(0, 1))
    best = best_of(query, _cloud(query.inputs, generator, count))
    if count < _CLOUD:
        return best
    box, many = query.inputs.box(), _repeated(query.inputs, _STEPS)
    lower, upper = box.lower.double(), box.upper.double()
    for turn in range(_ROUNDS):
        noise = torch.randn(_STEPS, *best.shape, generator=generator, dtype=torch.float64)
        near = best.double() + noise * (upper - lower) * 0.3 * 0.5**turn
        near = torch.minimum(torch.maximum(near, lower), upper).to(best.dtype)
        moved = many.project(near.flatten(0, 1)).reshape(near.shape)
        best = best_of(query, torch.cat((best.unsqueeze(0), moved)))
    return best


def _repeated(inputs: InputSet, count: int) -> InputSet:
    return inputs.select(torch.arange(inputs.batch).repeat(count))


def _cloud(inputs: InputSet, generator: torch.Generator, count: int) -> Tensor:
    """Random points of the sets, (N, B, *in), half of them at the sets' edges; of boxes corners, too."""
    shape, many = (count, inputs.batch, *inputs.shape), _repeated(inputs, count)
    noise = torch.rand(shape, generator=generator, dtype=torch.float64).clamp(max=1 - 1e-6)
    if isinstance(inputs, Box):
        noise[::2] = noise[::2].round()
        return (inputs.lower + noise * (inputs.upper - inputs.lower)).to(inputs.dtype)
    radial = torch.rand(shape[:2], generator=generator, dtype=torch.float64).clamp(max=1 - 1e-6)
    radial[::2] = 1 - 1e-6
    points = many.sample(noise.flatten(0, 1).to(inputs.dtype), radial.flatten().to(inputs.dtype))
    return points.reshape(shape)


def best_of(query: Query, points: Tensor) -> Tensor:
    """The best of points (N, B, *in) for each sample; those outside their sets do not count."""
    many, flat = query.select(torch.arange(query.batch).repeat(len(points))), points.flatten(0, 1)
    value = many.violation(flat.double())
    value = torch.where(many.inputs.contains(flat) & value.isfinite(), value, -torch.inf)
    return points[value.reshape(len(points), -1).argmax(0), torch.arange(points.shape[1])]

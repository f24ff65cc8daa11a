"""A set as the unit ball of a norm: the coordinates in which minimum-norm attacks work.

The point of a displacement u (n numbers) is `origin + unit * u`. For a ball the unit is its radius, for a box
its half widths, so that |u| <= reach says "in the set", and |u| / reach is the factor by which the set must
be scaled about its origin to reach a point (the Minkowski functional). One search then serves every norm,
every radius per coordinate and every box that limits a ball.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from robustbench_local.errors import SpecError
from robustbench_local.specs import Ball, Box, InputSet, Intersection, SparseBall

from .distances import DISTANCES, Distance

__all__ = ["Gauge", "scaled"]

_FAR = 1e6  # in units: where nothing limits a coordinate
_SLACK = 1e-5  # displacements this much too long are pulled into the set: rounding may have done it


@dataclass(frozen=True, slots=True, eq=False)
class Gauge:
    """B sets in units of themselves; tensors have one row for each, points flattened to n numbers.

    free: whether points may leave the sets on the way; if not, all are projected into them.
    """

    distance: Distance
    free: bool
    origin: Tensor  # (b, n)
    unit: Tensor  # (b, n), at least 0
    lower: Tensor  # (b, n) of displacements, in units, at most 0
    upper: Tensor  # (b, n)
    reach: Tensor  # (b,) the length at which a set ends

    @classmethod
    def of(cls, inputs: InputSet, dtype: torch.dtype) -> Gauge:
        """The gauge of sets, in the dtype of the points.

        Balls, boxes, l0 balls of single coordinates, and balls cut by boxes are their own unit balls. Other
        sets are measured in half widths of their hull, and points stay inside.
        """
        ball = inputs.ball if isinstance(inputs, Intersection) else inputs
        if isinstance(inputs, SparseBall) and inputs.groups is None:
            wide = torch.ones_like(inputs.center)
            return cls._made(0.0, inputs.center, wide, inputs.limits, inputs.k, dtype)
        if isinstance(ball, Ball):
            wide = ball.radius.reshape(-1, *(1,) * len(ball.shape)).expand(ball.center.shape)
            limits = inputs.limits if isinstance(inputs, Intersection) else None
            return cls._made(ball.p, ball.center, wide, limits, None, dtype)
        box = inputs.box()
        half = (box.upper - box.lower) / 2
        gauge = cls._made(math.inf, inputs.centre(), half, None, None, dtype)
        return gauge if isinstance(inputs, Box) else gauge.confined()

    @classmethod
    def _made(
        cls,
        p: float,
        origin: Tensor,
        unit: Tensor,
        limits: Box | None,
        reach: Tensor | None,
        dtype: torch.dtype,
    ) -> Gauge:
        flat, size = origin.flatten(1), unit.flatten(1)
        lower, upper = torch.full_like(flat, -_FAR), torch.full_like(flat, _FAR)
        if limits is not None:
            far = size.clamp(min=1e-30)
            lower = ((limits.lower.flatten(1) - flat) / far).clamp(-_FAR, 0)
            upper = ((limits.upper.flatten(1) - flat) / far).clamp(0, _FAR)
        ends = torch.ones_like(flat[:, 0]) if reach is None else reach.to(flat)
        numbers = (flat, size, lower, upper, ends)
        return cls(DISTANCES[p], True, *(number.to(dtype) for number in numbers))

    def confined(self) -> Gauge:
        """The same gauge for points that stay in the sets."""
        return Gauge(self.distance, False, *(getattr(self, name) for name in _TENSORS))

    def select(self, keep: Tensor) -> Gauge:
        """The sets at a mask or index (b,)."""
        return Gauge(self.distance, self.free, *(getattr(self, name)[keep] for name in _TENSORS))

    def share(self, u: Tensor) -> Tensor:
        """The factor (b,) by which each set must be scaled to reach displacements u (b, n)."""
        return self.distance.length(u) / self.reach.clamp(min=1)

    def points(self, u: Tensor, inputs: InputSet) -> Tensor:
        """The points (b, *shape) of displacements u (b, n); those of the sets lie in them exactly."""
        x = (self.origin + self.unit * u).reshape(-1, *inputs.shape)
        near = self.share(u) <= 1 + _SLACK
        if not self.free or bool(near.all()):
            return inputs.project(x)
        if not bool(near.any()):
            return x
        rows = near.nonzero().flatten()
        return x.index_copy(0, rows, inputs.select(rows).project(x[rows]))

    def displacements(self, x: Tensor) -> Tensor:
        """The displacements (b, n) of points x (b, *shape), within the limits; 0 where the unit is."""
        u = (x.flatten(1) - self.origin) / self.unit.clamp(min=1e-30)
        return self.cut(torch.where(self.unit > 0, u, 0.0))

    def cut(self, u: Tensor) -> Tensor:
        """Displacements u (b, n) within the limits."""
        return u.clamp(self.lower, self.upper)


_TENSORS = [field.name for field in fields(Gauge)][2:]


def scaled(inputs: InputSet, factor: Tensor) -> InputSet:
    """The sets scaled by factors (B,) about their origins; limits of balls stay as they are.

    Raises SpecError for sets that cannot be scaled.
    """
    wide = factor.to(device=inputs.device, dtype=torch.float64)
    if isinstance(inputs, Ball):
        return Ball(inputs.center, inputs.radius * wide, inputs.p, dtype=inputs.dtype)
    if isinstance(inputs, Intersection):
        ball = inputs.ball
        return Ball(ball.center, ball.radius * wide, ball.p, dtype=ball.dtype) & inputs.limits
    if isinstance(inputs, SparseBall) and inputs.groups is None:
        count = (inputs.k * wide).round().clamp(max=inputs.center[0].numel())
        return SparseBall(inputs.center, count, inputs.limits, dtype=inputs.dtype)
    if isinstance(inputs, Box):
        half = (inputs.upper - inputs.lower) / 2 * wide.reshape(-1, *(1,) * len(inputs.shape))
        return Box(inputs.centre() - half, inputs.centre() + half, dtype=inputs.dtype)
    raise SpecError(
        f"{inputs!r} has no radius that could be scaled",
        cure="give a ball, a ball cut by a box, an l0 ball of coordinates, or a box",
    )

"""Weighted l1 and l2 balls on flattened points: membership, projection, supports; alone or cut by a box.

In units of the radii the ball is the unit ball, so supports are those of `norms` with rows a_i r_i. The
nearest point is another one there, and is found by its own multiplier: the conditions of optimality
give y_i = c_i + d_i r_i^2 / (r_i^2 + t) for l2 and |y_i - c_i| = (|d_i| - t / r_i)+ for l1, d = x - c,
clamped to the box, with the smallest t >= 0 that keeps the weighted length at most 1.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from robustbench_local.errors import EmptySetError

from .box import Box
from .norms import Norm
from .roots import monotone_root
from .rounding import enclose_sum, round_down, round_up, weighted_distance_at_most

__all__ = ["WeightedBody"]

_U = torch.finfo(torch.float64).eps
_FAR = 1e100  # displacements beyond are all alike, and their squares stay finite

Faces = tuple[Tensor, Tensor]


class _Cast(NamedTuple):
    """A ball in one dtype; all (B, n), rounded so that it covers the real one."""

    center: Tensor
    slack: Tensor | None  # what rounding the centre costs; None where it costs nothing
    radius: Tensor
    reach: Faces | None  # the box in units of the radii, around the real centre


class WeightedBody:
    """The points x of the box `limits`, if given, with |(x - center) / radius| <= 1 in `norm`.

    center and radius (B, n) float64, radius >= 0; limits of shape (n,).
    """

    __slots__ = ("_casts", "center", "limits", "norm", "radius")

    def __init__(self, center: Tensor, radius: Tensor, norm: Norm, limits: Box | None) -> None:
        self.center, self.radius, self.norm, self.limits = center, radius, norm, limits
        self._casts: dict[torch.dtype, _Cast] = {}

    def support(self, a: Tensor) -> Tensor:
        """<a_k, center> + dual norm of a_k * radius, or dual bounds: a (B or 1, K, n) -> (B, K)."""
        ball = self._cast(a.dtype)
        scaled = a * ball.radius.unsqueeze(1)
        best = self.norm.dual(scaled)
        if ball.reach is not None:
            low, high = (face.unsqueeze(1) for face in ball.reach)
            one = torch.ones(len(self.center), 1, dtype=a.dtype, device=a.device)
            best = torch.minimum(best, self.norm.box_support(scaled, (low, high), one))
        best = best + _along(a, ball.center)
        if ball.slack is not None:
            best = best + _along(a.abs(), ball.slack)
        return best if self.limits is None else torch.minimum(best, self.limits.support(a))

    def contains(self, x: Tensor) -> Tensor:
        """Exact membership of x (B, n), (B,) bool.

        A float64 sum with a proven margin decides, and exact arithmetic where the margin leaves it open.
        """
        wide, n = x.to(torch.float64), x.shape[1]
        fixed = self.radius == 0
        ratio = torch.where(fixed, 0.0, (wide - self.center).abs() / self.radius)
        mass = ratio.pow(self.norm.power).sum(1)  # relative error < (n + 6) u, and underflow
        margin = (n + 12) * _U
        fits = torch.isfinite(wide).all(1) & (~fixed | (wide == self.center)).all(1)
        inside = fits & (mass <= 1 - margin - n * 1e-290)
        for b in (fits & ~inside & ~(mass > 1 + margin)).nonzero().flatten().tolist():
            point, center, radius = (t[b].tolist() for t in (wide, self.center, self.radius))
            inside[b] = weighted_distance_at_most(point, center, radius, self.norm.power)
        return inside if self.limits is None else inside & self.limits.contains(x)

    def select(self, index: Tensor) -> WeightedBody:
        """The balls at an index."""
        limits = None if self.limits is None else self.limits.select(index)
        return WeightedBody(self.center[index], self.radius[index], self.norm, limits)

    def project(self, x: Tensor) -> Tensor:
        """The nearest points to x (B, n), in its dtype."""
        faces = None if self.limits is None else self.limits.inner(x.dtype)
        start = x if faces is None else x.clamp(*faces)  # if this lies in the ball it is the answer
        rows = (~self.contains(start) & ~torch.isnan(x).any(1)).nonzero().flatten()
        if not rows.numel():
            return start
        part = None if faces is None else (faces[0][rows], faces[1][rows])
        return start.index_copy(0, rows, self.select(rows)._pull(x[rows], part))

    @torch.inference_mode(False)
    def _cast(self, dtype: torch.dtype) -> _Cast:
        if dtype not in self._casts:
            cast = self.center.to(dtype)
            gap = (self.center - cast.to(torch.float64)).abs()
            slack = round_up(gap, dtype) if bool(gap.any()) else None
            radius = round_up(self.radius, dtype)
            reach = None if self.limits is None else _reach(self.limits, self.center, radius)
            self._casts[dtype] = _Cast(cast, slack, radius, reach)
        return self._casts[dtype]

    def _pull(self, x: Tensor, faces: Faces | None) -> Tensor:
        """`project` for rows that lie outside."""
        d = (x.to(torch.float64) - self.center).clamp(-_FAR, _FAR)
        step = self._shrunk(d, faces)
        y = self._rounded(step, x.dtype, faces)
        for factor in (0.9, 0.75, 0.5, 0.25, 0.1, 0.0):  # radii close to the spacing of the floats
            failed = ~self.contains(y)
            if not bool(failed.any()):
                return y
            y[failed] = self._rounded(factor * step, x.dtype, faces)[failed]
        failed = ~self.contains(y)
        if bool(failed.any()):
            b = int(failed.nonzero()[0])
            raise EmptySetError(
                f"a weighted {self.norm!r} ball around {self.center[b, :3].tolist()}.. holds no point of "
                f"{x.dtype} (within its box)",
                cure="use float64 points or larger radii",
            )
        return y

    def _shrunk(self, d: Tensor, faces: Faces | None) -> Tensor:
        """The displacements nearest to d (B, n) of weighted length <= 1, within the faces; float64."""
        weights = torch.where(self.radius > 0, 1 / self.radius, 0.0).clamp(max=torch.finfo(d.dtype).max)
        moved = torch.where(self.radius > 0, d, 0.0)
        reach = None if faces is None else tuple(face.to(torch.float64) - self.center for face in faces)

        def point(s: Tensor) -> Tensor:
            y = self.norm.soften(moved, s.unsqueeze(1), weights)
            return y if reach is None else y.clamp(*reach)

        def excess(s: Tensor) -> Tensor:
            return self.norm.length(point(s) * weights) - target

        zero, target = d.new_zeros(d.shape[0]), 1 - (d.shape[1] + 8) * _U
        ends, tolerance = (excess(zero), excess(zero + 1)), zero + 8 * (1 - target)
        y = point(monotone_root(excess, ends, tolerance=tolerance, iterations=100))
        if reach is None:  # what cancels in far points' thresholds
            length = self.norm.length(y * weights).unsqueeze(1)
            on_edge = (ends[1] > 0).unsqueeze(1) & (length > 0.5)
            y = torch.where(on_edge, y * (target / length), y)
        return y

    def _rounded(self, step: Tensor, dtype: torch.dtype, faces: Faces | None) -> Tensor:
        """center + step on the grid of `dtype`, towards the centre, so that no distance grows."""
        down, up = enclose_sum(self.center, step)
        moved = torch.where(step > 0, down, up)
        grid = moved.to(dtype)
        beyond = (grid.to(torch.float64) - self.center).abs() > (moved - self.center).abs()
        grid = torch.where(beyond, torch.nextafter(grid, self.center.to(dtype)), grid)
        return grid if faces is None else grid.clamp(*faces)


def _reach(limits: Box, center: Tensor, radius: Tensor) -> Faces:
    """The limits' faces in units of the radii (B, n), rounded outward, within the unit ball's own."""
    wide, fixed = radius.to(torch.float64), radius == 0

    def face(value: Tensor, towards: float) -> Tensor:
        ratio = torch.nextafter(value / wide, torch.full_like(value, towards))
        return torch.where(fixed, 0.0, ratio.clamp(-1.0, 1.0))

    low = face(enclose_sum(limits.lower, -center)[0], -math.inf)
    high = face(enclose_sum(limits.upper, -center)[1], math.inf)
    return round_down(low, radius.dtype), round_up(high, radius.dtype)


def _along(rows: Tensor, points: Tensor) -> Tensor:
    """<rows_k, point>: (B or 1, K, n), (B, n) -> (B, K)."""
    return points @ rows[0].T if rows.shape[0] == 1 else (points.unsqueeze(1) @ rows.mT).squeeze(1)

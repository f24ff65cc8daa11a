"""l1 and l2 balls on flattened points, alone or cut by a box: membership, projection, support.

Rounding. Let u be the distance from 1 to the next float of x's dtype. Differences x - c computed in
that dtype are off by u/2 relative, and adding a displacement to c by at most u/2 * (|c| + radius) in
norm. So a displacement scaled to `target` = radius - u (8 radius + |c| + radius) lands inside for
certain, and a computed length <= (1 - 4u) radius - |c - cast(c)| proves membership. What these two
lines leave open (a band of a few u) is decided exactly; rows whose radius is not much wider than the
float grid take the slow path at the bottom.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from robustbench_local.errors import EmptySetError

from .norms import Norm
from .roots import monotone_root
from .rounding import distance_at_most, enclose_sum, round_up

__all__ = ["RoundBall"]

_U64 = torch.finfo(torch.float64).eps


class _Cast(NamedTuple):
    """A ball in one dtype; (B,) float64 except `center` (B, n)."""

    center: Tensor  # rounded to nearest
    cover: Tensor  # radius that makes the cast ball contain the real one
    sure: Tensor  # computed lengths up to here prove membership
    open: Tensor  # computed lengths above here prove the contrary
    target: Tensor  # displacements of this length land inside


class RoundBall:
    """The points x with |x - center| <= radius in `norm`; center (B, n) and radius (B,) float64."""

    __slots__ = ("_casts", "center", "norm", "radius")

    def __init__(self, center: Tensor, radius: Tensor, norm: Norm) -> None:
        self.center, self.radius, self.norm = center, radius, norm
        self._casts: dict[torch.dtype, _Cast] = {}

    @torch.inference_mode(False)
    def cast(self, dtype: torch.dtype) -> _Cast:
        """The ball in `dtype`, with the margins of the module's docstring."""
        if dtype not in self._casts:
            u, n, center = torch.finfo(dtype).eps, self.center.shape[1], self.center.to(dtype)
            offset = self.norm.length(self.center - center.to(torch.float64)) * (1 + 1e-6)
            size = self.norm.length(self.center) * (1 + 1e-6) + self.radius
            # the second term: sums of n terms in float64, here and in `contains`
            band = u * (4 * self.radius + n * torch.finfo(dtype).tiny) + 2 * (n + 8) * _U64 * self.radius
            self._casts[dtype] = _Cast(
                center,
                self.radius + offset * (1 + _U64),
                self.radius - band - offset,
                self.radius + band + offset,
                self.radius - 2 * band - u * size,
            )
        return self._casts[dtype]

    def support(self, a: Tensor) -> Tensor:
        """<a_k, center> + radius * dual norm, over the ball cast outward: a (B or 1, K, n) -> (B, K)."""
        ball = self.cast(a.dtype)
        radius = round_up(ball.cover, a.dtype).unsqueeze(-1)
        linear = ball.center @ a[0].T if a.shape[0] == 1 else (ball.center.unsqueeze(1) @ a.mT).squeeze(1)
        return linear + radius * self.norm.dual(a)  # one row set shared by the batch: one norm

    def box_support(self, a: Tensor, faces: tuple[Tensor, Tensor]) -> Tensor:
        """Dual bounds of the ball cut by a box whose faces (B, n) are of a's dtype: (B, K)."""
        ball = self.cast(a.dtype)
        low, high = enclose_sum(faces[0], -ball.center)[0], enclose_sum(faces[1], -ball.center)[1]
        reach = low.unsqueeze(1), high.unsqueeze(1)
        radius = round_up(ball.cover, a.dtype).unsqueeze(-1)
        linear = (ball.center.unsqueeze(1) @ a.mT).squeeze(1)
        return linear + self.norm.box_support(a.expand(radius.shape[0], -1, -1), reach, radius)

    def steepest(self, g: Tensor) -> Tensor:
        """radius times the steepest direction of the norm for g (B, n)."""
        return self.radius.to(g.dtype).unsqueeze(-1) * self.norm.steepest(g)

    def draw(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """A uniform point of the ball up to rounding, (B, n), from uniform (B, n) and radial (B,)."""
        n = self.center.shape[1]
        length = self.radius * radial.to(torch.float64) ** (1.0 / max(n, 1))
        step = length.to(uniform.dtype).unsqueeze(-1) * self.norm.direction(uniform)
        return self.cast(uniform.dtype).center + step

    def contains(self, x: Tensor) -> Tensor:
        """Exact membership of x (B, n), (B,) bool."""
        with torch.no_grad():
            power, n = self.norm.power, x.shape[1]
            wide = x.to(torch.float64)
            mass = (wide - self.center).abs().pow(power).sum(1)  # relative error < (n + 3) u
            bound, margin = self.radius.pow(power), (n + 8) * _U64
            finite, measured = torch.isfinite(wide).all(1), torch.isfinite(mass)
            # 1e-290 covers what squaring may lose by underflow; overflow leaves the row open
            inside = measured & (mass * (1 + margin) + 1e-290 <= bound * (1 - margin))
            outside = (mass * (1 - margin) > bound * (1 + margin) + 1e-290) & measured
            for b in (finite & ~inside & ~outside).nonzero().flatten().tolist():
                inside[b] = distance_at_most(
                    wide[b].tolist(), self.center[b].tolist(), float(self.radius[b]), power
                )
            return inside

    def select(self, index: Tensor) -> RoundBall:
        """The balls at an index."""
        ball = RoundBall(self.center[index], self.radius[index], self.norm)
        ball._casts.update({k: _Cast(*(t[index] for t in v)) for k, v in self._casts.items()})
        return ball

    @torch.no_grad()
    def project(self, x: Tensor, faces: tuple[Tensor, Tensor] | None) -> Tensor:
        """The nearest point of the ball, cut by the box of `faces` if given, to x (B, n).

        `faces` (B, n) are of x's dtype, so clamping to them is exact. Points inside are returned
        as they are; the others land within a few u of the boundary, exactly inside.
        """
        start = x if faces is None else x.clamp(*faces)  # if this lies in the ball it is the answer
        outside = ~self._inside(start)
        if not bool(outside.any()):
            return start
        if bool(outside.all()):
            return self._pull(x, faces)
        rows = outside.nonzero().flatten()
        part = None if faces is None else (faces[0][rows], faces[1][rows])
        return start.index_copy(0, rows, self.select(rows)._pull(x[rows], part))

    def _inside(self, x: Tensor) -> Tensor:
        ball = self.cast(x.dtype)
        length = self.norm.length(x - ball.center)
        inside = length <= ball.sure
        rows = (~inside & (length <= ball.open)).nonzero().flatten()
        if rows.numel():
            inside[rows] = self.select(rows).contains(x[rows])
        return inside

    def _pull(self, x: Tensor, faces: tuple[Tensor, Tensor] | None) -> Tensor:
        """`project` for rows that are outside or have no finite length."""
        ball = self.cast(x.dtype)
        target = ball.target.clamp(min=0.0)
        if faces is None:
            d = x - ball.center
            step = self.norm.shrink(d, self.norm.multiplier(d, target))
            scale = (target / self.norm.length(step)).clamp(max=1.0).nan_to_num(0.0)
            y = step.mul_(scale.to(x.dtype).unsqueeze(-1)).add_(ball.center)
        else:
            y = self._pull_in_box(x - ball.center, target, faces)
        # NaN coordinates stay as they are: such a row has no nearest point
        broken = (~self._inside(y) & ~torch.isnan(x).any(1)).nonzero().flatten()
        if broken.numel():
            part = None if faces is None else (faces[0][broken], faces[1][broken])
            y[broken] = _pull_coarse(self.select(broken), y[broken], part)
        return y

    def _pull_in_box(self, d: Tensor, target: Tensor, faces: tuple[Tensor, Tensor]) -> Tensor:
        """min |y - x|^2 in ball and box: y = clamp(c + shrink(d, s)), whose length grows with s."""
        center = self.cast(d.dtype).center

        def point(s: Tensor) -> Tensor:
            return (center + self.norm.shrink(d, s)).clamp(*faces)

        def excess(s: Tensor) -> Tensor:
            return self.norm.quick(point(s) - center) - target

        ends = excess(torch.zeros_like(target)), excess(torch.ones_like(target))
        tolerance = self.radius - target  # as much as rounding costs anyway
        guess = self.norm.multiplier(d, target)
        return point(monotone_root(excess, ends, tolerance=tolerance, guess=guess))


def _pull_coarse(ball: RoundBall, y: Tensor, faces: tuple[Tensor, Tensor] | None) -> Tensor:
    """Points inside near y for rows whose radius is close to the spacing of the floats."""
    center = ball.center
    step = (y.to(torch.float64) - center).nan_to_num(0.0, 0.0, 0.0)
    length = ball.norm.length(step)
    step = step * (ball.radius / length).clamp(max=1.0).nan_to_num(0.0).unsqueeze(-1)
    best = torch.zeros_like(y)
    found = torch.zeros(len(y), dtype=torch.bool, device=y.device)
    for factor in (1.0, 0.9, 0.75, 0.5, 0.25, 0.1, 0.0):
        moved = center + factor * step
        grid = moved.to(y.dtype)
        beyond = (grid.to(torch.float64) - center).abs() > (moved - center).abs()
        towards = torch.nextafter(grid, center.to(y.dtype))  # a stop at the centre's own cast
        grid = torch.where(beyond, towards, grid)
        grid = grid if faces is None else grid.clamp(*faces)
        best = torch.where(found.unsqueeze(-1), best, grid)
        found = found | ball.contains(best)
        if bool(found.all()):
            return best
    row = int((~found).nonzero()[0])
    raise EmptySetError(
        f"an l{ball.norm.power} ball of radius {float(ball.radius[row])!r} around "
        f"{center[row, :3].tolist()}.. holds no point of {y.dtype} (within its box)",
        cure="use float64 points or a larger radius",
    )

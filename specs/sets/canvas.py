"""Points that keep a centre's values except where they are set free: what l0 balls and patches share.

A coordinate is *stray* where the centre's value lies outside the limits, and *forced* in a dtype where it
is stray or no number of that dtype: only points in which it is free lie in the set.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError

from .box import Box, box_within
from .input_set import as_numbers
from .rounding import enclose_sum, round_up

__all__ = ["Canvas"]

_MOST_NUMBERS = 2**25  # of gains held at once: about 130 MB of float32


class _Cast(NamedTuple):
    """A canvas in one dtype; all (B, n)."""

    center: Tensor  # rounded to nearest
    slack: Tensor | None  # what that rounding costs, rounded up; None where it costs nothing
    rise: Tensor  # upper limit - cast centre, rounded up
    fall: Tensor  # cast centre - lower limit, rounded up


class Canvas:
    """A centre (B, *shape) and the box `limits` that its coordinates range over where they are free."""

    __slots__ = ("_casts", "center", "limits", "stray")

    @torch.inference_mode(False)  # what is kept must stay usable under autograd later
    def __init__(self, center: Tensor, limits: Box) -> None:
        if tuple(center.shape) != (limits.batch, *limits.shape):
            raise ShapeError(
                f"center has shape {tuple(center.shape)}, the limits {(limits.batch, *limits.shape)}"
            )
        self.center, self.limits = as_numbers("center", center), limits
        lower, upper = limits.inner(torch.float64)
        self.stray = (self.center < lower) | (self.center > upper)  # (B, *shape)
        self._casts: dict[torch.dtype, _Cast] = {}

    @torch.inference_mode(False)
    def cast(self, dtype: torch.dtype) -> _Cast:
        """The canvas in `dtype`; centre and slack cover the real centre, rise and fall the limits."""
        if dtype not in self._casts:
            center = self.center.to(dtype)
            wide = center.to(torch.float64)
            gap = (self.center - wide).abs()  # exact: both are close together, or equal
            slack = round_up(gap, dtype).flatten(1) if bool(gap.any()) else None
            rise = round_up(enclose_sum(self.limits.upper, -wide)[1], dtype)
            fall = round_up(enclose_sum(wide, -self.limits.lower)[1], dtype)
            self._casts[dtype] = _Cast(center.flatten(1), slack, rise.flatten(1), fall.flatten(1))
        return self._casts[dtype]

    def support(self, a: Tensor, pick: Callable[[Tensor, slice], Tensor]) -> Tensor:
        """<a_k, centre> plus what `pick` makes of the gains of coordinates: a (B or 1, K, *shape) -> (B, K).

        pick(gains, rows): from the gains (b, K, n) of the problems `rows` to those of the best choice
        (b, K). A coordinate's gain is what <a, x> grows by at most where it is set free.
        """
        cast, rows = self.cast(a.dtype), a.flatten(2)
        base = cast.center @ rows[0].T if rows.shape[0] == 1 else _each(rows, cast.center)
        if cast.slack is not None:
            size = rows.abs()
            base = base + (cast.slack @ size[0].T if rows.shape[0] == 1 else _each(size, cast.slack))
        batch, step = self.center.shape[0], max(1, _MOST_NUMBERS // max(1, rows.shape[1] * rows.shape[2]))
        best = [rows.new_zeros(0, rows.shape[1])]
        for start in range(0, batch, step):
            part = slice(start, min(start + step, batch))
            some = rows if rows.shape[0] == 1 else rows[part]
            rise, fall = cast.rise[part].unsqueeze(1), cast.fall[part].unsqueeze(1)
            best.append(pick(some.clamp(min=0) * rise - some.clamp(max=0) * fall, part))
        return base + torch.cat(best)

    def gains(self, g: Tensor) -> Tensor:
        """What <g, x> grows by where a coordinate of the centre is set free: (B, *shape) -> (B, n)."""
        cast, flat = self.cast(g.dtype), g.flatten(1)
        return flat.clamp(min=0) * cast.rise - flat.clamp(max=0) * cast.fall

    def forced(self, dtype: torch.dtype) -> Tensor:
        """The coordinates (B, *shape) that any point of `dtype` must have free."""
        return self.stray | (self.center.to(dtype).to(torch.float64) != self.center)

    def changed(self, x: Tensor) -> Tensor:
        """Where x (B, *shape) differs from the centre, exactly; NaN differs."""
        return x.to(torch.float64) != self.center

    def benefit(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The limits' points nearest to x, and by how much freeing each coordinate lowers |y - x|^2.

        x (B, *shape); both are of its shape, the benefit float64, finite and >= 0 where not forced.
        """
        lower, upper = self.limits.inner(x.dtype)
        free = x.clamp(lower, upper)
        wide, y = x.to(torch.float64), free.to(torch.float64)
        # (x - c)^2 - (x - y)^2 without squares of far points
        gain = (y - self.center) * ((wide - self.center) + (wide - y))
        return free, gain.nan_to_num(nan=0.0).clamp(max=torch.finfo(torch.float64).max / 2**40)

    def blend(self, free: Tensor, values: Tensor) -> Tensor:
        """`values` where the mask `free` is set, else the centre: (B, *shape), in the values' dtype."""
        return torch.where(free, values, self.center.to(values.dtype))

    def spread(self, uniform: Tensor) -> Tensor:
        """Points of the limits from uniform (B, *shape) in [0, 1), in its dtype."""
        return self.limits.sample(uniform, uniform)

    def centre(self) -> Tensor:
        """The centre with stray coordinates moved to the limits' nearest points, (B, *shape) float64."""
        return self.limits.project(self.center)

    @torch.inference_mode(False)
    def box(self, free: Tensor, rows: Tensor | None = None) -> Box:
        """The box of the points free at the mask (b, *shape) only, for the problems `rows` (b,) or all."""
        center, limits = self.center, self.limits
        if rows is not None:
            center, limits = center[rows], limits.select(rows)
        faces = (limits.lower, limits.upper), limits.inner(torch.float64)
        outer, inner = (
            (torch.where(free, low, center), torch.where(free, high, center)) for low, high in faces
        )
        return box_within(outer, inner, limits.dtype)

    @torch.inference_mode(False)
    def select(self, index: Tensor) -> Canvas:
        """The problems at a long or bool index."""
        part = Canvas.__new__(Canvas)
        part.center, part.stray = self.center[index], self.stray[index]
        part.limits = self.limits.select(index)
        part._casts = {
            dtype: _Cast(
                cast.center[index],
                None if cast.slack is None else cast.slack[index],
                cast.rise[index],
                cast.fall[index],
            )
            for dtype, cast in self._casts.items()
        }
        return part


def _each(rows: Tensor, points: Tensor) -> Tensor:
    return (points.unsqueeze(1) @ rows.mT).squeeze(1)

"""Finitely many points: lists of inputs, categorical values, tables of substitutions."""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.errors import EmptySetError, ShapeError

from .box import Box
from .input_set import InputSet, as_numbers, check_points, check_rows, kept, one_of
from .rounding import round_up
from .union import Union

__all__ = ["Choice"]


class Choice:
    """The points points[b, n] with mask[b, n] set; points (B, N, *shape), mask (B, N) bool or None for all.

    Each problem has at least one point. `dtype` is what the property of that name reports, by default
    that of the points. Raises ShapeError, DtypeError, NonFiniteError or EmptySetError.
    """

    __slots__ = ("_casts", "_dtype", "_hull", "_mask", "_points")

    @torch.inference_mode(False)
    def __init__(
        self, points: Tensor, mask: Tensor | None = None, *, dtype: torch.dtype | None = None
    ) -> None:
        if points.ndim < 3:
            raise ShapeError(f"points have shape {tuple(points.shape)}", cure="give them as (B, N, *shape)")
        self._points, self._dtype = as_numbers("points", points), dtype or points.dtype
        self._mask = _mask(mask, self._points)
        self._casts: dict[torch.dtype, tuple[Tensor, Tensor | None]] = {}
        self._hull: Box | None = None
        empty = ~self._mask.any(1)
        if bool(empty.any()):
            raise EmptySetError(f"the choice of sample {int(empty.nonzero()[0])} has no point")

    @property
    def points(self) -> Tensor:
        """The points, (B, N, *shape) float64; those outside of the mask are no members."""
        return self._points

    @property
    def mask(self) -> Tensor:
        """Which points belong to the set, (B, N) bool."""
        return self._mask

    @property
    def batch(self) -> int:
        """B, the number of sets."""
        return self._points.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return tuple(self._points.shape[2:])

    @property
    def dtype(self) -> torch.dtype:
        """The floating type in which the points were given."""
        return self._dtype

    @property
    def device(self) -> torch.device:
        """Where the numbers live."""
        return self._points.device

    def __repr__(self) -> str:
        count = self._points.shape[1]
        return f"Choice(batch={self.batch}, points={count}, shape={self.shape}, dtype={self._dtype})"

    def box(self) -> Box:
        """The smallest box around the points."""
        if self._hull is None:
            mask = self._mask.reshape(*self._mask.shape, *[1] * len(self.shape))
            lower = torch.where(mask, self._points, torch.inf).amin(1)
            upper = torch.where(mask, self._points, -torch.inf).amax(1)
            self._hull = Box(lower, upper, dtype=self._dtype)
        return self._hull

    def centre(self) -> Tensor:
        """The first point of each set, (B, *shape) float64."""
        return self._at(self._mask.to(torch.int8).argmax(1))

    def support(self, a: Tensor) -> Tensor:
        """The largest <a_k, point>: a (B or 1, K, *shape) -> (B, K); exact, differentiable."""
        check_rows(a, self.batch, self.shape)
        points, slack = self._cast(a.dtype)
        rows = a.flatten(2)
        values = rows @ points.mT  # (B, K, N)
        if slack is not None:
            values = values + rows.abs() @ slack.mT
        return values.masked_fill(~self._mask.unsqueeze(1), -torch.inf).amax(2)

    def steepest(self, g: Tensor) -> Tensor:
        """From the first point to that of largest <g, x>, (B, *shape); 0 where that is none better."""
        check_points(g, self.batch, self.shape)
        steps = (self._points - self.centre().unsqueeze(1)).to(g.dtype)
        gains = (steps * g.unsqueeze(1)).flatten(2).sum(2).masked_fill(~self._mask, -torch.inf)
        best = gains.argmax(1)
        rows = torch.arange(self.batch, device=self.device)
        better = (gains[rows, best] > 0).reshape(-1, *[1] * len(self.shape))
        return torch.where(better, steps[rows, best], 0.0)

    @torch.no_grad()
    def project(self, x: Tensor) -> Tensor:
        """The nearest of the points that x's dtype can hold, (B, *shape); exact. EmptySetError for none."""
        check_points(x, self.batch, self.shape)
        usable = self._usable(x.dtype)
        gaps = (x.to(torch.float64).unsqueeze(1) - self._points).flatten(2).norm(dim=2)
        gaps = gaps.nan_to_num(nan=0.0).masked_fill(~usable, torch.inf)
        return kept(self.contains(x), x, self._at(gaps.argmin(1)).to(x.dtype))

    @torch.no_grad()
    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """One of the points that uniform's dtype can hold, by radial (B,) in [0, 1); (B, *shape)."""
        check_points(uniform, self.batch, self.shape)
        return self._at(one_of(self._usable(uniform.dtype), radial)).to(uniform.dtype)

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, *shape) is one of its points, (B,) bool: exact, and NaN is none."""
        check_points(x, self.batch, self.shape)
        equal = (x.to(torch.float64).unsqueeze(1) == self._points).flatten(2).all(2)
        return (equal & self._mask).any(1)

    @torch.inference_mode(False)
    def select(self, index: Tensor) -> Choice:
        """The sets at a long or bool index (b,)."""
        part = Choice.__new__(Choice)
        part._points, part._mask, part._dtype = self._points[index], self._mask[index], self._dtype
        part._hull, part._casts = None, {}
        return part

    def parts(self, *, most: int = 4096) -> tuple[Box, Tensor] | None:
        """The points as boxes without width, and the problem (B',) of each; None beyond `most` of them."""
        owner, place = self._mask.nonzero().unbind(1)
        if len(owner) > most:
            return None
        points = self._points[owner, place]
        return Box(points, points, dtype=self._dtype), owner

    def __and__(self, other: InputSet) -> Choice:
        """The points that lie in `other` too, a set of any kind of equal batch and shape."""
        if not isinstance(other, InputSet):
            return NotImplemented
        if (other.batch, other.shape) != (self.batch, self.shape):
            sizes = (self.batch, *self.shape), (other.batch, *other.shape)
            raise ShapeError(f"cannot intersect {sizes[0]} with {sizes[1]}")
        inside = torch.stack([other.contains(points) for points in self._points.unbind(1)], 1)
        return Choice(self._points, self._mask & inside, dtype=self._dtype)

    __rand__ = __and__

    def __or__(self: InputSet, other: InputSet) -> Union:
        """The union with a set of equal batch and shape."""
        return Union.of(self, other)

    @torch.inference_mode(False)
    def _cast(self, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """The points (B, N, n) in `dtype`, and what rounding them costs, rounded up; None for nothing."""
        if dtype not in self._casts:
            cast = self._points.to(dtype)
            gap = (self._points - cast.to(torch.float64)).abs()
            slack = round_up(gap, dtype).flatten(2) if bool(gap.any()) else None
            self._casts[dtype] = (cast.flatten(2), slack)
        return self._casts[dtype]

    def _usable(self, dtype: torch.dtype) -> Tensor:
        """The members (B, N) that are points of `dtype`."""
        exact = (self._points.to(dtype).to(torch.float64) == self._points).flatten(2).all(2)
        usable = exact & self._mask
        empty = ~usable.any(1)
        if bool(empty.any()):
            raise EmptySetError(
                f"no point of the choice of sample {int(empty.nonzero()[0])} is one of {dtype}",
                cure="give the points in that type, or use float64 points",
            )
        return usable

    def _at(self, place: Tensor) -> Tensor:
        return self._points[torch.arange(self.batch, device=self.device), place]


def _mask(mask: Tensor | None, points: Tensor) -> Tensor:
    """The members (B, N) bool, a copy; ShapeError for another shape or type."""
    size = tuple(points.shape[:2])
    if mask is None:
        return torch.ones(size, dtype=torch.bool, device=points.device)
    if tuple(mask.shape) != size or mask.dtype != torch.bool:
        raise ShapeError(
            f"mask has shape {tuple(mask.shape)} and dtype {mask.dtype}",
            cure=f"give a bool for each of {size}",
        )
    return mask.detach().to(points.device, copy=True)

"""The points between two ends: lines through a latent space, morphs of one input into another.

Few floats lie on a segment: first + t (second - first) is rounded off it for almost every t. The set is
exact all the same: membership is decided in rational arithmetic, and projections and samples end at
float points that do lie on it, which often are the two ends alone. To search or to prove along the
whole segment, quantify over t instead: `parameter()` is the box [0, 1] and `at(t)` the plain torch
operation that belongs in front of the network. A witness is then a t, and replays exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError

from .box import Box
from .choice import Choice
from .input_set import InputSet, as_numbers, check_points
from .rounding import on_segment
from .union import Union

__all__ = ["Segment"]

_BITS = (52, 40, 32, 24, 20, 16, 12, 10, 8, 6, 5, 4, 3, 2, 1, 0)
"""Of the values of t that a projection tries: with 0 the ends are left, which always lie on the segment."""


class Segment:
    """The points first + t (second - first) for real t in [0, 1]; first and second (B, *shape).

    `dtype` is what the property of that name reports, by default that of the ends. Raises ShapeError,
    DtypeError or NonFiniteError.
    """

    __slots__ = ("_dtype", "_ends", "_first", "_second")

    @torch.inference_mode(False)
    def __init__(self, first: Tensor, second: Tensor, *, dtype: torch.dtype | None = None) -> None:
        if first.shape != second.shape or first.ndim < 2:
            raise ShapeError(
                f"the ends have shapes {tuple(first.shape)} and {tuple(second.shape)}",
                cure="give both as (B, *shape)",
            )
        self._first, self._second = as_numbers("first", first), as_numbers("second", second)
        self._dtype = dtype or torch.promote_types(first.dtype, second.dtype)
        self._ends = Choice(torch.stack([self._first, self._second], 1), dtype=self._dtype)

    @property
    def first(self) -> Tensor:
        """The end at t = 0, (B, *shape) float64."""
        return self._first

    @property
    def second(self) -> Tensor:
        """The end at t = 1, (B, *shape) float64."""
        return self._second

    @property
    def batch(self) -> int:
        """B, the number of segments."""
        return self._first.shape[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return tuple(self._first.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """The floating type in which the ends were given."""
        return self._dtype

    @property
    def device(self) -> torch.device:
        """Where the numbers live."""
        return self._first.device

    def __repr__(self) -> str:
        return f"Segment(batch={self.batch}, shape={self.shape}, dtype={self._dtype})"

    def parameter(self) -> Box:
        """The box [0, 1] of the parameter t, (B, 1), in the type of the ends."""
        zero = torch.zeros(self.batch, 1, dtype=self._dtype, device=self.device)
        return Box(zero, torch.ones_like(zero))

    def at(self, t: Tensor) -> Tensor:
        """first + t (second - first) for t (B, 1), in t's dtype, rounded: (B, *shape); differentiable."""
        check_points(t, self.batch, (1,))
        first, second = self._first.to(t.dtype), self._second.to(t.dtype)
        return first + t.reshape(-1, *[1] * len(self.shape)) * (second - first)

    def box(self) -> Box:
        """The smallest box around both ends."""
        return self._ends.box()

    def centre(self) -> Tensor:
        """The mid-points where they are float64 numbers, else the first ends: (B, *shape)."""
        middle = 0.5 * self._first + 0.5 * self._second
        exact = self.contains(middle).reshape(-1, *[1] * len(self.shape))
        return torch.where(exact, middle, self._first)

    def support(self, a: Tensor) -> Tensor:
        """The larger value of <a_k, x> at the two ends: a (B or 1, K, *shape) -> (B, K); exact."""
        return self._ends.support(a)

    def steepest(self, g: Tensor) -> Tensor:
        """Half the segment, in the direction in which <g, x> grows: (B, *shape)."""
        check_points(g, self.batch, self.shape)
        half = (0.5 * self._second - 0.5 * self._first).to(g.dtype)
        gain = (half * g).flatten(1).sum(1)
        return half * gain.sign().reshape(-1, *[1] * len(self.shape))

    @torch.no_grad()
    def project(self, x: Tensor) -> Tensor:
        """A point of x's dtype on the segment near x, (B, *shape): x itself if it is one, exactly inside.

        The real nearest point is rarely such a point. Of the points at values of t that are near to its
        own and of fewer and fewer bits, the first that is one; at last the nearer end, else the other.
        Raises EmptySetError where no end is a point of that dtype and no such point was met.
        """
        check_points(x, self.batch, self.shape)
        wide = x.to(torch.float64)
        step = (0.5 * self._second - 0.5 * self._first).flatten(1)
        size = step.square().sum(1).clamp(min=torch.finfo(torch.float64).tiny)
        along = ((0.5 * wide - 0.5 * self._first).flatten(1).nan_to_num() * step).sum(1) / size
        t, y = along.nan_to_num(nan=0.0).clamp(0.0, 1.0), x.clone()
        open_ = ~self.contains(x) & ~torch.isnan(x).flatten(1).any(1)
        for bits in _BITS:
            rows = open_.nonzero().flatten()
            if not rows.numel():
                return y
            part, rounded = self.select(rows), torch.round(t[rows] * 2.0**bits) / 2.0**bits
            trial = torch.lerp(part._first, part._second, rounded.reshape(-1, *[1] * len(self.shape))).to(
                x.dtype
            )
            good = part.contains(trial)
            y[rows[good]] = trial[good]
            open_[rows[good]] = False
        rows = open_.nonzero().flatten()
        if rows.numel():
            y[rows] = self._ends.select(rows).project(x[rows])
        return y

    @torch.no_grad()
    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """A float point near the one at t = radial (B,) in [0, 1), see `project`; (B, *shape)."""
        check_points(uniform, self.batch, self.shape)
        return self.project(self.at(radial.to(uniform.dtype).unsqueeze(1)))

    @torch.no_grad()
    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, *shape) lies on its segment, (B,) bool: exact, and NaN is outside."""
        check_points(x, self.batch, self.shape)
        inside, wide = self._ends.contains(x), x.to(torch.float64).flatten(1)
        first, second = self._first.flatten(1), self._second.flatten(1)
        # for points in the hull of the ends, the rest is rational arithmetic
        for b in (self.box().contains(x) & ~inside).nonzero().flatten().tolist():
            inside[b] = on_segment(wide[b].tolist(), first[b].tolist(), second[b].tolist())
        return inside

    @torch.inference_mode(False)
    def select(self, index: Tensor) -> Segment:
        """The segments at a long or bool index (b,)."""
        return Segment(self._first[index], self._second[index], dtype=self._dtype)

    def __or__(self: InputSet, other: InputSet) -> Union:
        """The union with a set of equal batch and shape."""
        return Union.of(self, other)

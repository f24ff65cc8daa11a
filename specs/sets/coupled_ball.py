"""Two variables with x' - x in an l1 or l2 ball: close pairs where no coordinate is bounded by itself."""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.errors import EmptySetError, SpecError

from .ball import check_radii
from .box import Box
from .coupled import Coupled
from .differences import PENALTIES
from .input_set import InputSet, check_points, check_rows
from .norms import NORMS
from .pair_programs import closest_pairs, nearest_pairs, pair_bounds
from .product import merge_points
from .round_ball import RoundBall
from .rounding import round_up
from .union import Union

__all__ = ["CoupledBall"]

_PULLS = (1e-14, 1e-12, 1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-2, 0.1, 0.5, 1.0)

_Pair = tuple[Tensor, Tensor]


class CoupledBall:
    """The pairs (x, x') with x in `first`, x' in `second` and |x' - x|_p <= radius, flat: shape (2n,).

    p is 1 or 2 (for inf use `Coupled`), radius (B,) or one number >= 0. The sum |x'_i - x_i|^p is that of
    real differences. Raises SpecError, ShapeError, RadiusError or EmptySetError (naming the sample).
    """

    __slots__ = ("_centre", "_p", "_pairs", "_radius")

    @torch.inference_mode(False)  # what is kept must stay usable under autograd later
    def __init__(self, first: Box, second: Box, radius: Tensor | float, p: float) -> None:
        if p not in PENALTIES:
            raise SpecError(f"no coupling of norm p = {p!r}", cure="use p = 1 or 2, or Coupled for inf")
        self._p, self._radius = float(p), check_radii(radius, first.lower)
        wide = self._radius.reshape(-1, *[1] * len(first.shape))
        self._pairs = Coupled(first, second, -wide, wide)
        self._centre = torch.cat(closest_pairs(*self._faces(torch.float64)), 1)
        bad = ~self._close(self._centre)
        if bool(bad.any()):
            b = int(bad.nonzero()[0])
            x, other = self._centre[b].chunk(2)
            raise EmptySetError(
                f"no pair of sample {b} is close enough: radius {float(self._radius[b])!r}, smallest l{p:g} "
                f"distance {float(NORMS[p].length(other - x))!r}"
            )

    @property
    def pairs(self) -> Coupled:
        """The pairs that are this close in each coordinate: a larger set."""
        return self._pairs

    @property
    def radius(self) -> Tensor:
        """Radii, (B,) float64."""
        return self._radius

    @property
    def p(self) -> float:
        """The norm: 1.0 or 2.0."""
        return self._p

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of x and x'."""
        return self._pairs.shapes

    @property
    def batch(self) -> int:
        """B, the number of sets."""
        return self._pairs.batch

    @property
    def shape(self) -> tuple[int, ...]:
        """(2n,): x flattened, then x'."""
        return self._pairs.shape

    @property
    def dtype(self) -> torch.dtype:
        """The floating type in which the boxes were given."""
        return self._pairs.dtype

    @property
    def device(self) -> torch.device:
        """Where the numbers live."""
        return self._pairs.device

    def __repr__(self) -> str:
        return f"CoupledBall(batch={self.batch}, shapes={self.shapes}, p={self._p:g}, dtype={self.dtype})"

    def split(self, x: Tensor) -> list[Tensor]:
        """x and x', (B, *shape) each, of points (B, 2n)."""
        return self._pairs.split(x)

    def box(self) -> Box:
        """The hull of the pairs that are close in each coordinate; exact where the two boxes overlap."""
        return self._pairs.box()

    def centre(self) -> Tensor:
        """A pair at the smallest distance, x = x' where the boxes overlap; (B, 2n) float64."""
        return self._centre

    def support(self, a: Tensor) -> Tensor:
        """Dual bounds in the one condition on the norm: a (B or 1, K, 2n) -> (B, K); gradient the maximiser.

        Exact up to about 1e-9 of the radius, rounded upward, and never looser than the polygons' support.
        """
        check_rows(a, self.batch, self.shape)
        plain = self._pairs.support(a)
        with torch.no_grad():
            bound, best = pair_bounds(a, self._pairs.polygons, self._radius, PENALTIES[self._p])
            bound = round_up(bound, a.dtype)
        change = ((a - a.detach()) * best.to(a.dtype)).sum(2)
        return torch.where(bound <= plain.detach(), bound + change, plain)

    def steepest(self, g: Tensor) -> Tensor:
        """x along its box, x' besides by the norm's steepest step; (B, 2n)."""
        check_points(g, self.batch, self.shape)
        first, second = g.chunk(2, 1)
        hull = self.box().middle(g.dtype)[1].chunk(2, 1)[0]
        x = hull * (first + second).sign()
        return torch.cat([x, x + self._radius.to(g.dtype).unsqueeze(1) * NORMS[self._p].steepest(second)], 1)

    @torch.no_grad()
    def project(self, x: Tensor) -> Tensor:
        """The nearest point in x's dtype, up to its rounding; (B, 2n), exactly inside."""
        check_points(x, self.batch, self.shape)
        faces = self._faces(x.dtype)
        near = merge_points([part.clamp(*f) for part, f in zip(x.chunk(2, 1), faces, strict=True)])
        rows = (~self._close(near) & x.isfinite().all(1)).nonzero().flatten()
        if rows.numel():
            part, wide = self.select(rows), x[rows].to(torch.float64).chunk(2, 1)
            target = nearest_pairs((wide[0], wide[1]), part._faces(x.dtype), part._radius, PENALTIES[self._p])
            near[rows] = part._settle(target, x.dtype)
        return near

    @torch.no_grad()
    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """x uniform in its range, x' - x in the ball, projected; from (B, 2n), (B,) in [0, 1)."""
        check_points(uniform, self.batch, self.shape)
        first, second = uniform.chunk(2, 1)
        hull = self.box()
        low, high = hull.lower.chunk(2, 1)[0], hull.upper.chunk(2, 1)[0]
        x = torch.lerp(low, high, first.to(torch.float64))
        other = RoundBall(x, self._radius, NORMS[self._p]).draw(second.to(torch.float64), radial)
        return self.project(torch.cat([x, other], 1).to(uniform.dtype))

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, 2n) lies inside, (B,) bool: exact, and NaN is outside."""
        first, second = self.split(x)
        inside = self._pairs.boxes[0].contains(first) & self._pairs.boxes[1].contains(second)
        return inside & self._close(x)

    @torch.inference_mode(False)
    def select(self, index: Tensor) -> CoupledBall:
        """The sets at a long or bool index (b,)."""
        part = CoupledBall.__new__(CoupledBall)
        part._pairs, part._p = self._pairs.select(index), self._p
        part._radius, part._centre = self._radius[index], self._centre[index]
        return part

    def __or__(self: InputSet, other: InputSet) -> Union:
        """The union with a set of equal batch and shape."""
        return Union.of(self, other)

    def _ball(self, x: Tensor) -> RoundBall:
        """The ball around the first halves of points x (B, 2n)."""
        return RoundBall(x.chunk(2, 1)[0].to(torch.float64), self._radius, NORMS[self._p])

    def _close(self, x: Tensor) -> Tensor:
        """Whether x' (B, 2n) lies in the ball around x, exactly."""
        first, second = x.chunk(2, 1)
        return RoundBall(first.to(torch.float64), self._radius, NORMS[self._p]).contains(second)

    def _faces(self, dtype: torch.dtype) -> tuple[_Pair, _Pair]:
        pairs = ([face.flatten(1) for face in box.inner(dtype)] for box in self._pairs.boxes)
        first, second = ((pair[0], pair[1]) for pair in pairs)
        return first, second

    def _settle(self, points: Tensor, dtype: torch.dtype) -> Tensor:
        """Points of `dtype` exactly inside: rounded, then drawn towards the closest pairs."""
        faces = self._faces(dtype)
        low, high = (torch.cat([pair[i] for pair in faces], 1) for i in (0, 1))
        result = points.to(dtype).clamp(low, high)
        left = (~self._close(result)).nonzero().flatten()
        for pull in _PULLS:
            if left.numel() == 0:
                return result
            part = self.select(left)
            moved = points[left] + pull * (part._centre - points[left])
            result[left] = moved.to(dtype).clamp(low[left], high[left])
            left = left[~part._close(result[left])]
        if left.numel():
            raise EmptySetError(
                f"no pair of {dtype} was found within radius {float(self._radius[left[0]])!r}",
                cure="use float64 points or a larger radius",
            )
        return result

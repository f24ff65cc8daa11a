"""Two variables whose difference is bounded in every coordinate: close, equal in places, or ordered.

In each coordinate the pairs (x, x') form a polygon with at most six corners, so everything has a closed
form. Functions of both are written over x and x' - x: rows that only see the difference then keep it, also
where it is far smaller than x.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustbench_local.errors import EmptySetError, ShapeError

from .box import Box
from .input_set import InputSet, as_numbers, check_points, check_rows
from .polygons import Polygons
from .product import merge_points, split_points
from .rounding import enclose_sum
from .union import Union

__all__ = ["Coupled"]


class Coupled:
    """The pairs (x, x') with x in `first`, x' in `second` and low <= x' - x <= high, flat: shape (2n,).

    Both boxes have one batch and one shape; low and high are (B, *shape) or broadcast to it, finite.
    low = high = 0 makes coordinates equal, low = 0 makes x' the larger one. x' - x is the real difference,
    not the rounded one. Raises ShapeError, DtypeError, NonFiniteError, or EmptySetError (naming sample and
    coordinate).
    """

    __slots__ = ("_boxes", "_centre", "_hull", "_polygons")

    @torch.inference_mode(False)  # what is kept must stay usable under autograd later
    def __init__(self, first: Box, second: Box, low: Tensor, high: Tensor) -> None:
        if (first.batch, first.shape) != (second.batch, second.shape):
            sizes = (first.batch, *first.shape), (second.batch, *second.shape)
            raise ShapeError(f"cannot couple a box of shape {sizes[0]} with one of shape {sizes[1]}")
        gap = []
        for name, value in (("low", low), ("high", high)):
            try:
                wide = as_numbers(name, value).expand(first.lower.shape)
            except RuntimeError as error:
                size = tuple(first.lower.shape)
                raise ShapeError(f"{name} has shape {tuple(value.shape)}, the boxes {size}") from error
            gap.append(wide.flatten(1))
        self._boxes = first, second
        self._polygons = Polygons.of(first, second, (gap[0], gap[1]))
        self._hull: Box | None = None
        where = self._polygons.missing()
        if where is not None:
            place = tuple(int(i) for i in torch.unravel_index(torch.tensor(where[1]), first.shape))
            raise EmptySetError(
                f"no pair at sample {where[0]}, coordinate {place}: x in {self._faces(0, where)}, x' in "
                f"{self._faces(1, where)}, x' - x in [{float(gap[0][where])!r}, {float(gap[1][where])!r}]"
            )
        self._centre = self._polygons.middle()

    @property
    def boxes(self) -> tuple[Box, Box]:
        """Where x and x' range by themselves."""
        return self._boxes

    @property
    def gap(self) -> tuple[Tensor, Tensor]:
        """Bounds of x' - x, (B, *shape) float64."""
        low, high = self._polygons.gap
        return low.unflatten(1, self._boxes[0].shape), high.unflatten(1, self._boxes[0].shape)

    @property
    def polygons(self) -> Polygons:
        """What lies inside, coordinate by coordinate."""
        return self._polygons

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes of x and x'."""
        return self._boxes[0].shape, self._boxes[1].shape

    @property
    def batch(self) -> int:
        """B, the number of sets."""
        return self._boxes[0].batch

    @property
    def shape(self) -> tuple[int, ...]:
        """(2n,): x flattened, then x'."""
        return (2 * math.prod(self._boxes[0].shape),)

    @property
    def dtype(self) -> torch.dtype:
        """The floating type in which the boxes were given."""
        return torch.promote_types(self._boxes[0].dtype, self._boxes[1].dtype)

    @property
    def device(self) -> torch.device:
        """Where the numbers live."""
        return self._boxes[0].device

    def __repr__(self) -> str:
        return f"Coupled(batch={self.batch}, shapes={self.shapes}, dtype={self.dtype})"

    def split(self, x: Tensor) -> list[Tensor]:
        """x and x', (B, *shape) each, of points (B, 2n)."""
        check_points(x, x.shape[0], self.shape)
        return split_points(x, self.shapes)

    @torch.inference_mode(False)
    def box(self) -> Box:
        """The bounded hull: in each coordinate the smallest x and x' of the polygon, and the largest."""
        if self._hull is None:
            self._hull = self._polygons.hull(self.dtype)
        return self._hull

    def centre(self) -> Tensor:
        """x in the middle of its range, and x' in the middle of what that leaves; (B, 2n) float64."""
        return self._centre

    def support(self, a: Tensor) -> Tensor:
        """max over the polygons' corners, exact: a (B or 1, K, 2n) -> (B, K); differentiable."""
        check_rows(a, self.batch, self.shape)
        first, second = a.chunk(2, 2)
        return self._polygons.cast(a.dtype).support(first, second)

    def steepest(self, g: Tensor) -> Tensor:
        """From the middle of each polygon to its best corner for g, (B, 2n)."""
        check_points(g, self.batch, self.shape)
        x, difference = self._polygons.cast(g.dtype).best(*g.chunk(2, 1))
        middle = self._centre.to(g.dtype)
        away = merge_points([x, x + difference]) - middle
        either = (g.chunk(2, 1)[0] != 0) | (g.chunk(2, 1)[1] != 0)
        return torch.where(torch.cat([either, either], 1), away, 0.0)

    @torch.no_grad()
    def project(self, x: Tensor) -> Tensor:
        """The nearest point in x's dtype, (B, 2n), exactly inside; up to rounding along slanted edges."""
        check_points(x, self.batch, self.shape)
        return merge_points(self._polygons.inner(x.dtype).nearest(*x.chunk(2, 1)))

    @torch.no_grad()
    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """x uniform in its range, x' in what that leaves, from uniform (B, 2n) in [0, 1); exactly inside."""
        check_points(uniform, self.batch, self.shape)
        return merge_points(self._polygons.inner(uniform.dtype).draw(*uniform.chunk(2, 1)))

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, 2n) lies inside, (B,) bool: exact, and NaN is outside."""
        first, second = self.split(x)
        down, up = enclose_sum(second.to(torch.float64), -first.to(torch.float64))
        low, high = self.gap  # floats: the real difference is above one if the float below it is
        close = ((down >= low) & (up <= high)).flatten(1).all(1)
        return self._boxes[0].contains(first) & self._boxes[1].contains(second) & close

    @torch.inference_mode(False)
    def select(self, index: Tensor) -> Coupled:
        """The sets at a long or bool index (b,)."""
        part = Coupled.__new__(Coupled)
        part._boxes = self._boxes[0].select(index), self._boxes[1].select(index)
        part._polygons, part._centre = self._polygons.select(index), self._centre[index]
        part._hull = None if self._hull is None else self._hull.select(index)
        return part

    def __or__(self: InputSet, other: InputSet) -> Union:
        """The union with a set of equal batch and shape."""
        return Union.of(self, other)

    def _faces(self, which: int, where: tuple[int, int]) -> str:
        lower, upper = self._boxes[which].lower.flatten(1), self._boxes[which].upper.flatten(1)
        return f"[{float(lower[where])!r}, {float(upper[where])!r}]"

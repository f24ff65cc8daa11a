"""Axis-parallel boxes: the set every bound propagation starts from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from robustbench_local.errors import EmptySetError, ShapeError, UnboundedSetError

from .input_set import InputSet, as_numbers, check_points, check_rows, first_index
from .picked import Pair, Picked, pair_shape
from .rounding import enclose_sum, round_down, round_up

if TYPE_CHECKING:
    from .union import Union

__all__ = ["Box"]

_Pair = tuple[Tensor, Tensor]


class Box:
    """The points x with lower <= x <= upper, elementwise; lower and upper are (B, *shape), finite.

    Faces that are no float64 numbers (centre + radius of a ball) are kept twice: rounded outward in
    `lower`, `upper`, from which bounds are computed, and rounded inward for membership and
    projection. `dtype` is what the property of that name reports, by default that of the tensors.
    Raises ShapeError, DtypeError, NonFiniteError, UnboundedSetError or EmptySetError.
    """

    __slots__ = ("_casts", "_dtype", "_inner", "_inners", "_middles", "_outer")

    @torch.inference_mode(False)
    def __init__(self, lower: Tensor, upper: Tensor, *, dtype: torch.dtype | None = None) -> None:
        if lower.shape != upper.shape or lower.ndim < 2:
            raise ShapeError(
                f"lower has shape {tuple(lower.shape)}, upper {tuple(upper.shape)}",
                cure="give both as (B, *shape)",
            )
        outer = (_bound("lower", lower), _bound("upper", upper))
        _check_order(*outer, "lower", "upper")
        self._set(outer, outer, dtype or torch.promote_types(lower.dtype, upper.dtype))

    @classmethod
    def _of(cls, outer: Pair, inner: Pair, dtype: torch.dtype) -> Box:
        box = cls.__new__(cls)
        box._set(outer, inner, dtype)
        return box

    def _set(self, outer: Pair, inner: Pair, dtype: torch.dtype) -> None:
        self._outer, self._inner, self._dtype = outer, inner, dtype
        self._casts: dict[torch.dtype, _Pair] = {}  # of dtypes asked for so far
        self._inners: dict[torch.dtype, _Pair] = {}
        self._middles: dict[torch.dtype, _Pair] = {}

    @property
    def lower(self) -> Tensor:
        """Lower faces, (B, *shape) float64, never above the real ones."""
        return self._outer[0]

    @property
    def upper(self) -> Tensor:
        """Upper faces, (B, *shape) float64, never below the real ones."""
        return self._outer[1]

    @property
    def batch(self) -> int:
        """B, the number of boxes."""
        return pair_shape(self._outer)[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return tuple(pair_shape(self._outer)[1:])

    @property
    def dtype(self) -> torch.dtype:
        """The floating type in which the box was given."""
        return self._dtype

    @property
    def device(self) -> torch.device:
        """Where the numbers live."""
        return self._outer.device if isinstance(self._outer, Picked) else self._outer[0].device

    def __repr__(self) -> str:
        return f"Box(batch={self.batch}, shape={self.shape}, dtype={self.dtype})"

    def box(self) -> Box:
        """The box itself."""
        return self

    @torch.inference_mode(False)  # what is kept must stay usable under autograd later
    def cast(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Lower and upper faces, (B, *shape), of the smallest box of `dtype` that contains this one."""
        if dtype not in self._casts:
            self._casts[dtype] = (round_down(self.lower, dtype), round_up(self.upper, dtype))
        return self._casts[dtype]

    def inner(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Faces, (B, *shape), of the largest box of `dtype` inside; EmptySetError where there is none."""
        if dtype not in self._inners:
            with torch.inference_mode(False):
                pair = (round_up(self._inner[0], dtype), round_down(self._inner[1], dtype))
            _check_order(*pair, f"the next {dtype} inside lower", "inside upper")
            self._inners[dtype] = pair
        return self._inners[dtype]

    def middle(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Mid-point and half width, (B, *shape) of `dtype`, with mid -+ half covering the box."""
        if dtype not in self._middles:
            with torch.inference_mode(False):
                mid = (0.5 * self.lower + 0.5 * self.upper).to(dtype)
                wide = mid.to(torch.float64)
                half = torch.maximum(enclose_sum(self.upper, -wide)[1], enclose_sum(wide, -self.lower)[1])
                self._middles[dtype] = (mid, round_up(half, dtype))
        return self._middles[dtype]

    def centre(self) -> Tensor:
        """The mid-points, (B, *shape) float64, pulled into the box exactly."""
        return (0.5 * self.lower + 0.5 * self.upper).clamp(*self._inner)

    def support(self, a: Tensor) -> Tensor:
        """max <a_k, x> = <a_k, mid> + <|a_k|, half>: a (B or 1, K, *shape) -> (B, K); differentiable."""
        check_rows(a, self.batch, self.shape)
        mid, half = self.middle(a.dtype)
        rows, mid, half = a.flatten(2), mid.flatten(1), half.flatten(1)
        if rows.shape[0] == 1:  # shared rows: two matrix products for the whole batch
            return mid @ rows[0].T + half @ rows[0].abs().T
        # row vectors times matrices: faster than matrices times column vectors
        return (mid.unsqueeze(1) @ rows.mT + half.unsqueeze(1) @ rows.abs().mT).squeeze(1)

    def steepest(self, g: Tensor) -> Tensor:
        """Half width times the sign of g (B, *shape): no displacement of this size has a larger <g, d>."""
        check_points(g, self.batch, self.shape)
        return self.middle(g.dtype)[1] * g.sign()

    @torch.no_grad()
    def project(self, x: Tensor) -> Tensor:
        """The nearest point of x's dtype inside, (B, *shape): x clamped to the inner box; exact."""
        check_points(x, self.batch, self.shape)
        lower, upper = self.inner(x.dtype)
        return x.clamp(lower, upper)

    @torch.no_grad()
    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """A uniform point from uniform (B, *shape) in [0, 1), exactly inside; `radial` is not needed."""
        check_points(uniform, self.batch, self.shape)
        lower, upper = self.inner(uniform.dtype)
        return torch.lerp(lower, upper, uniform).clamp(lower, upper)

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, *shape) lies inside, (B,) bool: exact, and NaN is outside."""
        check_points(x, self.batch, self.shape)
        wide = x.to(torch.float64)
        return ((wide >= self._inner[0]) & (wide <= self._inner[1])).flatten(1).all(1)

    @torch.inference_mode(False)
    def select(self, index: Tensor) -> Box:
        """The boxes at a long or bool index (b,)."""
        index = torch.arange(self.batch, device=self.device)[index]  # checked, and a long one, once for all
        outer = Picked(self._outer, index)
        box = Box._of(outer, outer if self._inner is self._outer else Picked(self._inner, index), self._dtype)
        for mine, theirs in (
            (self._casts, box._casts),
            (self._inners, box._inners),
            (self._middles, box._middles),
        ):
            theirs.update({dtype: _pick(pair, index) for dtype, pair in mine.items()})
        return box

    @torch.inference_mode(False)
    def __and__(self, other: Box) -> Box:
        """The intersection with a box; that with a ball is `Ball.__and__`."""
        if not isinstance(other, Box):
            return NotImplemented
        if self.lower.shape != other.lower.shape:
            raise ShapeError(f"cannot intersect {tuple(self.lower.shape)} with {tuple(other.lower.shape)}")
        outer, inner = _meet(self._outer, other._outer), _meet(self._inner, other._inner)
        _check_order(*inner, "the larger lower face", "the smaller upper face")
        return Box._of(outer, inner, torch.promote_types(self._dtype, other._dtype))

    def __or__(self: InputSet, other: InputSet) -> Union:
        """The union with a set of equal batch and shape."""
        from .union import Union  # which needs boxes itself

        return Union.of(self, other)


def box_around(center: Tensor, radius: Tensor, dtype: torch.dtype) -> Box:
    """The box of all x with |x - center| <= radius; float64, radius broadcasts against center."""
    radius = radius.expand_as(center)
    lower_out, lower_in = enclose_sum(center, -radius)
    upper_in, upper_out = enclose_sum(center, radius)
    for name, face in (("lower", lower_out), ("upper", upper_out)):
        _check_bounded(name, face)
    # the float64 numbers within the real interval are those between its inward roundings
    outer, inner = (lower_out, upper_out), (lower_in, upper_in)
    return Box._of(outer, inner, dtype)


@torch.inference_mode(False)
def box_beside(boxes: Sequence[Box], dtype: torch.dtype) -> Box:
    """The product of boxes as one flat box (B, n), each flattened row-major, in the order given."""
    outer = [(box._outer[0].flatten(1), box._outer[1].flatten(1)) for box in boxes]
    inner = [(box._inner[0].flatten(1), box._inner[1].flatten(1)) for box in boxes]
    return Box._of(_beside(outer), _beside(inner), dtype)


@torch.inference_mode(False)
def box_columns(box: Box, index: Tensor) -> Box:
    """The box (B, m) that the coordinates `index` (m,), counted row-major, range over."""
    outer = box.lower.flatten(1)[:, index], box.upper.flatten(1)[:, index]
    inner = box._inner[0].flatten(1)[:, index], box._inner[1].flatten(1)[:, index]
    return Box._of(outer, inner, box.dtype)


@torch.inference_mode(False)
def box_hull(boxes: Sequence[Box]) -> Box:
    """The smallest box that contains boxes of equal batch and shape; at least one."""
    hull = boxes[0]
    for box in boxes[1:]:
        outer, inner = _span(hull._outer, box._outer), _span(hull._inner, box._inner)
        hull = Box._of(outer, inner, torch.promote_types(hull._dtype, box._dtype))
    return hull


@torch.inference_mode(False)
def box_stack(boxes: Sequence[Box]) -> Box:
    """Boxes of one shape as one longer batch, in the order given; at least one."""
    outer = torch.cat([box.lower for box in boxes]), torch.cat([box.upper for box in boxes])
    inner = torch.cat([box._inner[0] for box in boxes]), torch.cat([box._inner[1] for box in boxes])
    dtype = boxes[0].dtype
    for box in boxes[1:]:
        dtype = torch.promote_types(dtype, box.dtype)
    return Box._of(outer, inner, dtype)


@torch.inference_mode(False)
def box_apart(box: Box, shapes: Sequence[tuple[int, ...]]) -> list[Box]:
    """The boxes (B, *shapes[i]) whose product is a flat box (B, n): `box_beside` undone."""
    parts, start = [], 0
    for shape in shapes:
        end = start + math.prod(shape)
        outer, inner = (
            (pair[0][:, start:end].unflatten(1, shape), pair[1][:, start:end].unflatten(1, shape))
            for pair in (box._outer, box._inner)
        )
        parts.append(Box._of(outer, inner, box.dtype))
        start = end
    return parts


def _beside(pairs: list[_Pair]) -> _Pair:
    return torch.cat([pair[0] for pair in pairs], 1), torch.cat([pair[1] for pair in pairs], 1)


def _pick(pair: _Pair, index: Tensor) -> _Pair:
    return pair[0].index_select(0, index), pair[1].index_select(0, index)  # faster than by []


def _meet(a: Pair, b: Pair) -> _Pair:
    return torch.maximum(a[0], b[0]), torch.minimum(a[1], b[1])


def _span(a: Pair, b: Pair) -> _Pair:
    return torch.minimum(a[0], b[0]), torch.maximum(a[1], b[1])


def _bound(name: str, value: Tensor) -> Tensor:
    if value.is_floating_point():
        _check_bounded(name, value)
    return as_numbers(name, value)


def _check_bounded(name: str, value: Tensor) -> None:
    infinite = torch.isinf(value)
    if bool(infinite.any()):
        where = first_index(infinite)
        raise UnboundedSetError(
            f"{name} is {float(value[where])} at sample {where[0]}, coordinate {where[1:]}",
            cure="intersect with a bounded box",
        )


def _check_order(lower: Tensor, upper: Tensor, low_name: str, high_name: str) -> None:
    bad = lower > upper
    if bool(bad.any()):
        where = first_index(bad)
        raise EmptySetError(
            f"empty box at sample {where[0]}, coordinate {where[1:]}: {low_name} is {float(lower[where])!r}, "
            f"{high_name} is {float(upper[where])!r}"
        )


def box_within(outer: _Pair, inner: _Pair, dtype: torch.dtype = torch.float64) -> Box:
    """The box with faces rounded outward (lower, upper) and inward, (B, *shape) float64 each."""
    for name, face in zip(("lower", "upper"), outer, strict=True):
        _check_bounded(name, face)
    _check_order(*inner, "lower", "upper")
    return Box._of(outer, inner, dtype)

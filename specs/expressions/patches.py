"""`patch`: one window of an image takes any values of a box, the rest stays as it is."""

# ruff: noqa: D102 (the members of a node are described once, in base.py)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from robustbench_local.errors import ShapeError, SpecError, UnboundedSetError

from ..sets import Box, InputSet, Patch
from ..vocabulary import function
from .base import Bindings, Expr, Term
from .domains import Domain, constant_term, points_of

__all__ = ["PatchDomain", "patch"]

_ANY = "any"


@dataclass(frozen=True, eq=False, repr=False)
class PatchDomain(Domain):
    """x differs from the centre in one window, at one of `places` or (None) at any multiple of `stride`."""

    center: Term
    size: tuple[int, int]
    places: tuple[tuple[int, int], ...] | None
    stride: int
    bounded = False

    @property
    def children(self) -> tuple[Expr, ...]:
        return (self.center,)

    @property
    def text(self) -> str:
        where = "" if self.places is None else f", where={list(self.places)}"
        stride = "" if self.stride == 1 else f", stride={self.stride}"
        return f"patch({self.center.text}, size={self.size}{where}{stride})"

    def within(self, env: Bindings, shape: tuple[int, ...], limits: Box | None) -> InputSet:
        if limits is None:
            raise UnboundedSetError(
                f"`{self.text}` lets the window take any value", cure=f"write {self.text} & box(0, 1)"
            )
        center = points_of(self.center, env, shape)
        return Patch(center, self.size, limits, places=self.places, stride=self.stride, dtype=env.dtype)


@function("patch")
def patch(
    center: object,
    *,
    size: tuple[int, int],
    where: str | Sequence[tuple[int, int]] = _ANY,
    stride: int = 1,
) -> Domain:
    """The points that differ from `center`, an image (*channels, H, W), in one window; join a box by `&`.

    size: the window's height and width. where: "any" place whose row and column are multiples of
    `stride`, or a list of upper left pixels (row, column).
    """
    image = constant_term("center", center)
    if len(image.shape) < 2:
        raise ShapeError(f"`{image.text}` has shape {image.shape}", cure="give an image (*channels, H, W)")
    height, width = (int(n) for n in size)
    if not (1 <= height <= image.shape[-2] and 1 <= width <= image.shape[-1]):
        raise ShapeError(f"a window of size {(height, width)} in `{image.text}` of shape {image.shape}")
    if stride < 1:
        raise ShapeError(f"stride is {stride}", cure="give 1 or more")
    if isinstance(where, str):
        if where != _ANY:
            raise SpecError(f"where is {where!r}", cure='give "any" or a list of upper left pixels')
        return PatchDomain(image, (height, width), None, int(stride))
    if stride != 1:
        raise SpecError("a patch with places and a stride", cure="give one of where= and stride=")
    return PatchDomain(image, (height, width), tuple((int(r), int(c)) for r, c in where), 1)

"""Coordinates counted in groups: pixels of an image, features that belong together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError

__all__ = ["Groups", "axis_groups"]


class Groups:
    """A partition of the coordinates of points of `shape` into G groups.

    given: an integer for each coordinate, the same for those of one group; None: every coordinate is a
    group of its own. Raises ShapeError.
    """

    __slots__ = ("_index", "count", "given", "shape")

    def __init__(self, given: Tensor | None, shape: tuple[int, ...], device: torch.device) -> None:
        self.given, self.shape = given, shape
        self._index: Tensor | None = None  # 0 ... G - 1 of each flat coordinate
        self.count = math.prod(shape)
        if given is None:
            return
        if tuple(given.shape) != shape or given.is_floating_point() or given.is_complex():
            raise ShapeError(
                f"groups have shape {tuple(given.shape)} and dtype {given.dtype}",
                cure=f"give one integer for each coordinate of {shape}",
            )
        names, self._index = given.to(device).flatten().unique(return_inverse=True)
        self.count = len(names)

    @property
    def noun(self) -> str:
        """What is counted, for messages."""
        return "coordinates" if self._index is None else "groups"

    def sum(self, values: Tensor) -> Tensor:
        """Sums over groups, (..., n) -> (..., G)."""
        if self._index is None:
            return values
        return values.new_zeros(*values.shape[:-1], self.count).index_add(-1, self._index, values)

    def touched(self, mask: Tensor) -> Tensor:
        """The groups (B, G) with a coordinate in a mask (B, *shape)."""
        flat = mask.flatten(1)
        return flat if self._index is None else self.sum(flat.to(torch.float32)) > 0

    def members(self, mask: Tensor) -> Tensor:
        """The coordinates (b, *shape) of the groups in a mask (b, G)."""
        flat = mask if self._index is None else mask[:, self._index]
        return flat.reshape(-1, *self.shape)

    def first(self, values: Tensor) -> Tensor:
        """The value of each group's first coordinate, (B, n) -> (B, G)."""
        if self._index is None:
            return values
        n = values.shape[1]
        places = torch.arange(n, device=values.device)
        heads = torch.full((self.count,), n, dtype=torch.int64, device=values.device)
        return values[:, heads.scatter_reduce(0, self._index, places, "amin")]


def axis_groups(shape: Sequence[int], axes: Sequence[int]) -> Tensor:
    """Groups of coordinates that differ along `axes` only: of an image (C, H, W), axis 0 makes pixels.

    Integers of `shape`. Raises ShapeError for an axis that the shape has not, or twice.
    """
    dims = len(shape)
    joined = {axis % dims for axis in axes if -dims <= axis < dims}
    if len(joined) != len(axes):
        raise ShapeError(f"axes {tuple(axes)} of points of shape {tuple(shape)}")
    kept = [1 if axis in joined else n for axis, n in enumerate(shape)]
    return torch.arange(math.prod(kept)).reshape(kept).expand(*shape)

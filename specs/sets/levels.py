"""Boxes in which some coordinates take one of finitely many values: categories, flags, one-hot codes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError, SpecError

from .ball import Ball
from .box import Box, box_columns, box_within
from .choice import Choice
from .combining import combined
from .input_set import InputSet, check_points, check_rows
from .product import Product
from .union import Union

__all__ = ["Levels"]

Block = tuple[Tensor, Choice]
"""Coordinates (m,) int64, counted row-major, and the values (m,) that they take together."""


class Levels:
    """The points of `limits` whose coordinates `index` of each block are one of the block's points.

    Blocks have no coordinate in common and the limits' batch. Points of a block outside of the limits
    are dropped. Raises ShapeError, SpecError for coordinates in two blocks, or EmptySetError.
    """

    __slots__ = ("_blocks", "_hull", "_limits", "_order", "_places", "_product")

    @torch.inference_mode(False)
    def __init__(self, limits: Box, blocks: Sequence[Block]) -> None:
        n = math.prod(limits.shape)
        taken: list[int] = []
        for index, values in blocks:
            if index.ndim != 1 or index.shape != values.shape or values.batch != limits.batch:
                raise ShapeError(
                    f"coordinates of shape {tuple(index.shape)} for {values.batch} sets of {values.shape}, "
                    f"the box has {(limits.batch, *limits.shape)}"
                )
            taken += index.tolist()
        if any(not 0 <= i < n for i in taken):
            raise ShapeError(f"coordinates {taken} of points of {n} coordinates")
        if len(set(taken)) < len(taken):
            raise SpecError(
                f"coordinates {sorted(i for i in set(taken) if taken.count(i) > 1)} are chosen twice",
                cure="choose their values together",
            )
        device = limits.device
        places = [index.to(device, torch.int64) for index, _ in blocks]
        rest = torch.tensor([i for i in range(n) if i not in set(taken)], dtype=torch.int64, device=device)
        kept = [values & box_columns(limits, p) for p, (_, values) in zip(places, blocks, strict=True)]
        self._limits, self._blocks = limits, tuple(zip(places, kept, strict=True))
        self._product = Product([box_columns(limits, rest), *kept])
        self._places = torch.cat([rest, *places])
        self._order = self._places.argsort()
        self._hull: Box | None = None

    @property
    def limits(self) -> Box:
        """The box that all points lie in (not the hull: that is `box()`)."""
        return self._limits

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The coordinates and values of each block, within the limits."""
        return self._blocks

    @property
    def batch(self) -> int:
        """B, the number of sets."""
        return self._limits.batch

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one point."""
        return self._limits.shape

    @property
    def dtype(self) -> torch.dtype:
        """The smallest floating type that holds those of the box and the values."""
        return self._product.dtype

    @property
    def device(self) -> torch.device:
        """Where the numbers live."""
        return self._limits.device

    def __repr__(self) -> str:
        counts = [values.points.shape[1] for _, values in self._blocks]
        return f"Levels(batch={self.batch}, shape={self.shape}, values={counts}, dtype={self.dtype})"

    def box(self) -> Box:
        """The limits, with each chosen coordinate within its smallest and largest value."""
        if self._hull is None:
            flat = box_columns(self._product.box(), self._order)
            faces = (flat.lower, flat.upper), flat.inner(torch.float64)
            outer, inner = ((self._shaped(low), self._shaped(high)) for low, high in faces)
            self._hull = box_within(outer, inner, self.dtype)
        return self._hull

    def centre(self) -> Tensor:
        """The limits' centre with the first value of each block, (B, *shape) float64."""
        return self._back(self._product.centre())

    def support(self, a: Tensor) -> Tensor:
        """The box's support plus the largest of each block: a (B or 1, K, *shape) -> (B, K); exact."""
        check_rows(a, self.batch, self.shape)
        return self._product.support(a.flatten(2)[:, :, self._places])

    def steepest(self, g: Tensor) -> Tensor:
        """The steepest displacements of the box and of the blocks, (B, *shape)."""
        check_points(g, self.batch, self.shape)
        return self._back(self._product.steepest(self._flat(g)))

    def project(self, x: Tensor) -> Tensor:
        """The nearest point, which is nearest in each block: (B, *shape) of x's dtype, exactly inside."""
        check_points(x, self.batch, self.shape)
        return self._back(self._product.project(self._flat(x)))

    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """Uniform values of the box and of each block, from uniform (B, *shape), radial (B,) in [0, 1)."""
        check_points(uniform, self.batch, self.shape)
        return self._back(self._product.sample(self._flat(uniform), radial))

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, *shape) lies inside, (B,) bool: exact, and NaN is outside."""
        check_points(x, self.batch, self.shape)
        return self._product.contains(self._flat(x))

    @torch.inference_mode(False)
    def select(self, index: Tensor) -> Levels:
        """The sets at a long or bool index (b,)."""
        part = Levels.__new__(Levels)
        part._limits, part._product = self._limits.select(index), self._product.select(index)
        part._blocks = tuple((place, values.select(index)) for place, values in self._blocks)
        part._places, part._order, part._hull = self._places, self._order, None
        return part

    def parts(self, *, most: int = 4096) -> tuple[Box, Tensor] | None:
        """One box for each combination of values, and the problem (B',) that it belongs to.

        None where there are more than `most` of them in all.
        """
        members = [values.mask.nonzero().unbind(1) for _, values in self._blocks]
        ways = combined([owner for owner, _ in members], self.batch, most)
        if ways is None:
            return None
        places, owner = ways
        limits = self._limits.select(owner)
        faces = (*limits.cast(torch.float64), *limits.inner(torch.float64))
        flat = [face.flatten(1).clone() for face in faces]
        for (index, values), (_, which), place in zip(self._blocks, members, places, strict=True):
            for face in flat:
                face[:, index] = values.points[owner, which[place]]
        lower, upper, inner_lower, inner_upper = map(self._shaped, flat)
        return box_within((lower, upper), (inner_lower, inner_upper), self.dtype), owner

    def __and__(self, other: Box | Ball | Levels) -> Levels:
        """The intersection with a box or linf ball, or with values for the same or for other coordinates."""
        theirs = other.body if isinstance(other, Ball) else other
        if isinstance(theirs, Box):
            return Levels(self._limits & theirs, self._blocks)
        if not isinstance(theirs, Levels):
            return NotImplemented
        mine = {tuple(place.tolist()): values for place, values in self._blocks}
        for place, values in theirs._blocks:
            key = tuple(place.tolist())
            mine[key] = mine[key] & values if key in mine else values
        blocks = [(torch.tensor(key, dtype=torch.int64), values) for key, values in mine.items()]
        return Levels(self._limits & theirs._limits, blocks)

    __rand__ = __and__

    def __or__(self: InputSet, other: InputSet) -> Union:
        """The union with a set of equal batch and shape."""
        return Union.of(self, other)

    def _flat(self, x: Tensor) -> Tensor:
        """Points (B, *shape) as the product's (B, n)."""
        return x.flatten(1)[:, self._places]

    def _back(self, x: Tensor) -> Tensor:
        """The product's points (B, n) as (B, *shape)."""
        return self._shaped(x[:, self._order])

    def _shaped(self, x: Tensor) -> Tensor:
        return x.reshape(-1, *self.shape)

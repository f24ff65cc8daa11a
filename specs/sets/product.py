"""The product of sets over several variables, as one flat vector: what a property of x and x' ranges over.

A block may itself be a set over several variables at once (`Coupled`): a product only says that the
choice in one block leaves that in the others free.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from robustbench_local.errors import DeviceError, ShapeError

from .box import Box, box_beside
from .combining import combined
from .input_set import Divisible, InputSet, check_points, check_rows
from .union import Union

__all__ = ["Product", "merge_points", "split_points"]

_SPREAD = (math.sqrt(5) - 1) / 2  # multiples modulo 1 are evenly spread: each block another radius


class Product:
    """The points (x_1, .., x_k) with x_i in blocks[i], flat: shape (n,), each block flattened row-major.

    All blocks have one batch B and live on one device; at least one. Raises ShapeError or DeviceError.
    """

    __slots__ = ("_blocks", "_hull", "_sizes")

    def __init__(self, blocks: Sequence[InputSet]) -> None:
        if not blocks:
            raise ShapeError("a product of no sets", cure="give at least one block")
        first = blocks[0]
        for i, block in enumerate(blocks):
            if block.batch != first.batch:
                raise ShapeError(f"block {i} holds {block.batch} sets, block 0 {first.batch}")
            if block.device != first.device:
                raise DeviceError(f"block {i} lives on {block.device}, block 0 on {first.device}")
        self._blocks = tuple(blocks)
        self._sizes = [math.prod(block.shape) for block in blocks]
        self._hull: Box | None = None

    @property
    def blocks(self) -> tuple[InputSet, ...]:
        """The sets, in the order of their coordinates."""
        return self._blocks

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The blocks' shapes of one point."""
        return tuple(block.shape for block in self._blocks)

    @property
    def batch(self) -> int:
        """B, the number of sets."""
        return self._blocks[0].batch

    @property
    def shape(self) -> tuple[int, ...]:
        """(n,): the blocks' numbers of coordinates, added."""
        return (sum(self._sizes),)

    @property
    def dtype(self) -> torch.dtype:
        """The smallest floating type that holds those of all blocks."""
        dtype = self._blocks[0].dtype
        for block in self._blocks[1:]:
            dtype = torch.promote_types(dtype, block.dtype)
        return dtype

    @property
    def device(self) -> torch.device:
        """Where the numbers live."""
        return self._blocks[0].device

    def __repr__(self) -> str:
        return f"Product([{', '.join(map(repr, self._blocks))}])"

    def split(self, x: Tensor) -> list[Tensor]:
        """The blocks' points (B, *shape_i) of points x (B, n); views where possible, differentiable."""
        check_points(x, x.shape[0], self.shape)
        return split_points(x, self.shapes)

    def merge(self, parts: Sequence[Tensor]) -> Tensor:
        """Points (B, n) from the blocks' points (B, *shape_i): `split` undone."""
        if [tuple(part.shape[1:]) for part in parts] != list(self.shapes):
            given = [tuple(part.shape) for part in parts]
            raise ShapeError(f"points of shapes {given} for blocks of {list(self.shapes)}")
        return merge_points(parts)

    def box(self) -> Box:
        """The product of the hulls, (B, n)."""
        if self._hull is None:
            self._hull = box_beside([block.box() for block in self._blocks], self.dtype)
        return self._hull

    def centre(self) -> Tensor:
        """The blocks' centres, (B, n) float64."""
        return merge_points([block.centre() for block in self._blocks])

    def support(self, a: Tensor) -> Tensor:
        """The sum of the blocks' supports, exact where they are: a (B or 1, K, n) -> (B, K)."""
        check_rows(a, self.batch, self.shape)
        total = torch.zeros(self.batch, a.shape[1], dtype=a.dtype, device=a.device)
        start = 0
        for block, size in zip(self._blocks, self._sizes, strict=True):
            rows = a[:, :, start : start + size].reshape(*a.shape[:2], *block.shape)
            total, start = total + block.support(rows), start + size
        return total

    def steepest(self, g: Tensor) -> Tensor:
        """The blocks' steepest displacements, (B, n)."""
        check_points(g, self.batch, self.shape)
        pairs = zip(self._blocks, self.split(g), strict=True)
        return merge_points([block.steepest(part) for block, part in pairs])

    def project(self, x: Tensor) -> Tensor:
        """The nearest point, which is nearest in each block; (B, n) of x's dtype, exactly inside."""
        check_points(x, self.batch, self.shape)
        pairs = zip(self._blocks, self.split(x), strict=True)
        return merge_points([block.project(part) for block, part in pairs])

    def sample(self, uniform: Tensor, radial: Tensor) -> Tensor:
        """A point of each block, from uniform (B, n) and radial (B,) in [0, 1); exactly inside."""
        check_points(uniform, self.batch, self.shape)
        points = []
        for i, (block, part) in enumerate(zip(self._blocks, self.split(uniform), strict=True)):
            points.append(block.sample(part, torch.remainder(radial + i * _SPREAD, 1.0)))
        return merge_points(points)

    def contains(self, x: Tensor) -> Tensor:
        """Whether each x of (B, n) lies inside, (B,) bool: exact, and NaN is outside."""
        check_points(x, self.batch, self.shape)
        pairs = zip(self._blocks, self.split(x), strict=True)
        return torch.stack([block.contains(part) for block, part in pairs]).all(0)

    def select(self, index: Tensor) -> Product:
        """The products at a long or bool index (b,)."""
        return Product([block.select(index) for block in self._blocks])

    def __or__(self: InputSet, other: InputSet) -> Union:
        """The union with a set of equal batch and shape."""
        return Union.of(self, other)

    def parts(self, *, most: int = 4096) -> tuple[InputSet, Tensor] | None:
        """The products of one part of each block, and the problem (B',) of each: boxes where all parts are.

        None where no block has parts, or there are more than `most` products in all.
        """
        found = [block.parts(most=most) if isinstance(block, Divisible) else None for block in self._blocks]
        if all(pair is None for pair in found):
            return None
        rows = torch.arange(self.batch, device=self.device)
        pairs = [(b, rows) if pair is None else pair for b, pair in zip(self._blocks, found, strict=True)]
        ways = combined([owner for _, owner in pairs], self.batch, most)
        if ways is None:
            return None
        parts = [part.select(place) for (part, _), place in zip(pairs, ways[0], strict=True)]
        boxes = [part for part in parts if isinstance(part, Box)]
        return box_beside(boxes, self.dtype) if len(boxes) == len(parts) else Product(parts), ways[1]


def split_points(x: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """The parts (B, *shapes[i]) of x (B, n), n the sum of their sizes; `merge_points` undone."""
    parts, start = [], 0
    for shape in shapes:  # slices, which every bound rule set knows, and not a split
        end = start + math.prod(shape)
        parts.append(x[:, start:end].unflatten(1, shape) if shape else x[:, start])
        start = end
    return parts


def merge_points(parts: Sequence[Tensor]) -> Tensor:
    """Points (B, *shape_i), each flattened row-major and put side by side: (B, n)."""
    return torch.cat([part.flatten(1) for part in parts], 1)

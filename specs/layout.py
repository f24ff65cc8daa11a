"""Where the variables and the per-sample data of a property lie in the input of its network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from robustbench_local.errors import ShapeError

from .sets import merge_points, split_points

__all__ = ["Block", "Layout"]


@dataclass(frozen=True, slots=True)
class Block:
    """One variable, or one datum that is an input because it differs between samples."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Layout:
    """The blocks in order. A single block with an axis keeps its shape; else all are flat, side by side."""

    blocks: tuple[Block, ...]

    @property
    def plain(self) -> bool:
        """Whether the input is the one variable itself."""
        return len(self.blocks) == 1 and bool(self.blocks[0].shape)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample of the input."""
        return self.blocks[0].shape if self.plain else (sum(block.size for block in self.blocks),)

    def start(self, name: str) -> int:
        """The first coordinate of a block in the flat order."""
        start = 0
        for block in self.blocks:
            if block.name == name:
                return start
            start += block.size
        raise KeyError(name)

    def split(self, x: Tensor) -> dict[str, Tensor]:
        """Name -> (B, *shape) of an input x (B, *self.shape); differentiable."""
        if tuple(x.shape[1:]) != self.shape:
            names = ", ".join(block.name for block in self.blocks)
            raise ShapeError(
                f"the input has shape {tuple(x.shape)}, expected (B, {', '.join(map(str, self.shape))})",
                cure=f"it holds, side by side: {names}",
            )
        if self.plain:
            return {self.blocks[0].name: x}
        parts = split_points(x, [block.shape for block in self.blocks])
        return {block.name: part for block, part in zip(self.blocks, parts, strict=True)}

    def merge(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The input (B, *self.shape) from the blocks' values; `split` undone."""
        if self.plain:
            return parts[self.blocks[0].name]
        return merge_points([parts[block.name].reshape(-1, block.size) for block in self.blocks])

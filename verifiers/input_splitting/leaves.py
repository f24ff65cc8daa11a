"""Parts of input boxes: what a search over inputs keeps of each, and how it cuts them.

Of a box only the coordinates that are ever cut are kept: `Whole` puts them back among the others.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from robustbench_local.specs import Box

__all__ = ["Leaves", "Whole"]


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """The boxes (B, n) that are searched, float64, and which coordinates of each are cut, axes (B, d).

    Coordinates in `axes` that do not vary are never cut.
    """

    lower: Tensor
    upper: Tensor
    axes: Tensor

    @staticmethod
    def of(box: Box, most: int, device: torch.device) -> Whole:
        """The boxes with the widest `most` coordinates of each to be cut."""
        lower, upper = (face.flatten(1).to(device) for face in (box.lower, box.upper))
        varying = int((lower < upper).sum(1).max())
        axes = (upper - lower).topk(min(most, max(varying, 1)), dim=1).indices
        return Whole(lower, upper, axes.sort(1).values)

    @staticmethod
    def along(box: Box, axes: Tensor) -> Whole:
        """The boxes with the coordinates `axes` (B, d) of each to be cut."""
        lower, upper = (face.flatten(1).to(axes.device) for face in (box.lower, box.upper))
        return Whole(lower, upper, axes)

    def leaves(self, rows: Tensor, value: Tensor, samples: Tensor) -> Leaves:
        """The boxes themselves of some samples (b,), with rows (B, m) and values (B,) of all."""
        axes = self.axes[samples]
        lower, upper = (t[samples].gather(1, axes) for t in (self.lower, self.upper))
        return Leaves(samples, lower, upper, rows[samples], value[samples], torch.zeros_like(lower))

    def boxes(self, leaves: Leaves, shape: tuple[int, ...]) -> Box:
        """The leaves as boxes of full dimension."""
        axes = self.axes[leaves.owner]
        lower, upper = (
            whole[leaves.owner].scatter(1, axes, part).unflatten(1, shape)
            for whole, part in ((self.lower, leaves.lower), (self.upper, leaves.upper))
        )
        return Box(lower, upper)

    def volume(self, leaves: Leaves, counted: Tensor) -> Tensor:
        """Which share (B,) of every box its leaves make up; zero for boxes not `counted` (B,)."""
        width = self.widths(leaves.owner)
        parts = torch.where(width > 0, (leaves.upper - leaves.lower) / width, 1.0).prod(1)
        total = parts.new_zeros(len(counted)).scatter_reduce(0, leaves.owner, parts, "sum")
        return torch.where(counted, total, 0.0).clamp(0.0, 1.0)

    def widths(self, owner: Tensor) -> Tensor:
        """Widths of the cut coordinates of samples (n,), (n, d)."""
        axes = self.axes[owner]
        return self.upper[owner].gather(1, axes) - self.lower[owner].gather(1, axes)


@dataclass(frozen=True, slots=True, eq=False)
class Leaves:
    """n parts of boxes: owner (n,) is the sample, lower and upper (n, d) float64 the cut coordinates.

    rows (n, m) bound the sample's atoms on the part, value (n,) its violation; score (n, d) says how much a
    cut along each coordinate promises, zero where nothing is known.
    """

    owner: Tensor
    lower: Tensor
    upper: Tensor
    rows: Tensor
    value: Tensor
    score: Tensor

    def __len__(self) -> int:
        return self.owner.shape[0]

    @staticmethod
    def none(rows: Tensor, axes: Tensor) -> Leaves:
        """No parts of samples with rows (B, m) and axes (B, d)."""
        faces = rows.new_empty(0, axes.shape[1])
        return Leaves(axes.new_empty(0), faces, faces, rows[:0], rows.new_empty(0), faces)

    def select(self, index: Tensor) -> Leaves:
        """Some of the leaves: index (k,), or a mask (n,)."""
        return Leaves(*(getattr(self, f.name)[index] for f in fields(self)))

    def joined(self, others: Leaves) -> Leaves:
        """These leaves and others."""
        return Leaves(*(torch.cat((getattr(self, f.name), getattr(others, f.name))) for f in fields(self)))

    def coarse(self, resolution: float) -> Tensor:
        """Which leaves (n,) have no varying side that is shorter than `resolution` times its size."""
        width, size = self.upper - self.lower, torch.maximum(self.lower.abs(), self.upper.abs())
        return ((width > resolution * size) | (width == 0)).all(1)

    def cut(self, resolution: float) -> tuple[Leaves, Leaves]:
        """Both halves of every leaf, along the coordinate of the highest score; and the leaves that are too
        small to be cut.

        resolution: the least width of a half, relative to the coordinate's size.
        """
        middle = 0.5 * self.lower + 0.5 * self.upper
        size = torch.maximum(self.lower.abs(), self.upper.abs())
        able = self.upper - self.lower > 2 * resolution * size
        stuck = ~able.any(1)
        axis = torch.where(able, self.score, -1.0).argmax(1, keepdim=True)[~stuck]
        left = self.select(~stuck)
        at = middle[~stuck].gather(1, axis)
        score = left.score.scatter(1, axis, 0.5 * left.score.gather(1, axis))
        low = replace(left, upper=left.upper.scatter(1, axis, at), score=score)
        high = replace(left, lower=left.lower.scatter(1, axis, at), score=score)
        return low.joined(high), self.select(stuck)

"""Parts of input boxes: what a search over inputs keeps of each, how it cuts them, and what it cuts away.

Of a box only the coordinates that are ever cut are kept: `Whole` puts them back among the others.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from robustbench_local.specs import All, Atom, Box, Tree

__all__ = ["Leaves", "Planes", "Whole"]


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

    def select(self, index: Tensor) -> Leaves:
        """Some of the leaves: index (k,), or a mask (n,)."""
        return Leaves(*(getattr(self, f.name)[index] for f in fields(self)))

    def joined(self, others: Leaves) -> Leaves:
        """These leaves and others."""
        return Leaves(*(torch.cat((getattr(self, f.name), getattr(others, f.name))) for f in fields(self)))

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


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Linear functions above the atoms on n boxes: e_i(x) <= slopes_i x + constant_i.

    slopes (n, m, d) by the coordinates that are cut; top (n, m) the functions' largest values on the boxes;
    all float64.
    """

    slopes: Tensor
    top: Tensor

    def effect(self, leaves: Leaves) -> Tensor:
        """How much the coordinates change the undecided atoms' functions, (n, d)."""
        width = leaves.upper - leaves.lower
        wanted = (leaves.rows >= 0).to(width.dtype).unsqueeze(2)
        return (self.slopes.abs() * wanted).sum(1) * width

    def reach(self, tree: Tree, leaves: Leaves, margin: Tensor) -> tuple[Tensor, Tensor]:
        """The hull (n, d) of the points where the tree may be true of atoms above -margin (n,).

        Infinite ends, the lower one above the upper one, where there is no such point.
        """
        room = self.top + margin.unsqueeze(1)
        size = self.slopes.abs() * torch.maximum(leaves.lower.abs(), leaves.upper.abs()).unsqueeze(1)
        room = room + 1e-5 * (room.abs() + size.sum(2))  # planes come from float32
        step = room.unsqueeze(2) / self.slopes.abs()
        low, high = leaves.lower.unsqueeze(1), leaves.upper.unsqueeze(1)
        lower = torch.where(self.slopes > 0, high - step, low)
        upper = torch.where(self.slopes < 0, low + step, high)
        known = torch.isfinite(lower) & torch.isfinite(upper)
        lower = torch.where(known, torch.maximum(lower, low), low)
        upper = torch.where(known, torch.minimum(upper, high), high)
        never = (room < 0).unsqueeze(2)
        return _hull(tree, torch.where(never, torch.inf, lower), torch.where(never, -torch.inf, upper))


def _hull(tree: Tree, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """The hull (n, d) of the region where the tree is true, from those of its atoms (n, m, d)."""
    if isinstance(tree, Atom):
        return _emptied(lower[:, tree.index], upper[:, tree.index])
    parts = [_hull(child, lower, upper) for child in tree.children]
    lows, highs = torch.stack([p[0] for p in parts]), torch.stack([p[1] for p in parts])
    if isinstance(tree, All):
        return _emptied(lows.amax(0), highs.amin(0))
    return lows.amin(0), highs.amax(0)  # some child is true


def _emptied(lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor]:
    """The boxes, with infinite ends where they are empty."""
    empty = (lower > upper).any(1, keepdim=True)
    return torch.where(empty, torch.inf, lower), torch.where(empty, -torch.inf, upper)

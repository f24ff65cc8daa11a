"""Sub-problems of branch and bound: which splits led to each, and what its search starts from.

A split says of one coordinate z of one node that side * (z - point) >= 0. A domain is a root and the
splits on the way to it; nodes' boxes follow from these, so that a domain takes little memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..graph import Node

__all__ = ["Domains", "Splits"]


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """Up to S splits of D domains, (D, S) each: node number (-1: none), coordinate, side (+1, -1), point."""

    node: Tensor
    coordinate: Tensor
    side: Tensor
    point: Tensor

    @staticmethod
    def none(count: int, like: Tensor) -> Splits:
        """No splits of `count` domains."""
        whole = torch.zeros(count, 0, dtype=torch.int64, device=like.device)
        return Splits(whole, whole, like.new_zeros(count, 0), like.new_zeros(count, 0))

    def select(self, index: Tensor) -> Splits:
        """Those of some domains."""
        return Splits(self.node[index], self.coordinate[index], self.side[index], self.point[index])

    def with_split(self, node: Tensor, coordinate: Tensor, side: Tensor, point: Tensor) -> Splits:
        """One more split of every domain, each (D,)."""
        return Splits(
            torch.cat((self.node, node.unsqueeze(1)), 1),
            torch.cat((self.coordinate, coordinate.unsqueeze(1)), 1),
            torch.cat((self.side, side.unsqueeze(1)), 1),
            torch.cat((self.point, point.unsqueeze(1)), 1),
        )

    def double(self) -> Splits:
        """The same in float64."""
        return replace(self, side=self.side.double(), point=self.point.double())

    def padded(self, width: int) -> Splits:
        """The same with room for `width` splits."""
        missing = width - self.node.shape[1]
        if missing <= 0:
            return self
        pad = torch.nn.functional.pad
        return Splits(
            pad(self.node, (0, missing), value=-1),
            pad(self.coordinate, (0, missing)),
            pad(self.side, (0, missing)),
            pad(self.point, (0, missing)),
        )

    @property
    def depth(self) -> Tensor:
        """Number of splits of every domain, (D,)."""
        return (self.node >= 0).sum(1)


@dataclass(frozen=True, slots=True, eq=False)
class Domains:
    """D sub-problems: `root` (D,); `lower` (D,), a lower bound of minus the clause; splits; tuned values.

    multipliers: (D, S) in [0, 1], of the splits, times `scale` (D, S). slopes: by node, (D, 1, ...); empty
    where memory is short. branch: candidates for the next split (D, k): node number, coordinate, point, pull.
    tight (D, 2, U): bounds of the coordinates that are clipped (see `planes`). plane: coefficients (D, n) and
    constant (D,) of a linear function of the input below minus the clause. U = n = 0: nothing is clipped.
    """

    root: Tensor
    lower: Tensor
    splits: Splits
    multipliers: Tensor
    scale: Tensor
    slopes: Mapping[Node, Tensor]
    branch: tuple[Tensor, Tensor, Tensor, Tensor]
    tight: Tensor
    plane: tuple[Tensor, Tensor]

    @property
    def count(self) -> int:
        """D."""
        return self.root.shape[0]

    def select(self, index: Tensor) -> Domains:
        """Some of the domains."""
        return Domains(
            self.root[index],
            self.lower[index],
            self.splits.select(index),
            self.multipliers[index],
            self.scale[index],
            {node: values[index] for node, values in self.slopes.items()},
            (self.branch[0][index], self.branch[1][index], self.branch[2][index], self.branch[3][index]),
            self.tight[index],
            (self.plane[0][index], self.plane[1][index]),
        )

    def bare(self) -> Domains:
        """The same without slopes of their own."""
        return replace(self, slopes={})

    def leaves(self) -> Domains:
        """The same without what serves to split them: candidates, clipped bounds, planes."""
        branch = tuple(t[:, :0] for t in self.branch)
        plane = self.plane[0][:, :0], self.plane[1]
        return replace(self, branch=branch, tight=self.tight[:, :, :0], plane=plane)  # type: ignore[arg-type]

    @property
    def bytes(self) -> int:
        """Memory of the slopes."""
        return sum(v.numel() * v.element_size() for v in self.slopes.values())


def joined(parts: Sequence[Domains]) -> Domains:
    """Several batches of domains as one; slopes are kept where all have them."""
    width = max(part.splits.node.shape[1] for part in parts)
    padded = [part.splits.padded(width) for part in parts]
    pad = torch.nn.functional.pad
    nodes = set(parts[0].slopes).intersection(*(part.slopes for part in parts))
    return Domains(
        torch.cat([part.root for part in parts]),
        torch.cat([part.lower for part in parts]),
        Splits(
            torch.cat([p.node for p in padded]),
            torch.cat([p.coordinate for p in padded]),
            torch.cat([p.side for p in padded]),
            torch.cat([p.point for p in padded]),
        ),
        torch.cat([pad(p.multipliers, (0, width - p.multipliers.shape[1])) for p in parts]),
        torch.cat([pad(p.scale, (0, width - p.scale.shape[1])) for p in parts]),
        {node: torch.cat([part.slopes[node] for part in parts]) for node in nodes},
        tuple(torch.cat([part.branch[i] for part in parts]) for i in range(4)),  # type: ignore[arg-type]
        torch.cat([part.tight for part in parts]),
        (torch.cat([part.plane[0] for part in parts]), torch.cat([part.plane[1] for part in parts])),
    )

"""Bounds of many domains at once: boxes follow from the splits, slopes and multipliers are tuned together.

The multipliers of splits are those of beta-CROWN (Wang et al. 2021, arXiv 2103.06624): in a domain with
side * (z - point) >= 0 any non-negative multiple of it may be taken off the bounded quantity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..backward import Rows, lower_bounds
from ..graph import Node
from ..interval import Interval
from ..rule import find_rule
from ..slopes import Slopes
from ..windows import WindowRows
from .clipping import tightened
from .domains import Splits
from .planes import Planes
from .problem import Roots

__all__ = ["DomainRows", "boxes_of", "clipped"]


class Multipliers:
    """The key of split multipliers among the tuned parameters."""


class Weights:
    """The key of the atoms' weights among the tuned parameters."""


def boxes_of(
    roots: Roots,
    root: Tensor,
    splits: Splits,
    *,
    refresh: bool,
    tight: tuple[Planes, Tensor] | None = None,
) -> tuple[dict[Node, Interval], Tensor]:
    """The boxes of every node in D domains, and where they are empty (D,) so that the domain has no point.

    With `refresh` intervals are propagated again from the splits; else only the split nodes are clipped.
    tight: bounds (D, 2, U) of the planes' coordinates that are known besides.
    """
    problem = roots.problem[root]
    known = {node: box.select(problem) for node, box in roots.boxes.items()}
    if tight is not None:
        known = tightened(known, tight[0], roots.graph.nodes, tight[1])
    numbers = {int(n) for n in splits.node.unique().tolist() if n >= 0}
    empty = torch.zeros(root.shape[0], dtype=torch.bool, device=root.device)
    if not numbers:
        return known, empty
    first = min(numbers)
    boxes: dict[Node, Interval] = {}
    for node in roots.graph.nodes:
        box = known[node]
        if refresh and node.op is not None and node.index > first:
            box = box.intersect(find_rule(node).interval(node, *(boxes[p] for p in node.inputs)))
        if node.index in numbers:
            box = clipped(box, node, splits)
        if refresh or node.index in numbers:
            empty = empty | _crossed(box)
            box = Interval(torch.minimum(box.lower, box.upper), torch.maximum(box.lower, box.upper))
        boxes[node] = box
    return boxes, empty


def clipped(box: Interval, node: Node, splits: Splits) -> Interval:
    """The box of a node with its splits applied."""
    here = splits.node == node.index
    lower, upper = box.lower.reshape(box.lower.shape[0], -1), box.upper.reshape(box.lower.shape[0], -1)
    place = splits.coordinate
    infinite = torch.full_like(splits.point, torch.inf)
    low = torch.where(here & (splits.side > 0), splits.point, -infinite)
    high = torch.where(here & (splits.side < 0), splits.point, infinite)
    place = torch.where(here, place, 0)
    lower = lower.scatter_reduce(1, place, low, "amax")
    upper = upper.scatter_reduce(1, place, high, "amin")
    return Interval(lower.reshape(box.lower.shape), upper.reshape(box.lower.shape))


@dataclass(frozen=True, slots=True, eq=False)
class DomainRows:
    """One bounded row for each of D domains: minus the clause, less the splits' multiples. A `RowBatch`.

    `enough`: a domain is done where its bound is above this.
    """

    roots: Roots
    root: Tensor
    splits: Splits
    scale: Tensor
    boxes: Mapping[Node, Interval]
    enough: float = 0.0
    seen: dict[Node, Rows] = field(default_factory=dict)
    last: list[Tensor] = field(default_factory=list)

    def lower(self, slopes: Slopes) -> Tensor:
        """Lower bounds (D, 1)."""
        C, d = self.roots.C[self.root], self.roots.d[self.root]
        if C.shape[1] > 1:
            weights = self._weights(slopes)
            C, d = weights @ C, (weights.squeeze(1) * d).sum(1, keepdim=True)
        shape = self.roots.graph.output_shape
        start = {self.roots.graph.output: -C.unflatten(2, shape) if shape else -C.squeeze(2)}
        extra, offset = self._extra(slopes)
        self.seen.clear()
        found = lower_bounds(
            self.roots.graph,
            start,
            self.roots.query.inputs.select(self.roots.problem[self.root]),
            self.boxes,
            extra=extra,
            slopes=slopes,
            seen=self.seen,
        )
        bounds = found - d + offset
        self.last[:] = [bounds.detach()]
        return bounds

    def plane(self) -> tuple[Tensor, Tensor]:
        """The linear function of the input behind the last bounds: coefficients (D, n), constant (D,)."""
        a = (
            dense_rows(self.seen[self.roots.graph.input])
            .detach()
            .expand(self.root.shape[0], -1, *self.roots.graph.input_shape)
        )
        least = self.boxes[self.roots.graph.input].minimum(a)
        return a.flatten(1), (self.last[0] - least).squeeze(1)

    def _weights(self, slopes: Slopes) -> Tensor:
        """Weights (D, 1, k) of the clause's atoms, which add up to one."""
        k = self.roots.C.shape[1]
        if Weights not in slopes.values:
            start = self.scale.new_full((self.root.shape[0], 1, k), 0.5)
            slopes.values[Weights] = start.requires_grad_(torch.is_grad_enabled())
        values = slopes.values[Weights] + 0.01
        return values / values.sum(2, keepdim=True)

    def _extra(self, slopes: Slopes) -> tuple[dict[Node, Tensor], Tensor | float]:
        """Coefficients (D, 1, *shape) of the split nodes, and the offset (D, 1)."""
        if self.splits.node.shape[1] == 0:
            return {}, 0.0
        size = slopes.values[Multipliers].squeeze(1) * self.scale * self.splits.side
        extra: dict[Node, Tensor] = {}
        for number in self.splits.node.unique().tolist():
            if number < 0:
                continue
            node = self.roots.graph.nodes[number]
            here = self.splits.node == number
            place = torch.where(here, self.splits.coordinate, 0)
            share = torch.where(here, size, torch.zeros_like(size))
            flat = size.new_zeros(size.shape[0], node.numel).scatter_add(1, place, -share)
            extra[node] = flat.reshape(-1, 1, *node.shape)
        used = torch.where(self.splits.node >= 0, size * self.splits.point, torch.zeros_like(size))
        return extra, used.sum(1, keepdim=True)

    def open(self, best: Tensor) -> Tensor:
        """Where the bound is not enough yet, (D, 1)."""
        return (best > self.enough).logical_not()

    def take(self, samples: Tensor, groups: Tensor) -> DomainRows:
        """Some of the domains."""
        return DomainRows(
            self.roots,
            self.root[samples],
            self.splits.select(samples),
            self.scale[samples],
            {node: box.select(samples) for node, box in self.boxes.items()},
            self.enough,
        )


def dense_rows(rows: Rows) -> Tensor:
    """Coefficients (D, K, *shape) of rows in any form."""
    return rows.dense() if isinstance(rows, WindowRows) else rows


def _crossed(box: Interval) -> Tensor:
    return (box.lower > box.upper).reshape(box.lower.shape[0], -1).any(1)

"""Bounds of all hidden neurons of a domain, tuned under its splits and under its clause.

A neuron z needs bounds over the points of a domain that can be counterexamples only. For any multipliers
b_s, g_i >= 0 of the splits side_s (z_s - p_s) >= 0 and of the atoms e_i >= -above of the clause, the least z
is at least the minimum over all inputs of

    z - sum of b_s side_s (z_s - p_s) - sum of g_i (e_i + above),

which one backward pass bounds that starts at the neuron, at the splits and at the output at once; slopes and
multipliers are tuned together. The part for the clause is INVPROP (Kotha et al. 2023, arXiv 2302.01404), that
for the splits beta-CROWN (Wang et al. 2021, arXiv 2103.06624). A domain takes as long as hundreds of plain
bounds, and everything below it gains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..alpha_crown import HiddenBatch
from ..crown import HiddenRows, RowPull, crown_bounds
from ..graph import Graph, Node
from ..interval import Interval
from ..sharing import tuning_plan
from ..slopes import Slopes
from ..tuning import Tuning, best_lower_bounds
from ..verifier import Budget
from .bounding import boxes_of
from .domains import Domains, Splits
from .planes import Planes
from .problem import Roots

__all__ = ["Restricted", "taken_over", "tightened"]

_TUNING = Tuning(steps=8, step_size=0.3, decay=0.9)
_STEEP = 5.0  # multipliers of the clause reach this times a neuron's range over the clause's
_CUSHION = 4e-6  # relative to a bound's size: more than its rounding to float32


class _Multipliers:
    """The key of the multipliers among the tuned parameters."""


@dataclass(frozen=True, slots=True, eq=False)
class Restricted:
    """D domains of float64 roots, (D,) `root`, within which clauses are not below -above.

    boxes: of every node, known so far.
    """

    roots: Roots
    root: Tensor
    splits: Splits
    boxes: Mapping[Node, Interval]
    above: float

    def tightened(self, budget: Budget) -> dict[Node, Interval]:
        """Better boxes; bounds that cross show that there is no such point."""
        inputs = self.roots.query.inputs.select(self.roots.problem[self.root])
        pull = _Pull(self, budget.deadline())
        return crown_bounds(self.roots.graph, inputs, budget, known=self.boxes, pull=pull)[0]


@dataclass(frozen=True, slots=True)
class _Pull:
    """Bounds of hidden neurons in domains: a `HiddenPull`."""

    domains: Restricted
    deadline: float

    def planned(
        self, graph: Graph, node: Node, mask: Tensor, budget: Budget, like: Tensor
    ) -> tuple[RowPull, int]:
        """Rows pass the whole network, from the output down."""
        plan = tuning_plan(graph, graph.output, 2 * int(mask.sum()), like, budget)

        def bound(rows: HiddenRows) -> Tensor:
            samples = (
                torch.arange(len(rows.pick), device=like.device) if rows.samples is None else rows.samples
            )
            batch = _Rows(rows, self.domains, samples)
            slopes = Slopes(plan.per_row)
            return best_lower_bounds(batch, _TUNING, slopes=slopes, deadline=self.deadline)[0]

        return bound, plan.row_bytes


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Hidden neurons of some of the domains, `samples` (b,), with multipliers of their own. A `RowBatch`."""

    rows: HiddenRows
    domains: Restricted
    samples: Tensor

    def lower(self, slopes: Slopes) -> Tensor:
        """Lower bounds of the neurons, then of their negatives: (b, 2K)."""
        roots, splits = self.domains.roots, self.domains.splits.select(self.samples)
        root, size = self.domains.root[self.samples], self._sizes()
        C, d = roots.C[root], roots.d[root]
        count = splits.node.shape[1]
        if _Multipliers not in slopes.values:
            start = size.new_zeros(*size.shape[:2], count + C.shape[1])
            slopes.values[_Multipliers] = start.requires_grad_(torch.is_grad_enabled())
        share = slopes.values[_Multipliers]
        extra, offset = self._splits(splits, share[:, :, :count] * size)
        atoms = share[:, :, count:] * size * self._clause(C)
        output = roots.graph.output
        pulled = -(atoms @ C).reshape(*size.shape[:2], *output.shape)
        extra[output] = extra[output] + pulled if output in extra else pulled
        offset = offset - (atoms * (d + self.domains.above).unsqueeze(1)).sum(2)
        return self.rows.lower(slopes, extra) + offset

    def _sizes(self) -> Tensor:
        """Widths (b, 2K, 1) of the neurons' boxes: a multiplier is of this size over that of its split."""
        box = self.rows.boxes[self.rows.node]
        width = (
            (box.upper - box.lower).flatten(1) if box.lower.dim() > 1 else (box.upper - box.lower)[:, None]
        )
        own = width.gather(1, self.rows.neurons[self.rows.pick])
        return torch.cat((own, own), 1).unsqueeze(2)

    def _clause(self, C: Tensor) -> Tensor:
        """What a multiplier of an atom is at most for a neuron of width one, (b, 1, k)."""
        box = self.domains.boxes[self.domains.roots.graph.output]
        radius = 0.5 * (box.upper - box.lower).reshape(len(box.lower), -1)[self.samples]
        range_ = (C.abs() @ radius.unsqueeze(2)).squeeze(2)
        return (_STEEP / range_.clamp(min=torch.finfo(C.dtype).tiny ** 0.5)).unsqueeze(1)

    def _splits(self, splits: Splits, share: Tensor) -> tuple[dict[Node, Tensor], Tensor]:
        """Coefficients (b, 2K, *shape) of the split nodes, and the offset (b, 2K); share (b, 2K, S)."""
        extra: dict[Node, Tensor] = {}
        offset = share.new_zeros(share.shape[:2])
        for number in splits.node.unique().tolist():
            if number < 0:
                continue
            node = self.domains.roots.graph.nodes[number]
            here = splits.node == number
            place = torch.where(here, splits.coordinate, 0)
            box = self.domains.boxes[node]
            width = (box.upper - box.lower).reshape(len(box.lower), -1)[self.samples].gather(1, place)
            unit = torch.where(here, splits.side / width.clamp(min=1e-9), torch.zeros_like(width))
            size = share * unit.unsqueeze(1)
            flat = size.new_zeros(*size.shape[:2], node.numel)
            flat = flat.scatter_add(2, place.unsqueeze(1).expand_as(size), -size)
            extra[node] = flat.reshape(*size.shape[:2], *node.shape)
            offset = offset + (size * splits.point.unsqueeze(1)).sum(2)
        return extra, offset

    def open(self, best: Tensor) -> Tensor:
        """Neurons that are not decided yet."""
        return HiddenBatch(self.rows).open(best)

    def take(self, samples: Tensor, groups: Tensor) -> _Rows:
        """Some domains (b,) and some of the neurons of each (b, k)."""
        return replace(
            self, rows=HiddenBatch(self.rows).take(samples, groups).rows, samples=self.samples[samples]
        )


def taken_over(
    boxes: Mapping[Node, Interval], planes: Planes, nodes: tuple[Node, ...], tight: Tensor
) -> tuple[Tensor, Tensor]:
    """The bounds `tight` (D, 2, U) of the planes' coordinates with those of float64 boxes, rounded outward;
    and where they cross, (D,).
    """
    parts = []
    for number, places in planes.nodes:
        box = boxes[nodes[number]]
        lower, upper = (end.reshape(len(tight), -1)[:, places] for end in (box.lower, box.upper))
        slack = _CUSHION * torch.maximum(lower.abs(), upper.abs()) + torch.finfo(tight.dtype).tiny
        parts.append(torch.stack((lower - slack, upper + slack), 1).to(tight.dtype))
    found = torch.cat(parts, 2)
    lower, upper = torch.fmax(tight[:, 0], found[:, 0]), torch.fmin(tight[:, 1], found[:, 1])
    empty = (lower > upper).any(1)
    return torch.stack((torch.minimum(lower, upper), torch.maximum(lower, upper)), 1), empty


def tightened(
    wide: Roots, domains: Domains, planes: Planes, above: float, budget: Budget
) -> tuple[Tensor, Tensor]:
    """Bounds (D, 2, U) of the planes' coordinates in domains, and where these have no point (D,).

    wide: the roots in float64.
    """
    splits = domains.splits.double()
    boxes, _ = boxes_of(wide, domains.root, splits, refresh=False, tight=(planes, domains.tight))
    found = Restricted(wide, domains.root, splits, boxes, above).tightened(budget)
    return taken_over(found, planes, wide.graph.nodes, domains.tight)

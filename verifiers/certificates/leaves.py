"""Domains of hidden splits as a batch of rows: what tuning raises, and what is written of it afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_local.checker import Bounds
from robustbench_local.specs import Box

from ..backward import Rows, lower_bounds
from ..graph import Graph, Node
from ..interval import Interval
from ..rule import Elementwise, find_rule
from ..slopes import Slopes
from ..windows import WindowRows

__all__ = [
    "Domain",
    "DomainBatch",
    "Multipliers",
    "dense",
    "hang",
    "lines_of",
    "open_places",
    "rounded",
    "stored_slopes",
]


class Multipliers:
    """The key of the splits' multipliers among the tuned parameters."""


@dataclass(slots=True, eq=False)
class Domain:
    """A part of a problem: splits (node, coordinate, side, point, unit) by the graph, an atom to refute.

    slopes: parameters by node, (1, R, ...), from which tuning starts; parent: where its tree
    hangs; last: nothing is left to be split, only to be tuned; fresh: from the engine, to be tried untuned.
    tight: what clipping left of the parent's boxes, where these were clipped.
    """

    problem: int
    clause: int
    atom: int
    splits: tuple[tuple[int, int, int, float, float], ...]
    multipliers: NDArray[np.float64]
    slopes: dict[object, Tensor]
    parent: tuple[object, str]
    last: bool = False
    fresh: bool = False
    tight: Mapping[Node, Interval] = field(default_factory=dict)

    @property
    def kind(self) -> tuple[object, ...]:
        """What domains of one batch have in common."""
        return self.last, self.fresh, tuple(self.slopes), tuple(self.tight)


@dataclass(frozen=True, slots=True, eq=False)
class DomainBatch:
    """One row for each of D domains: minus the atom, less the multiples of the splits. A `RowBatch`.

    rows (D, 1, out) and constants (D, 1): the atom's; boxes of every node (D, ...), clipped by the splits;
    node, coordinate (long), side, point, unit: (D, S), node -1 where a domain has fewer splits; a
    multiplier is its parameter, within [0, 1], times four units.
    """

    graph: Graph
    inputs: Box
    rows: Tensor
    constants: Tensor
    boxes: Mapping[Node, Interval]
    splits: tuple[Tensor, ...]
    seen: dict[Node, Rows] = field(default_factory=dict)

    @staticmethod
    def of(
        graph: Graph,
        inputs: Box,
        boxes: Mapping[Node, Interval],
        atoms: tuple[Tensor, Tensor],
        domains: Sequence[Domain],
    ) -> DomainBatch:
        """The batch of some domains; `boxes` (B, ...) and atoms C (B, m, out), d (B, m) of all problems."""
        problem = torch.tensor([d.problem for d in domains])
        atom = torch.tensor([d.atom for d in domains])
        most = max(len(d.splits) for d in domains)
        table = np.zeros((5, len(domains), most))
        table[0] = -1
        for k, d in enumerate(domains):
            if d.splits:
                table[:, k, : len(d.splits)] = np.array(d.splits).T
        node, coordinate, side, point, unit = (torch.from_numpy(t) for t in table)
        splits = (node.long(), coordinate.long(), side, point, unit)
        own = {n: box.select(problem) for n, box in boxes.items()}
        for number in set(splits[0].unique().tolist()) - {-1}:
            own[graph.nodes[number]] = _clipped(own[graph.nodes[number]], number, splits)
        C, shift = atoms
        return DomainBatch(
            graph, inputs, C[problem, atom].unsqueeze(1), shift[problem, atom].unsqueeze(1), own, splits
        )

    def start(self, domains: Sequence[Domain]) -> Slopes:
        """The parameters that the domains bring along; missing ones are set up by the pull."""
        slopes = Slopes()
        for key in domains[0].slopes:
            slopes.values[key] = torch.cat([d.slopes[key] for d in domains]).double().requires_grad_()
        if self.splits[0].shape[1]:
            size = np.zeros((len(domains), 1, self.splits[0].shape[1]))
            for k, domain in enumerate(domains):
                size[k, 0, : len(domain.multipliers)] = domain.multipliers
            start = torch.from_numpy(size) / self.unit().clamp(min=1e-30)
            slopes.values[Multipliers] = start.clamp(0, 1).requires_grad_()
        return slopes

    def unit(self) -> Tensor:
        """What multipliers of parameter 1 are, (D, 1, S)."""
        return 4.0 * self.splits[4].unsqueeze(1)

    def lower(self, slopes: Slopes) -> Tensor:
        """Lower bounds (D, 1)."""
        start = {self.graph.output: -self.rows.reshape(-1, 1, *self.graph.output.shape)}
        extra: dict[Node, Tensor] = {}
        offset: Tensor | float = 0.0
        node, coordinate, side, point, _ = self.splits
        if node.shape[1]:
            size = slopes.values[Multipliers].squeeze(1) * self.unit().squeeze(1) * side
            for number in set(node.unique().tolist()) - {-1}:
                at = self.graph.nodes[number]
                share = torch.where(node == number, size, torch.zeros_like(size))
                flat = size.new_zeros(size.shape[0], at.numel).scatter_add(
                    1, torch.where(node == number, coordinate, 0), -share
                )
                extra[at] = flat.reshape(-1, 1, *at.shape)
            offset = (size * point).sum(1, keepdim=True)
        self.seen.clear()
        found = lower_bounds(
            self.graph, start, self.inputs, self.boxes, extra=extra, slopes=slopes, seen=self.seen
        )
        return found - self.constants + offset

    def plane(self, bound: Tensor) -> tuple[Tensor, Tensor]:
        """Slopes (D, n) and constants (D,) of the linear functions that the last bounds (D, 1) come from."""
        box = self.boxes[self.graph.input]
        a = dense(self.seen[self.graph.input]).expand(len(bound), 1, *self.graph.input_shape)
        return a.flatten(1), (bound - box.minimum(a)).squeeze(1)

    def tightened(self, domains: Sequence[Domain]) -> DomainBatch:
        """The same over what was left of the parents' boxes, where clipping left something."""
        own = dict(self.boxes)
        for node in domains[0].tight:
            low, high = (
                torch.cat([getattr(d.tight[node], end) for d in domains]) for end in ("lower", "upper")
            )
            low, high = torch.maximum(low, own[node].lower), torch.minimum(high, own[node].upper)
            own[node] = Interval(torch.minimum(low, high), torch.maximum(low, high))
        return replace(self, boxes=own, seen={})

    def open(self, best: Tensor) -> Tensor:
        """Where the bound is not above zero yet."""
        return (best > 0).logical_not()

    def take(self, samples: Tensor, groups: Tensor) -> DomainBatch:
        """Some of the domains."""
        splits = tuple(part[samples] for part in self.splits)
        boxes = {node: box.select(samples) for node, box in self.boxes.items()}
        return replace(
            self,
            rows=self.rows[samples],
            constants=self.constants[samples],
            boxes=boxes,
            splits=splits,
            seen={},
        )

    def lines(self, slopes: Slopes) -> dict[Node, tuple[Tensor, Tensor]]:
        """Slopes below and above of every function, (D, n) each."""
        return lines_of(self.graph, self.boxes, slopes)


def _clipped(box: Interval, number: int, splits: tuple[Tensor, ...]) -> Interval:
    """The boxes of a node with its splits applied."""
    node, coordinate, side, point, _ = splits
    coordinate = torch.where(node == number, coordinate, 0)
    infinite = torch.full_like(point, torch.inf)
    low = torch.where((node == number) & (side > 0), point, -infinite)
    high = torch.where((node == number) & (side < 0), point, infinite)
    lower = box.lower.flatten(1).scatter_reduce(1, coordinate, low, "amax")
    upper = box.upper.flatten(1).scatter_reduce(1, coordinate, high, "amin")
    return Interval(lower.reshape(box.lower.shape), upper.reshape(box.upper.shape))


def lines_of(
    graph: Graph, boxes: Mapping[Node, Interval], slopes: Slopes
) -> dict[Node, tuple[Tensor, Tensor]]:
    """Slopes below and above of every function whose input has a box, (D, n) each."""
    found = {}
    for node in graph.nodes[1:]:
        rule = find_rule(node)
        if isinstance(rule, Elementwise) and node.inputs[0] in boxes:
            free = slopes.values.get(node)
            parts = () if free is None else free.squeeze(1).unbind(1)
            lines = rule.lines(node, boxes[node.inputs[0]], parts)
            found[node] = (lines.lower_slope.flatten(1), lines.upper_slope.flatten(1))
    return found


def hang(domain: Domain, tree: object) -> None:
    """Puts a tree where the domain's place is."""
    holder, side = domain.parent
    setattr(holder, side, tree)


def stored_slopes(
    lines: Mapping[Node, tuple[Tensor, Tensor]],
    k: int,
    number: Mapping[Node, int],
    ids: Mapping[int, NDArray[np.int64]],
    smooth: frozenset[int],
) -> dict[tuple[int, str], NDArray[np.float64]]:
    """What a file says of domain k's lines (D, n): for each function those at the coordinates `ids`.

    number: of nodes in the file; smooth: those that are sigmoids, of which it names the lines above, too.
    """
    found = {}
    for node, sides in lines.items():
        place = number[node]
        for side, values in zip(("below", "above") if place in smooth else ("below",), sides, strict=False):
            found[place, side] = values[k, ids[place]].numpy()
    return found


def open_places(bounds: Bounds, node: int, *, smooth: bool) -> NDArray[np.int64]:
    """The coordinates of what a function reads where its lines are free in some problem."""
    low, high = bounds.lower[node], bounds.upper[node]
    wanted = (low < high) if smooth else (low < 0) & (high > 0)
    return np.flatnonzero(wanted.any(0))


def rounded(slopes: Slopes, unit: Tensor | None = None) -> Slopes:
    """The parameters as a certificate stores them: slopes in steps of 1 / 255, multipliers in float32.

    unit: what a multiplier of parameter 1 is.
    """
    made = Slopes()
    for key, value in slopes.values.items():
        if key is Multipliers and unit is not None:
            least = unit.clamp(min=1e-30)
            made.values[key] = (value.detach() * least).float().double() / least
        else:
            made.values[key] = (value.detach() * 255).round() / 255
    return made


def dense(rows: Rows) -> Tensor:
    """Rows (D, 1, *shape) in dense form."""
    return rows.dense() if isinstance(rows, WindowRows) else rows

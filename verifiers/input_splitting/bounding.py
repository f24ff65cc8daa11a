"""How parts of boxes are bounded: hidden neurons forward, backward or both, the property by a backward pass.

Which way pays depends on the network and on how small the parts are: all ways are tried on a few parts now
and then, and the one goes on that promises the least work. A part's excess over the truth falls with the
square of its width, so an excess g asks for about g^(d/2) parts where d coordinates are cut.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from robustbench_local.specs import Query

from ..backward import input_planes
from ..crown import crown_bounds
from ..forward import forward_bounds
from ..graph import Graph, Node
from ..ibp import interval_bounds, overflow, specification_rows
from ..interval import Interval
from ..verifier import Budget
from .planes import Planes

__all__ = ["Bounding", "Found", "Way", "ways_of"]

_MOST_COEFFICIENTS = 2**13  # of errors in one node's affine form
_AGAIN = 24  # batches until all ways are tried again
_TRIED = 32  # parts on which they are tried


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Upper bounds (n, m) of the atoms on n parts, and linear functions above them."""

    rows: Tensor
    planes: Planes

    def select(self, index: Tensor) -> Found:
        """What was found of some parts."""
        return Found(self.rows[index], self.planes.select(index))


class Way(Protocol):
    """One way to bound parts."""

    def bound(self, graph: Graph, query: Query, axes: Tensor) -> Found:
        """Bounds of the atoms of `query`, with functions of the coordinates `axes` (n, d)."""
        ...


@dataclass(frozen=True, slots=True)
class Forward:
    """Affine forms of `symbols` errors for the hidden neurons, then one backward pass."""

    symbols: int
    budget: Budget

    def bound(self, graph: Graph, query: Query, axes: Tensor) -> Found:
        boxes, _ = forward_bounds(graph, query.inputs, self.budget, symbols=self.symbols)
        return _found(graph, query, boxes, axes)


@dataclass(frozen=True, slots=True)
class Backward:
    """Intervals and a backward pass for every undecided hidden neuron, and one for the property."""

    budget: Budget

    def bound(self, graph: Graph, query: Query, axes: Tensor) -> Found:
        boxes, _ = crown_bounds(graph, query.inputs, self.budget)
        return _found(graph, query, boxes, axes)


def ways_of(graph: Graph, budget: Budget, symbols: int) -> tuple[Way, ...]:
    """The ways that may pay for this network, those with affine forms first."""
    widest = max(node.numel for node in graph.nodes)
    most = min(symbols, _MOST_COEFFICIENTS // widest)
    counts = sorted({most, min(most, 16), 0}, reverse=True)
    return (*(Forward(count, budget) for count in counts), Backward(budget))


@dataclass(slots=True, eq=False)
class Bounding:
    """The ways of one search and the one that is taken now, with what the screening by intervals gave.

    A local record of one search. dims: how many coordinates are cut.
    """

    ways: tuple[Way, ...]
    dims: int
    now: int = 0
    calls: int = 0
    screened: int = 0
    passed: int = 0
    cost: dict[int, float] = field(default_factory=dict)

    def screen(self, graph: Graph, query: Query) -> Tensor | None:
        """Bounds of the atoms by intervals; None where these have decided too little to be worth it."""
        if self.screened > 1024 and self.passed < 0.02 * self.screened and self.calls % 16:
            return None
        boxes = interval_bounds(graph, query.inputs)
        return specification_rows(graph, query, boxes, to_input=False)

    def learn(self, screened: int, passed: int) -> None:
        """Takes how many of the parts that were screened need no other bound."""
        self.screened, self.passed = self.screened // 2 + screened, self.passed // 2 + passed

    def bound(self, graph: Graph, query: Query, axes: Tensor, reached: Tensor) -> Found:
        """Bounds of parts where the violation reaches `reached` (n,)."""
        if len(self.ways) > 1 and self.calls % _AGAIN in (0, 4):
            some = torch.arange(min(_TRIED, query.batch), device=axes.device)
            self._compare(graph, query.select(some.to(query.C.device)), axes[some], reached[some])
        self.calls += 1
        return self.ways[self.now].bound(graph, query, axes)

    def _compare(self, graph: Graph, query: Query, axes: Tensor, reached: Tensor) -> None:
        work: dict[int, Tensor] = {}
        for i, way in enumerate(self.ways):
            start = time.perf_counter()
            found = way.bound(graph, query, axes)
            seconds = time.perf_counter() - start
            value = query.combine(torch.fmin(found.rows, found.planes.top))
            excess = (value - reached).clamp(min=0).nan_to_num(torch.inf)
            # a part that is proved needs no more; one that is not needs as many as its excess says
            work[i] = seconds * torch.where(value < 0, 0.0, excess).mean() ** (0.5 * self.dims)
        costs = {i: float(w) for i, w in work.items()}
        if min(costs.values()) < float("inf"):
            self.now = min(costs, key=lambda i: costs[i])


def _found(graph: Graph, query: Query, boxes: Mapping[Node, Interval], axes: Tensor) -> Found:
    known = dict(boxes)
    rows = specification_rows(graph, query, known, to_input=False).to(torch.float64)
    planes = planes_of(graph, query, known, axes)
    return Found(torch.fmin(rows, planes.top), planes)


def planes_of(graph: Graph, query: Query, boxes: dict[Node, Interval], axes: Tensor) -> Planes:
    """Linear functions above the atoms by the coordinates `axes` (n, d); NaN where nothing is bounded."""
    like = boxes[graph.input].lower
    C, _ = query.rows(like.dtype, like.device)
    start = {graph.output: -C.unflatten(2, graph.output_shape) if graph.output_shape else -C.squeeze(2)}
    below, constant = input_planes(graph, start, query.inputs, boxes)
    slopes = -below.flatten(2).to(torch.float64).expand(query.batch, -1, -1)
    box = Interval(like.flatten(1).to(torch.float64), boxes[graph.input].upper.flatten(1).to(torch.float64))
    top = query.d.to(like.device) - constant - box.minimum(-slopes) + overflow(graph, boxes)
    slack = 1e-5 if like.dtype == torch.float32 else 1e-11
    return Planes(slopes.gather(2, axes.unsqueeze(1).expand(-1, slopes.shape[1], -1)), top, slack)

"""How parts of boxes are bounded: hidden neurons forward, backward or both, the property by a backward pass.

Which way pays depends on the network and on how small the parts are: all ways are tried on a few parts now
and then, and the one goes on that promises the least work. Where a part's excess over the truth falls with
the power p of its width, an excess g asks for g^(d/p) parts, with d coordinates that are cut.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor

from robustbench_local.specs import Query

from ..backward import input_planes
from ..crown import crown_bounds
from ..forward import forward_planes
from ..graph import Graph, Node
from ..ibp import interval_bounds, overflow, specification_rows
from ..interval import Interval
from ..verifier import Budget
from .chains import Chain, chain_of
from .leaves import Leaves
from .planes import Clauses, Planes, clip
from .state import Course

__all__ = ["CLIPPING_ROUNDS", "Bounding", "Found", "Way", "bounding_of"]

CLIPPING_ROUNDS = 3  # of clipping with every row of a clause

_MOST_COEFFICIENTS = 2**23  # of errors in one node's affine form
_MORE = 8  # times as many symbols are tried, too
_AGAIN = 24  # batches until all ways are tried again
_SOON = (1, 2, 4, 8, 16)  # batches until they are tried at first
_TRIED = 16  # parts on which they are tried
_FEW, _TOO_SLOW = 2, 16.0
_LEAST = 0.5  # seconds that a way has in any case
_TRIAL = 0.25  # seconds that the quickest way may take on them
_FALL = 5.0  # a part's excess falls with about this power of its width: slowly at last, much faster before
_PROVED = 1e-30  # what a part costs that is proved, so that the quickest way wins where all prove all


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

    def bound(self, graph: Graph, query: Query, axes: Tensor, seconds: float | None = None) -> Found:
        """Bounds of the atoms of `query`, with functions of the coordinates `axes` (n, d).

        seconds: after which what is left is bounded by intervals.
        """
        ...


@dataclass(frozen=True, slots=True)
class Forward:
    """Affine forms of `symbols` errors to the outputs, then one backward pass: of both the better planes."""

    symbols: int
    budget: Budget

    def bound(self, graph: Graph, query: Query, axes: Tensor, seconds: float | None = None) -> Found:
        budget = replace(self.budget, seconds=seconds)
        ahead = forward_planes(graph, query, budget, symbols=self.symbols)
        back = _found(graph, query, ahead.boxes, axes)
        slopes = ahead.slopes.gather(2, axes.unsqueeze(1).expand(-1, ahead.slopes.shape[1], -1))
        planes = Planes(slopes.to(torch.float64), ahead.top.to(torch.float64), back.planes.slack)
        return Found(torch.fmin(back.rows, planes.top), back.planes.or_lower(planes))


@dataclass(frozen=True, slots=True)
class Backward:
    """Intervals and a backward pass for every undecided hidden neuron, and one for the property."""

    budget: Budget

    def bound(self, graph: Graph, query: Query, axes: Tensor, seconds: float | None = None) -> Found:
        boxes, _ = crown_bounds(graph, query.inputs, replace(self.budget, seconds=seconds))
        return _found(graph, query, boxes, axes)


@dataclass(frozen=True, slots=True)
class Chained:
    """As `Forward`, for a network that is a chain of affine maps and ReLUs."""

    chain: Chain
    symbols: int

    def bound(self, graph: Graph, query: Query, axes: Tensor, seconds: float | None = None) -> Found:
        del seconds  # quick
        planes = self.chain.planes(graph, query, axes, self.symbols)
        return Found(planes.top, planes)


def bounding_of(graph: Graph, budget: Budget, symbols: int, dims: int, course: Course) -> Bounding:
    """The ways that may pay for this network, the quickest first, from where `course` was."""
    bounding = _ways(graph, budget, symbols, dims)
    bounding.now = course.way if course.way < len(bounding.ways) else 0
    bounding.calls, bounding.screened, bounding.passed = course.calls, course.screened, course.passed
    bounding.pauses, bounding.lost = dict(enumerate(course.pauses)), dict(enumerate(course.lost))
    return bounding


def _ways(graph: Graph, budget: Budget, symbols: int, dims: int) -> Bounding:
    widest = max(node.numel for node in graph.nodes)
    chain = chain_of(graph)
    if chain is not None:
        tried = {symbols, min(symbols, 16), 0}
        ways: list[Way] = [Chained(chain, count) for count in sorted(tried)]
        return Bounding((*ways, Backward(budget)), dims, screens=False)
    most = _MOST_COEFFICIENTS // widest
    counts = sorted({min(most, count) for count in (0, min(symbols, 16), symbols, _MORE * symbols)})
    return Bounding((*(Forward(count, budget) for count in counts), Backward(budget)), dims)


@dataclass(slots=True, eq=False)
class Bounding:
    """The ways of one search and the one that is taken now, with what the screening by intervals gave.

    A local record of one search. dims: how many coordinates are cut; screens: whether intervals come first;
    deadline (time.monotonic): after which parts are bounded by intervals; clauses: of the property, None
    where there are too many.
    """

    ways: tuple[Way, ...]
    dims: int
    screens: bool = True
    clauses: Clauses | None = None
    deadline: float = torch.inf
    now: int = 0
    calls: int = 0
    screened: int = 0
    passed: int = 0
    pauses: dict[int, int] = field(default_factory=dict)  # way -> how many trials it sits out
    lost: dict[int, int] = field(default_factory=dict)  # way -> how many trials in a row it lost clearly

    @property
    def settled(self) -> bool:
        """Whether the ways were tried often enough for large batches."""
        return self.calls > _SOON[-1]

    def course(self, spent: float, elapsed: float) -> Course:
        """The numbers that the next call goes on from; `spent`, `elapsed`: of the ascents."""
        every = range(len(self.ways))
        return Course(
            way=self.now,
            calls=self.calls,
            screened=self.screened,
            passed=self.passed,
            pauses=tuple(self.pauses.get(i, 0) for i in every),
            lost=tuple(self.lost.get(i, 0) for i in every),
            spent=spent,
            elapsed=elapsed,
        )

    def screen(self, graph: Graph, query: Query) -> Tensor | None:
        """Bounds of the atoms by intervals; None where these have decided too little to be worth it."""
        rare = self.screened > 1024 and self.passed < 0.05 * self.screened and self.calls % 16
        if rare or not self.screens:
            return None
        boxes = interval_bounds(graph, query.inputs)
        return specification_rows(graph, query, boxes, to_input=False)

    def learn(self, screened: int, passed: int) -> None:
        """Takes how many of the parts that were screened need no other bound."""
        self.screened, self.passed = self.screened // 2 + screened, self.passed // 2 + passed

    def bound(self, graph: Graph, query: Query, axes: Tensor, reached: Tensor) -> Found:
        """Bounds of parts where the violation reaches `reached` (n,), until the deadline."""
        self.calls += 1
        if len(self.ways) > 1 and (self.calls % _AGAIN == 0 or self.calls in _SOON):
            some = torch.arange(min(_TRIED, query.batch), device=axes.device)
            self._compare(graph, query.select(some.to(query.C.device)), axes[some], reached[some])
        return self.taken(graph, query, axes)

    def taken(self, graph: Graph, query: Query, axes: Tensor) -> Found:
        """Bounds of parts the way that is taken now, until the deadline."""
        left = self._left()
        return self.ways[self.now].bound(graph, query, axes, None if left == torch.inf else left)

    def _left(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

    def _compare(self, graph: Graph, query: Query, axes: Tensor, reached: Tensor) -> None:
        """Tries the ways on the parts, and goes on with the one that promises the least work."""
        ways = [i for i in range(len(self.ways)) if i == self.now or self.pauses.get(i, 0) == 0]
        self.pauses = {i: n - 1 for i, n in self.pauses.items() if n > 0}
        seconds = self._quick(ways, graph, query, axes)
        least = min(seconds.values())
        tried = torch.arange(min(len(axes), max(_FEW, int(_FEW * _TRIAL / max(least, 1e-9)))))
        query, axes, reached = query.select(tried.to(query.C.device)), axes[tried], reached[tried]
        work: dict[int, float] = {}
        for i in ways:
            if seconds[i] > _TOO_SLOW * least or self._left() == 0:
                work[i] = float("inf")
                continue
            found, time_ = self._timed(i, graph, query, axes)
            value, share = self._left_open(query, axes, found)
            excess = (value - reached).clamp(min=0).nan_to_num(torch.inf)
            # a part that is proved needs no more, another one as many as its size and its excess say
            more = share * torch.where(value < 0, 0.0, excess).pow(self.dims / _FALL)
            work[i] = time_ * (_PROVED + float(more.mean()))
        best = min(ways, key=lambda i: work[i])
        if work[best] < float("inf"):
            self.now = best
            for i in ways:
                self.lost[i] = self.lost.get(i, 0) + 1 if work[i] > 4 * work[best] else 0
                self.pauses[i] = 2 ** min(self.lost[i], 16) - 1

    def _left_open(self, query: Query, axes: Tensor, found: Found) -> tuple[Tensor, Tensor]:
        """Upper bounds (n,) of the violation, and which share (n,) of every part clipping leaves."""
        value = query.combine(torch.fmin(found.rows, found.planes.top))
        if self.clauses is None:
            return value, torch.ones_like(value)
        box = query.inputs.box()
        lower, upper = (face.flatten(1).to(axes.device).gather(1, axes) for face in (box.lower, box.upper))
        parts = Leaves(torch.arange(len(axes)), lower, upper, found.rows, value, torch.zeros_like(lower))
        joint = found.planes.in_clauses(self.clauses, parts)
        rest, left = clip(joint, parts, torch.zeros_like(value), CLIPPING_ROUNDS)
        shares = torch.where(upper > lower, (rest.upper - rest.lower) / (upper - lower), 1.0).prod(1)
        return rest.value, torch.where(left, shares, 0.0)

    def _quick(self, ways: list[int], graph: Graph, query: Query, axes: Tensor) -> dict[int, float]:
        """The seconds that the ways take on very few parts; infinite for one that is far too slow."""
        few = torch.arange(min(_FEW, len(axes)), device=axes.device)
        pair, least = query.select(few.to(query.C.device)), torch.inf
        seconds: dict[int, float] = {}
        for i in ways:
            limit, begun = min(self._left(), max(_LEAST, 2 * _TOO_SLOW * least)), time.monotonic()
            seconds[i] = self._timed(i, graph, pair, axes[few], limit)[1]
            if time.monotonic() - begun >= limit > 0 or self._left() == 0:  # what it found is not all
                seconds[i] = torch.inf
            least = min(least, seconds[i])
        return seconds

    def _timed(
        self, i: int, graph: Graph, query: Query, axes: Tensor, limit: float = torch.inf
    ) -> tuple[Found, float]:
        start, limit = time.process_time(), min(limit, self._left())
        found = self.ways[i].bound(graph, query, axes, None if limit == torch.inf else limit)
        return found, time.process_time() - start


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

"""Bounds of parts of the sets: screened, bounded, clipped, in float64 where they are narrow or tiny."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_local.specs import Query

from ..graph import Graph
from ..magnitude import largest_value
from ..verifier import Budget
from .bounding import CLIPPING_ROUNDS, Found, bounding_of
from .directions import Directions, halves
from .found import Points
from .leaves import Leaves, Whole
from .planes import Clauses, clip
from .state import SplitState

__all__ = ["Evaluator", "Settings"]

_AT_ONCE, _MOST_AT_ONCE = 512, 4096
_NUMBERS = 2**23  # of nodes and rows in one batch, beyond the first parts
_SPREAD = 0.1  # share of the coordinates' widths in the score, beside their effect
_EXCESS = 0.02  # share of a bound's excess in the score
_CERTAIN = 1e-4  # relative to the outputs: float32 bounds nearer to zero are computed again in float64
_INSIDE = 1e-5  # relative to the largest value inside: the same
_TINY = 2.0**12  # units of rounding: parts with shorter sides are bounded in float64


@dataclass(frozen=True, slots=True)
class Settings:
    """How far a search goes, as `InputSplitting` describes it."""

    most: int
    symbols: int
    parts: int
    tolerance: float


class Evaluator:
    """Bounds parts, and holds what is known of every sample apart from the parts that are not done.

    count (B,): parts bounded so far; safe (B,) and safe_rows (B, m): bounds of the parts that are done.
    margin, exact (B,): an upper bound of minus this is certain whatever rounding did, in the graph's dtype
    and in float64.
    """

    def __init__(
        self, settings: Settings, graph: Graph, query: Query, budget: Budget, state: SplitState
    ) -> None:
        self.settings, self.graph, self.query, self.budget = settings, graph, query, budget
        like, tally = graph.like, state.tally
        self.whole = Whole.along(query.inputs.box(), tally.axes)
        size = graph.run(query.inputs.centre().to(like)).flatten(1).abs().amax(1).to(torch.float64)
        size, inside = size.nan_to_num(torch.inf), largest_value(graph, query.inputs)
        # an upper bound of -margin is certain whatever rounding did, in this dtype or in float64
        self.exact = (2048 * torch.finfo(torch.float64).eps * torch.maximum(size, inside)).clamp(
            min=torch.finfo(like.dtype).tiny
        )
        narrow = 2048 * torch.finfo(like.dtype).eps * size
        self.margin = torch.maximum(narrow, _CERTAIN * size.max().clamp(min=1.0)).maximum(_INSIDE * inside)
        self.wide: Graph | None = None  # in float64, once it is needed
        if like.dtype == torch.float64:
            self.margin = self.exact
        self.points = Points(graph, query, state)
        self.count, self.safe, self.safe_rows = tally.count, tally.safe, tally.safe_rows
        self.clauses = Clauses.of(query.tree, like.device)
        dims = self.whole.axes.shape[1]
        self.directions = Directions(self.whole, tally.gain, tally.looked)
        self.bounding = bounding_of(graph, budget, settings.symbols, dims, state.course)
        self.bounding.clauses = self.clauses
        widest = max(node.numel for node in graph.nodes)
        part_bytes = 4 * widest * like.element_size() * (query.C.shape[1] + 8)
        fit = max(2, budget.memory(like.device) // part_bytes)
        numbers = sum(node.numel for node in graph.nodes) * (query.C.shape[1] + 8)
        self._first = min(_AT_ONCE, fit)
        self._later = min(max(_AT_ONCE, min(_MOST_AT_ONCE, _NUMBERS // numbers)), fit)

    @property
    def at_once(self) -> int:
        """How many parts one batch takes: more in small networks, once the way to bound them has settled."""
        return self._later if self.bounding.settled else self._first

    def bounded(self, leaves: Leaves) -> Leaves:
        """The leaves with bounds of their own, without what is done or shown to be safe."""
        self.count = self.count + torch.bincount(leaves.owner, minlength=len(self.count))
        coarse = leaves.coarse(_TINY * torch.finfo(self.graph.dtype).eps)
        fine = leaves.select(~coarse)
        leaves = self._screened(leaves.select(coarse))
        if len(leaves):
            query = self._part(leaves)
            axes = self.whole.axes[leaves.owner]
            reached = self._visit(query, leaves)
            found = self.bounding.bound(self.graph, query, axes, reached)
            self._visit_corners(leaves, found)
            leaves = self._taken(leaves, found, self.margin, reached)
            self._try_cuts(leaves)
        if self.graph.dtype == torch.float64:
            return leaves
        near = (leaves.value <= 0) & (not self.budget.tighten)
        again = fine.joined(leaves.select(near))
        return leaves.select(~near).joined(self._again(again)) if len(again) else leaves

    def _again(self, leaves: Leaves) -> Leaves:
        """The leaves bounded in float64, without those that are done."""
        if self.wide is None:
            self.wide = self.graph.to(torch.float64)
        query = self._part(leaves)
        axes = self.whole.axes[leaves.owner]
        blank = replace(leaves, rows=torch.full_like(leaves.rows, torch.inf),
                        value=torch.full_like(leaves.value, torch.inf))  # fmt: skip
        found = self.bounding.taken(self.wide, query, axes)
        return self._taken(blank, found, self.exact, None)

    def _screened(self, leaves: Leaves) -> Leaves:
        """The leaves that intervals leave open."""
        if len(leaves) == 0:
            return leaves
        rows = self.bounding.screen(self.graph, self._part(leaves))
        if rows is None:
            return leaves
        left = self._open(leaves, rows, self.margin)
        self.bounding.learn(len(leaves), len(leaves) - len(left))
        return left

    def _taken(self, leaves: Leaves, found: Found, margin: Tensor, reached: Tensor | None) -> Leaves:
        """The leaves with these bounds, clipped, without those that are done. reached (n,): violations."""
        rows = torch.fmin(leaves.rows, found.rows)
        leaves = replace(leaves, rows=rows, score=self._score(leaves, found, reached))
        if self.clauses is not None:
            joint = found.planes.in_clauses(self.clauses, leaves)
            if self.budget.tighten:
                top = joint.value().amax(1)
                leaves = replace(leaves, value=torch.fmin(leaves.value, top))
            else:
                whole = leaves
                leaves, left = clip(joint, leaves, margin[leaves.owner], CLIPPING_ROUNDS)
                less = left & ((leaves.lower > whole.lower) | (leaves.upper < whole.upper)).any(1)
                self.keep(replace(whole.select(less), value=-margin[whole.owner[less]]))
        return self._open(leaves, rows, margin)

    def _try_cuts(self, leaves: Leaves) -> None:
        """Bounds both halves of a few leaves along every coordinate, to learn where cuts pay."""
        some = leaves.select(self.directions.due(leaves, self.count, self.at_once))
        if time.monotonic() > self.bounding.deadline or len(some) == 0 or some.lower.shape[1] == 1:
            return
        parts = halves(some)
        found = self.bounding.taken(self.graph, self._part(parts), self.whole.axes[parts.owner])
        value = self.query.select(parts.owner.to(self.query.C.device)).combine(
            torch.fmin(found.rows, found.planes.top)
        )
        if self.clauses is not None:
            value = torch.fmin(value, found.planes.in_clauses(self.clauses, parts).value().amax(1))
        best = self.points.best[parts.owner] if self.budget.tighten else torch.zeros_like(value)
        left = torch.maximum(torch.fmin(value, parts.value), best).reshape(2, *some.lower.shape).mean(0)
        self.directions.learn(some, left)

    def _part(self, leaves: Leaves) -> Query:
        """The query on the leaves."""
        box = self.whole.boxes(leaves, self.graph.input_shape)
        return replace(self.query.select(leaves.owner.to(self.query.C.device)), inputs=box)

    def _score(self, leaves: Leaves, found: Found, reached: Tensor | None) -> Tensor:
        """How much a cut along each coordinate promises, (n, d).

        What the functions change along it, and a share of the bound's excess that no function explains: that
        comes from relaxations, which tighten as a part gets narrower in any of its coordinates.
        """
        effect = found.planes.effect(leaves).nan_to_num(0.0, 0.0, 0.0)
        width = (leaves.upper - leaves.lower) / self.whole.widths(leaves.owner)
        width = width.nan_to_num(0.0) / width.nan_to_num(0.0).sum(1, keepdim=True).clamp(min=1e-300)
        total = effect.sum(1, keepdim=True)
        excess = torch.zeros_like(total)
        if reached is not None:
            value = self.query.combine(found.rows).nan_to_num(0.0, 0.0, 0.0)
            gap = value - reached.nan_to_num(0.0, 0.0, 0.0)
            excess = _EXCESS * (gap.unsqueeze(1) - 0.5 * total).clamp(min=0.0)
        return effect + torch.maximum(excess, _SPREAD * total) * width

    def _open(self, leaves: Leaves, rows: Tensor, margin: Tensor) -> Leaves:
        """The leaves that are not done, with these bounds of their atoms, too."""
        rows = torch.fmin(leaves.rows, rows.to(torch.float64))
        value = self.query.combine(rows).nan_to_num(torch.inf)
        leaves = replace(leaves, rows=rows, value=torch.minimum(value, leaves.value))
        if self.budget.tighten:
            done = leaves.value <= self.points.best[leaves.owner]
        else:
            done = leaves.value <= -margin[leaves.owner]
        self.keep(leaves.select(done))
        return leaves.select(~done)

    def keep(self, leaves: Leaves) -> None:
        """Takes the bounds of parts that need no further look."""
        self.safe = self.safe.scatter_reduce(0, leaves.owner, leaves.value, "amax")
        index = leaves.owner.unsqueeze(1).expand_as(leaves.rows)
        self.safe_rows = self.safe_rows.scatter_reduce(0, index, leaves.rows, "amax")

    def _visit(self, query: Query, leaves: Leaves) -> Tensor:
        """Takes the violation (n,) at the parts' centres, and goes up from the best."""
        centres = query.inputs.centre().to(self.graph.like)
        value = self.points.visit(centres, leaves.owner)
        box = query.inputs.box()
        self.points.ascend(centres, leaves.owner, value, (box.upper - box.lower).to(centres))
        return value

    def _visit_corners(self, leaves: Leaves, found: Found) -> None:
        at = found.planes.corners(leaves)
        box = self.whole.boxes(replace(leaves, lower=at, upper=at), self.graph.input_shape)
        self.points.visit(box.centre().to(self.graph.like), leaves.owner)

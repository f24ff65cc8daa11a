"""Branch and bound over the input box: for queries with few inputs that vary, such as a rotation's angle.

A part of the box is bounded by intervals, then by affine forms of few symbols for the hidden neurons and a
backward pass for the property, and halved until no part can violate it. The worst parts go first. A part is
cut along the coordinate that changes the open atoms most by the slopes of the backward pass, as in
alpha-beta-CROWN (Wang et al. 2021, arXiv 2103.06624) and before in ReluVal (Wang et al. 2018, arXiv
1804.10829); first, what the backward pass shows to be safe is trimmed off.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .backward import input_planes
from .crown import CROWN
from .forward import forward_bounds
from .graph import Graph, Node
from .ibp import cast_up, interval_bounds, overflow, specification_rows
from .interval import Interval
from .rule import check_rules
from .sub_boxes import Leaves, Planes, Whole
from .verifier import DEFAULT_BUDGET, Bounds, Budget, Verifier, check_fit, prepared, verifier

__all__ = ["InputSplitting"]

_FULL = 64  # fewer parts at once waste time on calls
_MOST_AT_ONCE = 512
_MOST_COEFFICIENTS = 2**13  # of errors in one node's affine form
_SHARE = 0.25  # of the time, for the bounds of the whole sets
_SPREAD = 0.1  # share of the coordinates' widths in the score, beside their effect


@verifier("split")
@dataclass(frozen=True, slots=True)
class InputSplitting:
    """Bounds that get tighter as long as time allows, for queries with few inputs that vary.

    base: bounds the whole sets first, in a quarter of the time; the result is never looser. most: how many
    coordinates of a sample are cut at all, the widest ones. symbols: how many errors of relaxations the
    bounds of hidden neurons follow at most; fewer in wide networks, where more parts are cheaper. parts: how
    many parts of a sample are bounded where the budget sets no time. A sample's search ends where it is
    proved, or where a point that violates the property is met; with `budget.tighten` where the bound is
    within `tolerance`, relatively, of the violation at the best point.
    """

    base: Verifier = field(default_factory=CROWN)
    most: int = 20
    symbols: int = 50
    parts: int = 4096
    tolerance: float = 1e-3
    name: str = "split"

    def applies(self, graph: Graph, query: Query | None) -> str | None:
        """Why not: an operator, or a sample with more varying inputs than are cut."""
        try:
            check_rules(graph)
            if query is not None:
                check_fit(graph, query)
        except RobustBenchError as error:
            return str(error)
        return None if query is None else self._too_many(query)

    def _too_many(self, query: Query) -> str | None:
        box = query.inputs.box()
        varying = int((box.lower < box.upper).flatten(1).sum(1).max())
        if varying <= self.most:
            return None
        return f"{varying} inputs vary, input splitting serves up to {self.most}"

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Upper bounds; `upper` may be better than what `rows` combine to. Without gradients.

        Where the method does not apply, those of the base.
        """
        deadline = budget.deadline()
        with torch.inference_mode(False), torch.no_grad():
            seconds = None if budget.seconds is None else _SHARE * budget.seconds
            first = self.base.bound(graph, query, replace(budget, seconds=seconds))
            if self._too_many(query) is not None:
                return first
            graph, query = prepared(graph, query)
            graph = graph.replaced(Tensor.detach, (graph.dtype, graph.device))
            return _Search(self, graph, query, budget).run(first, deadline)


class _Search:
    """One search: what is known of every sample, apart from the parts that are not done yet."""

    def __init__(self, settings: InputSplitting, graph: Graph, query: Query, budget: Budget) -> None:
        self.settings, self.graph, self.query, self.budget = settings, graph, query, budget
        like = graph.like
        self.whole = Whole.of(query.inputs.box(), settings.most, like.device)
        size = graph.run(query.inputs.centre().to(like)).flatten(1).abs().amax(1).to(torch.float64)
        # an upper bound of -margin is certain whatever rounding did
        self.margin = (2048 * torch.finfo(like.dtype).eps * size).clamp(min=torch.finfo(like.dtype).tiny)
        self.best = torch.full_like(size, -torch.inf)  # the violation at the best point met
        self.broken = torch.zeros_like(size, dtype=torch.bool)  # a counterexample is met
        self.count, self.proved = (torch.zeros_like(size, dtype=torch.long) for _ in range(2))
        self.safe = torch.full_like(size, -torch.inf)  # bounds of the parts that are done
        self.safe_rows = torch.full_like(query.d, -torch.inf, device=like.device)
        widest = max(node.numel for node in graph.nodes)
        self.symbols = min(settings.symbols, _MOST_COEFFICIENTS // widest)
        part_bytes = 4 * widest * like.element_size() * (query.C.shape[1] + 8)
        self.at_once = max(2, min(_MOST_AT_ONCE, budget.memory(like.device) // part_bytes))

    def run(self, first: Bounds, deadline: float) -> Bounds:
        """The bounds after the search, starting from those of the whole sets."""
        rows, upper = first.rows.to(torch.float64), first.upper.to(torch.float64).nan_to_num(torch.inf)
        searched = self._wanted(upper)
        fresh = self.whole.leaves(rows, upper, searched.nonzero().squeeze(1))
        leaves = fresh.select(fresh.owner < 0)
        complete = first.complete
        while len(fresh):
            for index in torch.arange(len(fresh), device=upper.device).split(self.at_once):
                part = fresh.select(index)
                late = time.monotonic() > deadline
                leaves = leaves.joined(part if late else self._bounded(part))
            if time.monotonic() > deadline:
                complete = False
                break
            leaves, fresh = self._next(leaves)
        index = leaves.owner.unsqueeze(1).expand_as(leaves.rows)
        tops = self.safe_rows.scatter_reduce(0, index, leaves.rows, "amax")
        upper = torch.where(searched, torch.minimum(upper, self._upper(leaves)), upper)
        rows = torch.where(searched.unsqueeze(1), torch.fmin(rows, tops), rows)
        return Bounds(cast_up(rows, first.rows.dtype), cast_up(upper, first.upper.dtype), complete)

    def _upper(self, leaves: Leaves) -> Tensor:
        """Upper bounds (B,) of the searched samples' violation."""
        return self.safe.scatter_reduce(0, leaves.owner, leaves.value, "amax")

    def _wanted(self, upper: Tensor) -> Tensor:
        """Which samples are searched further, (B,)."""
        settings, tighten = self.settings, self.budget.tighten
        wanted = torch.ones_like(self.broken)
        if self.budget.seconds is None:
            wanted = self.count < settings.parts
        if tighten:
            near = upper - self.best <= settings.tolerance * torch.maximum(upper.abs(), self.best.abs())
            return wanted & ~(near & torch.isfinite(self.best))
        holds = self.query.holds(upper)
        self.proved = torch.where(holds & (self.proved == 0), self.count.clamp(min=1), self.proved)
        # a proof that rounding may have made gets as much work again, to become certain
        narrow = (upper > -self.margin) & (self.count < 2 * self.proved + _FULL)
        return wanted & ~self.broken & torch.where(holds, narrow, True)

    def _next(self, leaves: Leaves) -> tuple[Leaves, Leaves]:
        """The leaves that stay, and parts of the worst ones, taken from all samples in turn."""
        wanted = self._wanted(self._upper(leaves))[leaves.owner]
        order = torch.argsort(leaves.value, descending=True, stable=True)
        order = order[torch.argsort(leaves.owner[order], stable=True)]
        owners = leaves.owner[order]
        rank = torch.arange(len(leaves), device=owners.device) - torch.searchsorted(owners, owners)
        place = torch.where(wanted[order], rank, len(leaves))
        # an eighth of many at once: sorting all of them for a few would take longer than bounding these
        most = min(int(wanted.sum()), max(self.at_once // 2, len(leaves) // 8))
        chosen = order[torch.argsort(place, stable=True)][:most]
        picked = torch.zeros_like(wanted).index_fill(0, chosen, True)
        rest, fresh = leaves.select(~picked), leaves.select(picked)
        resolution, full = 4 * torch.finfo(self.graph.dtype).eps, min(_FULL, max(2, self.at_once // 8))
        while len(fresh):
            fresh, stuck = fresh.cut(resolution)
            self._keep(stuck)
            if 2 * len(fresh) > full:
                break
        return rest, fresh

    def _bounded(self, leaves: Leaves) -> Leaves:
        """The leaves with bounds of their own, without what is done or shown to be safe."""
        self.count += torch.bincount(leaves.owner, minlength=len(self.count))
        query = self._part(leaves)
        boxes = interval_bounds(self.graph, query.inputs)
        leaves = self._open(leaves, specification_rows(self.graph, query, boxes, to_input=False))
        if len(leaves) == 0:
            return leaves
        query = self._part(leaves)
        self._visit(query, leaves.owner)
        boxes, _ = forward_bounds(self.graph, query.inputs, self.budget, symbols=self.symbols)
        planes = _planes(self.graph, query, boxes, self.whole.axes[leaves.owner])
        rows = specification_rows(self.graph, query, boxes, to_input=False).to(torch.float64)
        leaves = replace(leaves, score=self._score(leaves, planes))
        if not self.budget.tighten:
            leaves = self._trimmed(leaves, planes)
        return self._open(leaves, torch.fmin(rows, planes.top))

    def _part(self, leaves: Leaves) -> Query:
        """The query on the leaves."""
        box = self.whole.boxes(leaves, self.graph.input_shape)
        return replace(self.query.select(leaves.owner.to(self.query.C.device)), inputs=box)

    def _score(self, leaves: Leaves, planes: Planes) -> Tensor:
        """How much a cut along each coordinate promises, (n, d)."""
        effect = planes.effect(leaves)
        share = effect / effect.sum(1, keepdim=True)
        width = (leaves.upper - leaves.lower) / self.whole.widths(leaves.owner)
        return share.nan_to_num(0.0) + _SPREAD * width.nan_to_num(0.0)

    def _trimmed(self, leaves: Leaves, planes: Planes) -> Leaves:
        """The leaves without the margins on which the planes show that nothing is violated."""
        margin = self.margin[leaves.owner]
        lower, upper = planes.reach(self.query.tree, leaves, margin)
        gone = (lower > upper).any(1, keepdim=True)
        less = ((lower > leaves.lower) | (upper < leaves.upper)).any(1)
        cut = leaves.select(less)
        self._keep(replace(cut, value=-margin[less]))
        value = torch.where(gone.squeeze(1), torch.minimum(leaves.value, -margin), leaves.value)
        lower, upper = torch.where(gone, leaves.lower, lower), torch.where(gone, leaves.upper, upper)
        return replace(leaves, lower=lower, upper=upper, value=value)

    def _open(self, leaves: Leaves, rows: Tensor) -> Leaves:
        """The leaves that are not done, with these bounds of their atoms, too."""
        rows = torch.fmin(leaves.rows, rows.to(torch.float64))
        value = self.query.combine(rows).nan_to_num(torch.inf)
        leaves = replace(leaves, rows=rows, value=torch.minimum(value, leaves.value))
        if self.budget.tighten:
            done = leaves.value <= self.best[leaves.owner]
        else:
            done = leaves.value <= -self.margin[leaves.owner]
        self._keep(leaves.select(done))
        return leaves.select(~done)

    def _keep(self, leaves: Leaves) -> None:
        """Takes the bounds of parts that need no further look."""
        self.safe = self.safe.scatter_reduce(0, leaves.owner, leaves.value, "amax")
        index = leaves.owner.unsqueeze(1).expand_as(leaves.rows)
        self.safe_rows = self.safe_rows.scatter_reduce(0, index, leaves.rows, "amax")

    def _visit(self, query: Query, owner: Tensor) -> None:
        """Takes the violation at the parts' centres."""
        points = query.inputs.centre().to(self.graph.like)
        y = self.graph.run(points)
        sets = self.query.inputs.select(owner.to(self.query.C.device))
        inside = sets.contains(points.to(sets.device)).to(owner.device)
        value = query.combine(query.atoms(y)).to(torch.float64)
        value = torch.where(inside & torch.isfinite(value), value, -torch.inf)
        self.best = self.best.scatter_reduce(0, owner, value, "amax")
        broken = (query.violated_by(y) & inside).to(torch.long)
        self.broken |= torch.zeros_like(self.count).scatter_reduce(0, owner, broken, "amax") > 0


def _planes(graph: Graph, query: Query, boxes: dict[Node, Interval], axes: Tensor) -> Planes:
    """Linear functions above the atoms by the coordinates `axes` (n, d); NaN where nothing is bounded."""
    like = boxes[graph.input].lower
    C, _ = query.rows(like.dtype, like.device)
    start = {graph.output: -C.unflatten(2, graph.output_shape) if graph.output_shape else -C.squeeze(2)}
    below, constant = input_planes(graph, start, query.inputs, boxes)
    slopes = -below.flatten(2).to(torch.float64).expand(query.batch, -1, -1)
    box = Interval(like.flatten(1).to(torch.float64), boxes[graph.input].upper.flatten(1).to(torch.float64))
    top = query.d.to(like.device) - constant - box.minimum(-slopes) + overflow(graph, boxes)
    return Planes(slopes.gather(2, axes.unsqueeze(1).expand(-1, slopes.shape[1], -1)), top)

"""The search of one call: parts of the sets of all samples together, the worst first, until all are done."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from robustbench_local.specs import Query

from ..graph import Graph
from ..ibp import cast_up
from ..verifier import Bounds, Budget
from .evaluating import Evaluator, Settings
from .leaves import Leaves

__all__ = ["Search"]

_FULL = 64  # fewer parts at once waste time on calls


class Search:
    """One search of the worst parts first."""

    def __init__(self, settings: Settings, graph: Graph, query: Query, budget: Budget) -> None:
        self.settings, self.query, self.budget = settings, query, budget
        self.parts = Evaluator(settings, graph, query, budget)
        self.proved = torch.zeros_like(self.parts.count)  # parts bounded when a sample was first proved

    def run(self, first: Bounds, deadline: float) -> Bounds:
        """The bounds after the search, starting from those of the whole sets."""
        rows, upper = first.rows.to(torch.float64), first.upper.to(torch.float64).nan_to_num(torch.inf)
        searched = self._wanted(upper)
        certain = (searched & (upper > 0)) | (upper <= -self.parts.margin)
        fresh = self.parts.whole.leaves(rows, upper, searched.nonzero().squeeze(1))
        leaves = fresh.select(fresh.owner < 0)
        complete = first.complete
        while len(fresh):
            for index in torch.arange(len(fresh), device=upper.device).split(self.parts.at_once):
                part = fresh.select(index)
                late = time.monotonic() > deadline
                leaves = leaves.joined(part if late else self.parts.bounded(part))
            if time.monotonic() > deadline:
                complete = False
                break
            leaves, fresh = self._next(leaves)
        index = leaves.owner.unsqueeze(1).expand_as(leaves.rows)
        tops = self.parts.safe_rows.scatter_reduce(0, index, leaves.rows, "amax")
        upper = torch.where(searched, torch.minimum(upper, self._upper(leaves)), upper)
        rows = torch.where(searched.unsqueeze(1), torch.fmin(rows, tops), rows)
        return Bounds(
            cast_up(rows, first.rows.dtype),
            cast_up(upper, first.upper.dtype),
            complete,
            points=self.parts.points.points,
            confirmed=bool(certain.all()) and not self.budget.tighten,
            share=1 - self.parts.whole.volume(leaves, ~self.query.holds(upper)),
        )

    def _upper(self, leaves: Leaves) -> Tensor:
        """Upper bounds (B,) of the searched samples' violation."""
        return self.parts.safe.scatter_reduce(0, leaves.owner, leaves.value, "amax")

    def _wanted(self, upper: Tensor) -> Tensor:
        """Which samples are searched further, (B,)."""
        settings, tighten, best = self.settings, self.budget.tighten, self.parts.points.best
        wanted = torch.ones_like(self.parts.points.broken)
        if self.budget.seconds is None:
            wanted = self.parts.count < settings.parts
        if tighten:
            near = upper - best <= settings.tolerance * torch.maximum(upper.abs(), best.abs())
            return wanted & ~(near & torch.isfinite(best))
        holds = self.query.holds(upper)
        self.proved = torch.where(holds & (self.proved == 0), self.parts.count.clamp(min=1), self.proved)
        # a proof that rounding may have made gets as much work again, to become certain
        narrow = (upper > -self.parts.exact) & (self.parts.count < 2 * self.proved + _FULL)
        return wanted & ~self.parts.points.broken & torch.where(holds, narrow, True)

    def _next(self, leaves: Leaves) -> tuple[Leaves, Leaves]:
        """The leaves that stay, and parts of the worst ones, taken from all samples in turn."""
        wanted = self._wanted(self._upper(leaves))[leaves.owner]
        order = torch.argsort(leaves.value, descending=True, stable=True)
        order = order[torch.argsort(leaves.owner[order], stable=True)]
        owners = leaves.owner[order]
        rank = torch.arange(len(leaves), device=owners.device) - torch.searchsorted(owners, owners)
        place = torch.where(wanted[order], rank, len(leaves))
        # an eighth of many at once: sorting all of them for a few would take longer than bounding these
        most = min(int(wanted.sum()), max(self.parts.at_once // 2, len(leaves) // 8))
        chosen = order[torch.argsort(place, stable=True)][:most]
        picked = torch.zeros_like(wanted).index_fill(0, chosen, True)
        rest, fresh = leaves.select(~picked), leaves.select(picked)
        resolution, full = 4 * torch.finfo(torch.float64).eps, min(_FULL, max(2, self.parts.at_once // 8))
        while len(fresh):
            fresh, stuck = fresh.cut(resolution)
            self.parts.keep(stuck)
            if 2 * len(fresh) > full:
                break
        return rest, fresh

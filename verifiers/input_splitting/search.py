"""The search of one call: parts of the sets of all samples together, the worst first, until all are done."""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch import Tensor

from robustbench_local.specs import Query

from ..graph import Graph
from ..ibp import cast_up
from ..verifier import Bounds, Budget
from .evaluating import Evaluator, Settings
from .leaves import Leaves
from .state import SplitState

__all__ = ["Search"]

_FULL = 64  # fewer parts at once waste time on calls


class Search:
    """One call of a search of the worst parts first, from where `state` says that it stands."""

    def __init__(
        self, settings: Settings, graph: Graph, query: Query, budget: Budget, state: SplitState
    ) -> None:
        self.settings, self.query, self.budget, self.tally = settings, query, budget, state.tally
        self.parts = Evaluator(settings, graph, query, budget, state)
        self.proved = state.tally.proved  # parts bounded when a sample was first proved
        self.leaves, self.pending = state.leaves, state.pending

    def begin(self, first: Bounds) -> None:
        """Starts anew from bounds of the whole sets."""
        rows, upper = first.rows.to(torch.float64), first.upper.to(torch.float64).nan_to_num(torch.inf)
        searched = self._wanted(upper)
        self.tally = replace(
            self.tally,
            rows=rows,
            upper=upper,
            complete=torch.full_like(searched, first.complete),
            searched=searched,
            certain=(searched & (upper > 0)) | (upper <= -self.parts.margin),
        )
        self.pending = self.parts.whole.leaves(rows, upper, searched.nonzero().squeeze(1))
        self.leaves = self.pending.select(self.pending.owner < 0)

    def run(self, deadline: float) -> None:
        """Goes on until the deadline (time.monotonic), or until no sample wants more."""
        done, most = 0, torch.inf if self.budget.domains is None else self.budget.domains
        self.parts.bounding.deadline = deadline
        pace = 1e-6  # seconds for a part, as the last ones took
        if len(self.pending) == 0:
            self.leaves, self.pending = self._next(self.leaves)
        while len(self.pending):
            while len(self.pending):
                if done >= most or time.monotonic() > deadline:
                    return
                begun = time.monotonic()
                index = torch.arange(len(self.pending), device=self.pending.owner.device)
                fit = int(min(self.parts.at_once, max(1.0, (deadline - begun) / pace)))
                now = self.pending.select(index[:fit])
                self.pending = self.pending.select(index[fit:])
                self.leaves = self.leaves.joined(self.parts.bounded(now))
                done += len(now)
                pace = max(1e-6, (time.monotonic() - begun) / len(now))
            self.leaves, self.pending = self._next(self.leaves)

    def bounds(self, dtype: torch.dtype) -> Bounds:
        """The bounds as they stand."""
        tally, leaves = self.tally, self.leaves.joined(self.pending)
        index = leaves.owner.unsqueeze(1).expand_as(leaves.rows)
        tops = self.parts.safe_rows.scatter_reduce(0, index, leaves.rows, "amax")
        upper = torch.where(tally.searched, torch.minimum(tally.upper, self._upper(leaves)), tally.upper)
        rows = torch.where(tally.searched.unsqueeze(1), torch.fmin(tally.rows, tops), tally.rows)
        return Bounds(
            cast_up(rows, dtype),
            cast_up(upper, dtype),
            bool(tally.complete.all()) and len(self.pending) == 0,
            points=self.parts.points.points,
            confirmed=bool(tally.certain.all()) and not self.budget.tighten,
            share=1 - self.parts.whole.volume(leaves, ~self.query.holds(upper)),
        )

    def state(self) -> SplitState:
        """What the next call goes on from."""
        parts, points = self.parts, self.parts.points
        tally = replace(
            self.tally,
            count=parts.count,
            proved=self.proved,
            safe=parts.safe,
            safe_rows=parts.safe_rows,
            points=points.points,
            best=points.best,
            broken=points.broken,
            gain=parts.directions.gain,
            looked=parts.directions.looked,
        )
        course = parts.bounding.course(points.spent, points.elapsed)
        return SplitState(tally, self.leaves, self.pending, course)

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
        rest, fresh = leaves.select(~picked), self.parts.directions.scored(leaves.select(picked))
        resolution, full = 4 * torch.finfo(torch.float64).eps, min(_FULL, max(2, self.parts.at_once // 8))
        while len(fresh):
            fresh, stuck = fresh.cut(resolution)
            self.parts.keep(stuck)
            if 2 * len(fresh) > full:
                break
        return rest, fresh

"""What a search knows of every problem: the worst point met, whether it breaks the property, time left."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from robustbench_local.specs import Query

from ..graph import Graph
from ..magnitude import largest_value, rounding_of
from ..verifier import Budget
from .settings import Settings
from .state import BranchState

__all__ = ["Ledger"]

_NARROW = 1e-4  # relative to the largest output: a float32 bound closer to zero is computed again in float64
_INSIDE = 1e-5  # relative to the largest value inside: the same


class Ledger:
    """The knowledge about B problems that all their trees share.

    Attributes:
        points: (B, *in), the worst points met so far, each in its set; found: (B,), their violations.
        broken: (B,), problems with a point that breaks the property: nothing more is to be done for them.
        narrow: bounds closer to zero than this need float64; sure: what a float64 bound must exceed.
        above: points with a bound of at least this are no counterexamples, and left out further down.
        domains: how many have been bounded.
        deadline, end: when this call ends, and when the last call that goes on from it does (time.monotonic).
    """

    def __init__(self, graph: Graph, query: Query, like: Tensor, budget: Budget, settings: Settings) -> None:
        self.graph, self.query, self.budget = graph, query, budget
        self.deadline = deadline = budget.deadline()
        self.end = budget.end()
        self.points = query.inputs.project(query.inputs.centre().to(like))
        self.found = like.new_full((query.batch,), -torch.inf)
        self.broken = torch.zeros(query.batch, dtype=torch.bool, device=like.device)
        self.scale = max(1.0, float(graph.run(self.points).abs().max().nan_to_num()))
        inside = float(largest_value(graph, query.inputs).max())
        self.narrow = 0.0 if like.dtype == torch.float64 else max(_NARROW * self.scale, _INSIDE * inside)
        self.sure = max(1e-9 * self.scale, float(rounding_of(graph, query.inputs).max()))
        self.above = 2 * max(self.narrow, self.sure)
        self.domains = 0
        self.most = settings.parts if deadline == float("inf") else None

    def go_on(self, state: BranchState) -> None:
        """Takes over what an earlier call knew."""
        self.points, self.found, self.broken = state.points.clone(), state.found.clone(), state.broken.clone()
        self.domains = state.domains
        if self.budget.domains is not None:
            some = self.domains + self.budget.domains
            self.most = some if self.most is None else min(some, self.most)

    def late(self) -> bool:
        """Whether the time is over, or without a limit of time the number of domains reached."""
        return time.monotonic() >= self.deadline or (self.most is not None and self.domains >= self.most)

    def look(self, points: Tensor, problem: Tensor) -> None:
        """Evaluates points (D, *in) of problems (D,); remembers the worst one of each."""
        many = self.query.select(problem)
        inside = many.inputs.project(points)
        y = self.graph.run(inside)
        values = many.combine(many.atoms(y))
        violated = many.violated_by(y)
        best = torch.full_like(self.found, -torch.inf).scatter_reduce(0, problem, values, "amax")
        for b in (best > self.found).nonzero().squeeze(1).tolist():
            k = int(((problem == b) & (values == best[b])).nonzero()[0])
            self.found[b], self.points[b] = best[b], inside[k]
        self.broken[problem[violated]] = True

"""Points that a search over parts of boxes comes across: the worst of every sample, and ascents."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from robustbench_local.specs import Box, Query

from ..graph import Graph
from .state import SplitState

__all__ = ["Points"]

_STARTS = 48  # points from which one ascent starts
_STEPS = 12
_SHARE = 0.15  # of the time that goes into ascents
_FIRST, _LAST = 0.25, 0.002  # steps, as shares of the widths


class Points:
    """The worst point met of every sample of `query`.

    best (B,) float64 is the violation there, -inf before any; broken (B,) whether it is a counterexample on
    this graph; points (B, *in) lie in their sets where best is above -inf.
    """

    def __init__(self, graph: Graph, query: Query, state: SplitState) -> None:
        self.graph, self.query = graph, query
        self.points, self.best, self.broken = state.tally.points, state.tally.best, state.tally.broken
        self.spent, self._start = state.course.spent, time.monotonic() - state.course.elapsed
        self._able = True

    @property
    def elapsed(self) -> float:
        """Seconds of the search so far, those of earlier calls included."""
        return time.monotonic() - self._start

    def visit(self, x: Tensor, owner: Tensor) -> Tensor:
        """Takes points x (n, *in) of samples (n,); their violation (n,), -inf outside the set."""
        query = self.query.select(owner.to(self.query.C.device))
        with torch.no_grad():
            y = self.graph.run(x)
            value = query.combine(query.atoms(y)).to(torch.float64)
            inside = query.inputs.contains(x.to(query.inputs.device)).to(owner.device)
            value = torch.where(inside & torch.isfinite(value), value, -torch.inf)
            broken = query.violated_by(y) & inside
        # a counterexample beats every other point, whatever rounding did to its value
        rank = torch.where(broken, torch.inf, value)
        before = torch.where(self.broken, torch.inf, self.best)
        top = before.scatter_reduce(0, owner, rank, "amax")
        better = (rank == top[owner]) & (rank > before[owner])
        place = better.nonzero().squeeze(1)
        self.points = self.points.index_copy(0, owner[place], x[place])
        self.broken = self.broken.index_fill(0, owner[broken], True)
        self.best = self.best.index_copy(0, owner[place], value[place])
        return value

    def ascend(self, x: Tensor, owner: Tensor, value: Tensor, widths: Tensor) -> None:
        """Gradient ascents from the best of the points, in steps that fall from the parts' size.

        x (n, *in), value (n,) as from `visit`; widths (n, *in) of the parts. Not more often than the time
        allows that ascents may take.
        """
        now = time.monotonic()
        if not self._able or self.spent > _SHARE * (now - self._start):
            return
        place = value.argsort(descending=True, stable=True)[:_STARTS]
        x, owner, widths = x[place], owner[place], widths[place]
        sets = self.query.inputs.select(owner.to(self.query.inputs.device)).box()
        whole = (sets.upper - sets.lower).to(x)
        alternate = torch.arange(x.shape[0], device=x.device).reshape(-1, *(1,) * (x.dim() - 1)) % 2 == 0
        size = torch.where(alternate, torch.minimum(whole, widths), 0.2 * whole)
        query = self.query.select(owner.to(self.query.C.device))
        for step in range(_STEPS):
            gradient = self._gradient(query, x)
            if gradient is None:
                break
            rate = _FIRST * (_LAST / _FIRST) ** (step / (_STEPS - 1))
            x = _inside(x + rate * size * gradient.sign(), sets)
            self.visit(x, owner)
        self.spent += time.monotonic() - now

    def _gradient(self, query: Query, x: Tensor) -> Tensor | None:
        """The violation's gradient (n, *in) at points; None where the network has none."""
        with torch.enable_grad():
            leaf = x.clone().requires_grad_()
            value = query.combine(query.atoms(self.graph.run(leaf))).sum()
            if not value.requires_grad:
                self._able = False
                return None
            (gradient,) = torch.autograd.grad(value, leaf, allow_unused=True)
        if gradient is None:
            self._able = False
            return None
        return gradient.nan_to_num(0.0, 0.0, 0.0)


def _inside(x: Tensor, box: Box) -> Tensor:
    """The points moved into the boxes, as far as their dtype has numbers in there."""
    lower, upper = box.lower.to(x.device), box.upper.to(x.device)
    near = torch.minimum(torch.maximum(x.to(torch.float64), lower), upper).to(x.dtype)
    up, down = torch.full_like(near, torch.inf), torch.full_like(near, -torch.inf)
    near = torch.where(near.to(torch.float64) < lower, torch.nextafter(near, up), near)
    return torch.where(near.to(torch.float64) > upper, torch.nextafter(near, down), near)

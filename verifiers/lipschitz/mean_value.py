"""Upper bounds by the mean value theorem: the value at the centre plus the slope times the distance."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Ball, InputSet, Intersection, Query

from ..crown import crown_bounds
from ..graph import Graph
from ..ibp import cast_up, specification_rows
from ..interval import Interval
from ..rule import check_rules
from ..verifier import DEFAULT_BUDGET, Bounds, Budget, prepared, verifier
from .constants import dual_norm
from .jacobian import jacobian_bounds

__all__ = ["Lipschitz"]

_ROUNDING = 1e-12
"""Relative to the terms summed at the centre, in float64."""


@verifier("lipschitz")
@dataclass(frozen=True, slots=True)
class Lipschitz:
    """Every row is at most its value at the centre plus its Lipschitz constant over the set times the radius.

    The constant comes from elementwise bounds of the Jacobian over the set (`jacobian_bounds`, on CROWN's
    boxes): in the dual norm for balls, `sum_i |J|_i r_i` for boxes, the better of the two where a ball is
    cut by a box; interval bounds where the set may hold a jump. The centre's value is computed in float64 and
    enlarged by 1e-12 of its terms; the slopes are those of the reals in the graph's dtype, as all bounds
    here. Local Lipschitz constants as proofs: Hein and Andriushchenko 2017, arXiv 1705.08475; Zhang et al.
    2018, arXiv 1810.11783.
    """

    name: str = "lipschitz"

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Upper bounds by one backward pass of intervals; out of time, interval bounds of the rows."""
        deadline = budget.deadline()
        graph, query = prepared(graph, query)
        boxes, complete = crown_bounds(graph, query.inputs, budget)
        if time.monotonic() > deadline:
            rows = specification_rows(graph, query, boxes, to_input=False)
            return Bounds(rows, query.combine(rows), complete=False)
        C, _ = query.rows(graph.dtype, graph.device)
        jacobian = jacobian_bounds(
            graph, query.inputs, replace(budget, seconds=None), C=C, boxes=boxes, forward=False
        )
        rise = _rise(query.inputs, Interval(*(t.to(torch.float64) for t in (jacobian.lower, jacobian.upper))))
        rows = cast_up(_at_centre(graph, query) + rise, graph.dtype)
        if not bool(rows.isfinite().all()):  # no slope bounds a jump
            intervals = specification_rows(graph, query, boxes, to_input=False)
            rows = torch.where(rows.isfinite(), rows, intervals)
        return Bounds(rows, query.combine(rows), complete)

    def applies(self, graph: Graph, query: Query | None) -> str | None:
        """Why not, found on the query's first problem: some rules know no derivatives."""
        try:
            check_rules(graph)
            if query is not None:
                with torch.no_grad():
                    self.bound(graph, query.select(torch.tensor([0])))
        except RobustBenchError as error:
            return str(error)
        return None


def _at_centre(graph: Graph, query: Query) -> Tensor:
    """The atoms at the sets' centres (B, m), in float64, rounded upward."""
    double = graph.to(torch.float64)
    y = double.run(query.inputs.centre().to(graph.device)).flatten(1)
    C, d = query.rows(torch.float64, graph.device)
    terms = (C.abs() @ y.abs().unsqueeze(2)).squeeze(2) + d.abs()
    return query.atoms(y) + _ROUNDING * terms


def _rise(inputs: InputSet, jacobian: Interval) -> Tensor:
    """Largest <J_k, x - c> for x in the set, c its centre and J within its bounds (B, m, n): (B, m)."""
    device = jacobian.lower.device
    worst = torch.maximum(jacobian.lower.abs(), jacobian.upper.abs())
    centre, hull = inputs.centre().to(device), inputs.box()
    reach = torch.maximum(hull.upper.to(device) - centre, centre - hull.lower.to(device)).flatten(1)
    along = _weighted(worst, reach)
    if isinstance(inputs, Ball | Intersection):
        ball = inputs if isinstance(inputs, Ball) else inputs.ball
        away = (inputs.centre() - ball.center).flatten(1)  # the cut ball's centre is another one
        radius = (ball.radius + torch.linalg.vector_norm(away, ord=ball.p, dim=1)).to(device)
        along = torch.minimum(along, radius.unsqueeze(1) * dual_norm(worst, ball.p))
    return along


def _weighted(slopes: Tensor, reach: Tensor) -> Tensor:
    """sum_i slopes_ki reach_i: (B, m, n), (B, n) -> (B, m)."""
    return (slopes @ reach.unsqueeze(2)).squeeze(2)

"""Verifiers of the network as it is deployed: what its forward pass computes in a floating-point format."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from robustbench_local.specs import Query

from ..graph import Graph
from ..verifier import DEFAULT_BUDGET, Bounds, Budget
from .formats import Format
from .forward import forward_errors, in_format
from .outward import Outward, outward_problem
from .rule import upward

__all__ = ["Deployed"]


@dataclass(frozen=True, slots=True)
class Deployed:
    """HOLDS is true of every forward pass in `kind` on inputs of that format, whatever the order of its sums.

    The outward bound of the exact network, plus |C| E with the bound E of the outputs' errors. The network's
    weights are those of the format: `module.to(kind.dtype)`.
    """

    outward: Outward
    kind: Format

    @property
    def name(self) -> str:
        """That of the method."""
        return self.outward.name

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Upper bounds in float64; +inf where the forward pass may overflow.

        UnsupportedOpError for an operator of unknown rounding.
        """
        with torch.inference_mode(False), torch.no_grad():
            graph, query = outward_problem(in_format(graph, self.kind), query)
            found = self.outward.method(graph, query, budget)
            errors = forward_errors(graph, found.boxes, self.kind)[graph.output]
            C, _ = query.rows(torch.float64, graph.device)
            spread = upward((C.abs() @ errors.reshape(errors.shape[0], -1, 1)).squeeze(2))
            rows = found.rows + spread * (1 + 2.0**-40)
            rows = rows + 2.0**-50 * found.rows.abs()
        upper = query.combine(rows)
        rounding = upper - query.combine(found.plain)
        return Bounds(rows, upper, found.complete, confirmed=True, rounding=rounding)

"""Bounds of a network's outputs over boxes, without writing a specification."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError
from robustbench_local.specs import Any, Atom, Box, Query

from .graph import Graph
from .verifier import DEFAULT_BUDGET, Budget, Verifier

__all__ = ["output_bounds"]


def output_bounds(
    graph: Graph,
    lower: Tensor,
    upper: Tensor,
    verifier: Verifier,
    C: Tensor | None = None,
    *,
    budget: Budget = DEFAULT_BUDGET,
) -> tuple[Tensor, Tensor]:
    """Lower and upper bounds of the network's outputs, or of `C @ output`, over boxes.

    lower, upper: (B, *shape). C: (B, K, n_out) or (K, n_out);
    without it the outputs themselves are bounded. Returns two tensors (B, K), or (B, *output_shape)
    without C. Raises ShapeError where C does not fit, and what `Box` raises for bad boxes.
    """
    sets = Box(lower, upper)
    outputs = graph.output.numel
    rows = torch.eye(outputs, dtype=torch.float64) if C is None else C.detach().to(torch.float64)
    rows = rows.expand(sets.batch, *rows.shape[-2:]) if rows.dim() == 2 else rows
    if rows.dim() != 3 or rows.shape[0] != sets.batch or rows.shape[2] != outputs:
        raise ShapeError(
            f"C has shape {tuple(rows.shape)}",
            cure=f"give ({sets.batch}, K, {outputs}) or (K, {outputs}): one column per network output",
        )
    both = torch.cat((rows, -rows), 1).to(sets.device)
    tree = Any(tuple(Atom(i, strict=True) for i in range(both.shape[1])))
    query = Query(graph.run, sets, both, both.new_zeros(both.shape[:2]), tree, text="output bounds")
    bounds = verifier.bound(graph, query, replace(budget, tighten=True)).rows
    high, low = bounds[:, : rows.shape[1]], -bounds[:, rows.shape[1] :]
    if C is None:
        return low.reshape(-1, *graph.output_shape), high.reshape(-1, *graph.output_shape)
    return low, high

"""Domains with nothing left to split: the network is affine there, and a linear program bounds it best.

Its dual values become the multipliers of the splits, so that the bound is computed like every other one and
the solver's tolerances prove nothing. The program is elastic (a split may be missed at a price), so that it
has a solution where the domain is empty, too: the bound is then above any that a point could give.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from robustbench_local.specs import InputSet

from ..backward import input_planes, neuron_rows
from ..graph import Node
from ..interval import Interval
from ..slopes import Slopes
from .bounding import DomainRows, Multipliers
from .domains import Splits
from .problem import Roots

__all__ = ["leaf_bound", "leaf_multipliers"]

_PRICE = 1e5  # of missing a split by one, relative to the objective's size


def leaf_bound(
    wide: Roots, root: Tensor, splits: Splits, boxes: Mapping[Node, Interval]
) -> tuple[float, Tensor] | None:
    """The best lower bound of one domain by float64 roots of one atom each, and a point (*in) to look at."""
    found = leaf_multipliers(wide, root, splits, boxes)
    if found is None:
        return None
    scale = found[0].clamp(min=1.0).unsqueeze(0)
    rows = DomainRows(wide, root, splits, scale, boxes)
    share = (found[0] / scale[0]).reshape(1, 1, -1)
    return float(rows.lower(Slopes(values={Multipliers: share}))), found[1]


def leaf_multipliers(
    roots: Roots, root: Tensor, splits: Splits, boxes: Mapping[Node, Interval]
) -> tuple[Tensor, Tensor] | None:
    """Multipliers (S,) of one domain's splits, and the point (*in) where the linear program is smallest.

    All of float64, on roots of one atom each; None where the solver gives no answer.
    """
    from scipy.optimize import linprog

    graph, inputs = roots.graph, roots.query.inputs.select(roots.problem[root])
    shape = graph.output_shape
    row = -roots.C[root]
    start = {graph.output: row.unflatten(2, shape) if shape else row.squeeze(2)}
    a, _ = input_planes(graph, start, inputs, boxes)
    a = a.reshape(-1)
    kept, rows, right = _conditions(roots, splits, inputs, boxes)
    if not (bool(a.isfinite().all()) and np.isfinite(rows).all() and np.isfinite(right).all()):
        return None
    lower, upper = (face.reshape(-1).numpy() for face in (boxes[graph.input].lower, boxes[graph.input].upper))
    n, m = a.shape[0], len(kept)
    price = _PRICE * max(1.0, float(a.abs().sum()))
    result = linprog(
        np.concatenate((a.numpy(), np.full(m, price))),
        A_ub=np.concatenate((rows, -np.eye(m)), 1),
        b_ub=right,
        bounds=[*zip(lower, upper, strict=True), *[(0.0, None)] * m],
        method="highs",
    )
    if result.x is None or result.ineqlin is None:
        return None
    found = torch.zeros(splits.node.shape[1], dtype=torch.float64)
    found[kept] = torch.from_numpy(np.maximum(-result.ineqlin.marginals, 0.0))
    return found, torch.from_numpy(result.x[:n].copy()).reshape(graph.input_shape)


def _conditions(
    roots: Roots, splits: Splits, inputs: InputSet, boxes: Mapping[Node, Interval]
) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Which splits there are, and side * (z - point) >= 0 as rows @ x <= right."""
    graph = roots.graph
    kept = (splits.node[0] >= 0).nonzero().squeeze(1).tolist()
    rows, right = [], []
    for s in kept:
        node = graph.nodes[int(splits.node[0, s])]
        start = {node: neuron_rows(splits.coordinate[0, s : s + 1], node, torch.float64)}
        z, constant = input_planes(graph, start, inputs, boxes)
        side = float(splits.side[0, s])
        rows.append(-side * z.reshape(-1).numpy())
        right.append(side * (float(constant.reshape(-1)[0]) - float(splits.point[0, s])))
    size = boxes[graph.input].lower.numel()
    return kept, np.array(rows).reshape(len(kept), size), np.array(right)

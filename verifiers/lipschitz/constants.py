"""Lipschitz constants: of chosen rows over input sets, and of the whole network over everything.

Over a convex set a function with Jacobian J changes by at most `max |J|_q |x - x'|_p` where 1/p + 1/q = 1
(mean value theorem; Clarke's for kinks). Over everything the layers' operator norms multiply (Szegedy et al.
2014, arXiv 1312.6199, section 4.3): cheap and loose.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustbench_local.errors import SpecError
from robustbench_local.specs import InputSet

from ..graph import Graph, Node
from ..interval import Interval
from ..rule import Affine, Boxes, Rule, check_rules, find_rule
from ..spectral import matrix_norm_bound
from ..verifier import DEFAULT_BUDGET, Budget
from .jacobian import jacobian_bounds

__all__ = ["dual_norm", "global_lipschitz", "local_lipschitz"]

_DENSE = 2**20  # entries of an operator's matrix, up to which its exact norm is computed


def local_lipschitz(
    graph: Graph,
    inputs: InputSet,
    p: float,
    *,
    C: Tensor | None = None,
    budget: Budget = DEFAULT_BUDGET,
    boxes: Boxes | None = None,
) -> Tensor:
    """Upper bounds of each output's Lipschitz constant over each set, in the l_p norm of the input: (B, m).

    `|y_k(x) - y_k(x')| <= L_k |x - x'|_p` for all x, x' of the (convex) set; rows `C @ output` instead of
    outputs where C (m, n_out) or (B, m, n_out) is given, for example a query's. p is 1, 2 or math.inf;
    `budget` and `boxes` as in `jacobian_bounds`. Equal to the constant for affine networks, up to rounding;
    NaN where a bound is not finite. Raises SpecError for another p and what `jacobian_bounds` raises.
    """
    _check_norm(p)
    jacobian = jacobian_bounds(graph, inputs, budget, C=C, boxes=boxes)
    return dual_norm(torch.maximum(jacobian.lower.abs(), jacobian.upper.abs()), p)


def dual_norm(a: Tensor, p: float) -> Tensor:
    """The norm along the last axis that is dual to l_p, p = 1, 2 or math.inf."""
    if p == 1:
        return a.abs().amax(-1)
    if p == 2:
        size: Tensor = torch.linalg.vector_norm(a, dim=-1)
        return size
    return a.abs().sum(-1)


def global_lipschitz(graph: Graph, p: float) -> float:
    """An upper bound of the network's Lipschitz constant from l_p to l_p, over all inputs; p = 1, 2, inf.

    One pass over the nodes: operator norms times the inputs' constants, added where branches join. The norms
    are row sums (inf), column sums (1) and, for 2, the smaller of sqrt(row sums * column sums) and a
    rigorous spectral bound (`spectral`); a nonlinearity counts with its largest slope. Infinite where one
    has no largest slope (products of two activations). "All inputs" are those on which every activation
    stays below 8e307. Computed in float64 and enlarged by its rounding. Raises SpecError for another p and
    UnsupportedOpError where an operator has no rule or no derivative.
    """
    _check_norm(p)
    check_rules(graph)
    with torch.no_grad():
        double = graph.to(torch.float64)
        boxes = {node: _everything(node, double) for node in double.nodes}
        constants: dict[Node, float] = {double.input: 1.0}
        for node in double.nodes[1:]:
            gains = _gains(node, boxes, p)
            # a constant of zero times an unbounded slope is zero: that input never moves
            parts = (g * constants[i] for g, i in zip(gains, node.inputs, strict=True) if constants[i])
            total = sum(parts)
            constants[node] = math.inf if math.isnan(total) else total
    return constants[double.output]


def _gains(node: Node, boxes: Boxes, p: float) -> list[float]:
    """Upper bounds of the node's operator norms from each input, l_p to l_p."""
    rule = find_rule(node)
    size = max(n.numel for n in (node, *node.inputs))
    slack = 1 + (8 * size + 64) * torch.finfo(torch.float64).eps
    rows = [slack * g for g in _row_sums(rule, node, boxes)] if p != 1 else []
    columns = [slack * g for g in _column_sums(rule, node, boxes)] if not math.isinf(p) else []
    if p != 2:
        return rows or columns
    gains = [math.sqrt(a) * math.sqrt(b) if a and b else 0.0 for a, b in zip(rows, columns, strict=True)]
    for found in (_dense_norms(rule, node, boxes), _known_norms(rule, node)):
        gains = gains if found is None else [min(pair) for pair in zip(gains, found, strict=True)]
        if found is not None:
            break
    return gains


def _row_sums(rule: Rule, node: Node, boxes: Boxes) -> list[float]:
    """max |y|_inf over |x|_inf <= 1 of each input's part of the (generalised) Jacobian."""
    found = []
    for position in range(len(node.inputs)):
        ones = [
            torch.full_like(boxes[parent].lower, float(i == position)).unsqueeze(1)
            for i, parent in enumerate(node.inputs)
        ]
        found.append(_size(rule.tangent(node, boxes, tuple(Interval(-one, one) for one in ones))))
    return found


def _column_sums(rule: Rule, node: Node, boxes: Boxes) -> list[float]:
    """max |y|_1 over |x|_1 <= 1: the row sums of the adjoint."""
    ones = torch.ones_like(boxes[node].lower).unsqueeze(1)
    return [_size(part) for part in rule.cotangent(node, boxes, Interval(-ones, ones))]


def _size(interval: Interval) -> float:
    """The largest absolute value; infinite where anything is NaN."""
    if interval.lower.numel() == 0:
        return 0.0
    largest = float(torch.maximum(interval.lower.abs(), interval.upper.abs()).amax())
    return math.inf if math.isnan(largest) else largest


def _dense_norms(rule: Rule, node: Node, boxes: Boxes) -> list[float] | None:
    """Norms of the operator's matrices where these are small; None where that says nothing new."""
    if not rule.affine or rule.coordinatewise or max(i.numel for i in node.inputs) * node.numel > _DENSE:
        return None
    like = boxes[node].lower
    identity = torch.eye(node.numel, dtype=like.dtype, device=like.device).reshape(1, -1, *node.shape)
    pulled = rule.backward(node, identity, boxes).coefficients
    return [matrix_norm_bound(matrix.reshape(node.numel, -1)) for matrix in pulled]


def _known_norms(rule: Rule, node: Node) -> tuple[float, ...] | None:
    return rule.spectral_norms(node) if isinstance(rule, Affine) else None


def _everything(node: Node, graph: Graph) -> Interval:
    """All numbers whose differences are finite."""
    end = torch.full(
        (1, *node.shape), torch.finfo(torch.float64).max / 2, dtype=torch.float64, device=graph.device
    )
    return Interval(-end, end)


def _check_norm(p: float) -> None:
    if p not in (1, 2, math.inf):
        raise SpecError(f"no Lipschitz constant for p = {p!r}", cure="give 1, 2 or math.inf")

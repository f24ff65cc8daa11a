"""Elementwise bounds of a network's Jacobian over an input set.

Intervals of derivatives pass through the network with every node's box fixed: forward, one input
direction after the other, or backward, one output row after the other (the recursion of Zhang et al. 2018,
RecurJac, arXiv 1810.11783, in its fast interval form). At kinks the intervals hold every element of
Clarke's generalised Jacobian, so that the mean value theorem applies.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError
from robustbench_local.specs import InputSet

from ..crown import crown_bounds
from ..graph import Graph, Node
from ..interval import Interval
from ..rule import Boxes, check_rules, find_rule
from ..verifier import DEFAULT_BUDGET, Budget

__all__ = ["jacobian_bounds"]

_COPIES = 8
"""Tensors of one node's size that a step holds per direction or row."""


def jacobian_bounds(
    graph: Graph,
    inputs: InputSet,
    budget: Budget = DEFAULT_BUDGET,
    *,
    C: Tensor | None = None,
    boxes: Boxes | None = None,
    forward: bool | None = None,
) -> Interval:
    """Bounds of every derivative of the outputs, or of `C @ output`, by the inputs: (B, m, n_in), flattened.

    Args:
        graph: the network; outputs and inputs are flattened.
        inputs: B sets; the bounds hold at every point of each.
        C: (m, n_out) or (B, m, n_out); None for the outputs themselves.
        boxes: bounds of every node over `inputs`, from `interval_bounds` or `crown_bounds` of the same
            graph; None for the latter, within the budget.
        forward: pass through the network from the inputs (n_in passes) or from the rows (m passes); None
            for the cheaper one. Backward is tighter where rows mix outputs, since C joins the last layer.

    Exact for affine networks. Raises UnsupportedOpError where an operator has no rule or no derivative,
    ShapeError where the inputs or C do not fit. NaN where a bound is not finite.
    """
    check_rules(graph)
    if inputs.shape != graph.input_shape:
        raise ShapeError(
            f"the input set has shape {inputs.shape}, the network takes {graph.input_shape}",
            cure="give sets of the network's input shape",
        )
    if boxes is None:
        graph = graph.resolved()
        boxes, _ = crown_bounds(graph, inputs, budget)
    rows = _rows(graph, C, inputs.batch)
    ahead = graph.input.numel < rows.shape[1] if forward is None else forward
    if ahead:
        return _combined(rows, C, _in_chunks(graph, boxes, None, inputs.batch, budget))
    return _in_chunks(graph, boxes, rows, inputs.batch, budget)


def _rows(graph: Graph, C: Tensor | None, batch: int) -> Tensor:
    """C as (B or 1, m, n_out) in the graph's dtype."""
    outputs = graph.output.numel
    if C is None:
        return torch.eye(outputs, dtype=graph.dtype, device=graph.device).unsqueeze(0)
    rows = C.to(graph.device, graph.dtype)
    rows = rows.unsqueeze(0) if rows.dim() == 2 else rows
    if rows.dim() != 3 or rows.shape[0] not in (1, batch) or rows.shape[2] != outputs:
        raise ShapeError(
            f"C has shape {tuple(C.shape)}",
            cure=f"give (m, {outputs}) or ({batch}, m, {outputs}): one column per network output",
        )
    return rows


def _combined(rows: Tensor, C: Tensor | None, jacobian: Interval) -> Interval:
    """C times an interval matrix."""
    if C is None:
        return jacobian
    mid, radius = jacobian.mid_radius()
    return Interval.around(rows @ mid, rows.abs() @ radius)


def _in_chunks(graph: Graph, boxes: Boxes, rows: Tensor | None, batch: int, budget: Budget) -> Interval:
    """Forward passes (rows None) or backward passes, as many at once as the memory allows: (B, m, n_in)."""
    like = boxes[graph.input].lower
    fit = budget.memory(like.device) // (_COPIES * max(n.numel for n in graph.nodes) * like.element_size())
    if batch > 1 and batch > fit:  # a single pass of all samples is too large
        parts = []
        for samples in torch.arange(batch, device=like.device).split(max(1, fit)):
            some = {node: box.select(samples) for node, box in boxes.items()}
            own = rows[samples] if rows is not None and rows.shape[0] > 1 else rows
            parts.append(_in_chunks(graph, some, own, len(samples), budget))
        return Interval(torch.cat([p.lower for p in parts]), torch.cat([p.upper for p in parts]))
    at_once = max(1, fit // batch)
    if rows is None:
        size = graph.input.numel
        parts = [
            _pushed(graph, boxes, _directions(places, size, like))
            for places in torch.arange(size, device=like.device).split(at_once)
        ]
        lower, upper = (torch.cat(ends, 1).mT for ends in _ends(parts))
    else:
        parts = [_pulled(graph, boxes, part) for part in rows.split(at_once, 1)]
        lower, upper = (torch.cat(ends, 1) for ends in _ends(parts))
    return Interval(lower.expand(batch, -1, -1), upper.expand(batch, -1, -1))


def _ends(parts: list[Interval]) -> tuple[list[Tensor], list[Tensor]]:
    shapes = [(*part.lower.shape[:2], -1) for part in parts]
    lower = [part.lower.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    return lower, [part.upper.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def _directions(places: Tensor, size: int, like: Tensor) -> Tensor:
    """Unit vectors (1, k, *shape) of these input coordinates."""
    hot = torch.zeros(len(places), size, dtype=like.dtype, device=like.device)
    hot[torch.arange(len(places), device=like.device), places] = 1
    return hot.reshape(1, len(places), *like.shape[1:])


def _pushed(graph: Graph, boxes: Boxes, directions: Tensor) -> Interval:
    """Derivatives of the output along directions (1, k, *in): (B or 1, k, *out)."""
    waiting: dict[Node, int] = {node: len(graph.consumers[node]) for node in graph.nodes}
    tangents: dict[Node, Interval] = {graph.input: Interval(directions, directions)}
    for node in graph.nodes[1 : graph.output.index + 1]:
        tangents[node] = find_rule(node).tangent(node, boxes, tuple(tangents[p] for p in node.inputs))
        for parent in dict.fromkeys(node.inputs):
            waiting[parent] -= 1
            if waiting[parent] == 0 and parent is not graph.output:
                del tangents[parent]
    return tangents[graph.output]


def _pulled(graph: Graph, boxes: Boxes, rows: Tensor) -> Interval:
    """Derivatives of rows (B or 1, k, n_out) of the output by the input: (B or 1, k, *in)."""
    start = rows.reshape(*rows.shape[:2], *graph.output_shape)
    waiting: dict[Node, Interval] = {graph.output: Interval(start, start)}
    for node in reversed(graph.nodes[1 : graph.output.index + 1]):
        waits = waiting.pop(node, None)
        if waits is None:
            continue
        for parent, part in zip(node.inputs, find_rule(node).cotangent(node, boxes, waits), strict=True):
            waiting[parent] = part if parent not in waiting else waiting[parent].plus(part)
    if graph.input in waiting:
        return waiting[graph.input]
    zero = rows.new_zeros(*rows.shape[:2], *graph.input_shape)  # the output does not depend on the input
    return Interval(zero, zero)

"""Interval bound propagation.

Forward through the whole network (Gowal et al. 2018, arXiv 1810.12715); the specification's rows are then
pulled back through the affine tail, which is their "elision of the last layer" for any affine tail.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.specs import Box, InputSet, Query

from .backward import Selection, lower_bounds, neuron_rows
from .graph import Graph, Node
from .interval import Interval
from .rule import find_rule
from .verifier import DEFAULT_BUDGET, Bounds, Budget, prepared, verifier

__all__ = ["IBP", "interval_bounds", "overflow", "specification_rows"]


@verifier("ibp")
@dataclass(frozen=True, slots=True)
class IBP:
    """Interval bound propagation as a verifier."""

    name: str = "ibp"

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Upper bounds by intervals; one forward pass, cheap and loose on networks not trained for it."""
        graph, query = prepared(graph, query)
        boxes = interval_bounds(graph, query.inputs, budget)
        rows = specification_rows(graph, query, boxes, to_input=False)
        return Bounds(rows, query.combine(rows))


def interval_bounds(graph: Graph, inputs: InputSet, budget: Budget = DEFAULT_BUDGET) -> dict[Node, Interval]:
    """Elementwise bounds of every node over the input set.

    Nodes that are affine in the input get their exact bounds by the set's support function where the
    set is not a box (l1 and l2 balls), since its hull would give the corners away.
    """
    boxes: dict[Node, Interval] = {graph.input: input_interval(graph, inputs)}
    exact = frozenset() if isinstance(inputs, Box) else _affine_frontier(graph)
    for node in graph.nodes[1:]:
        box = find_rule(node).interval(node, *(boxes[p] for p in node.inputs))
        boxes[node] = box.intersect(_exact(graph, node, inputs, box, budget)) if node in exact else box
    return boxes


def input_interval(graph: Graph, inputs: InputSet) -> Interval:
    """The input set's hull in the graph's dtype and on its device, rounded outward."""
    return Interval(*(t.to(graph.device) for t in inputs.box().cast(graph.dtype)))


def specification_rows(graph: Graph, query: Query, boxes: dict[Node, Interval], *, to_input: bool) -> Tensor:
    """Upper bounds (B, m) of the query's atoms, pulled back to the input or only through the affine tail."""
    like = boxes[graph.input].lower
    C, _ = query.rows(like.dtype, like.device)
    d = cast_up(query.d.to(like.device), like.dtype)
    start = {graph.output: -C.unflatten(2, graph.output_shape) if graph.output_shape else -C.squeeze(2)}

    def nonlinear(node: Node) -> bool:
        return not find_rule(node).affine

    stop = _never if to_input else nonlinear
    rows = d - lower_bounds(graph, start, query.inputs, boxes, stop=stop)
    if bool((rows <= 0).any()):  # only rows that could prove something need the check
        rows = rows + overflow(graph, boxes)
    return rows


def overflow(graph: Graph, boxes: dict[Node, Interval]) -> Tensor:
    """Zero (B, 1); NaN where a nonlinearity reads an infinite bound, which it may turn into a finite one."""
    inputs = boxes[graph.input].lower
    total = inputs.new_zeros(inputs.shape[0])
    for node in graph.nodes:
        if any(not find_rule(reader).affine for reader in graph.consumers[node]):
            for bound in (boxes[node].lower, boxes[node].upper):
                total = total + 0 * bound.detach().reshape(bound.shape[0], -1).sum(1)
    return total.unsqueeze(1)


def cast_up(d: Tensor, dtype: torch.dtype) -> Tensor:
    """d in `dtype`, rounded up: a threshold that moved down would shrink the set of violations."""
    cast = d.to(dtype)
    return torch.where(cast.to(d.dtype) < d, torch.nextafter(cast, torch.full_like(cast, torch.inf)), cast)


def _never(node: Node) -> bool:
    return False


def _affine_frontier(graph: Graph) -> frozenset[Node]:
    """Nodes that are affine in the input, and are read by a nonlinearity or are the output."""
    affine: set[Node] = {graph.input}
    for node in graph.nodes[1:]:
        if find_rule(node).affine and all(p in affine for p in node.inputs):
            affine.add(node)
    read = {n for n in affine if any(not find_rule(c).affine for c in graph.consumers[n])}
    return frozenset(read | ({graph.output} & affine)) - {graph.input}


def _exact(graph: Graph, node: Node, inputs: InputSet, box: Interval, budget: Budget) -> Interval:
    """Exact bounds of a node that is affine in the input: rows of the identity, shared by all samples."""
    like = box.lower
    widest = max(n.numel for n in graph.nodes[: node.index + 1])
    at_once = max(1, budget.memory(like.device) // (4 * widest * like.element_size() * inputs.batch))
    lower, upper = [], []
    for rows in torch.arange(node.numel, device=like.device).split(at_once):
        start = {node: neuron_rows(rows, node, like.dtype)}
        pick = torch.arange(rows.shape[0], device=like.device).expand(inputs.batch, -1)
        both = lower_bounds(graph, start, inputs, {}, selection=Selection(pick))
        lower.append(both[:, : rows.shape[0]])
        upper.append(-both[:, rows.shape[0] :])
    shape = (-1, *node.shape)
    return Interval(torch.cat(lower, 1).reshape(shape), torch.cat(upper, 1).reshape(shape))

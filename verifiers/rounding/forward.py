"""One sweep through the network: outward intervals of the exact values, bounds of computed errors."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from robustbench_local.errors import DtypeError
from robustbench_local.specs import InputSet

from ..graph import Graph, Node
from ..ibp import input_interval
from ..interval import Interval
from ..rule import check_rules
from .constants import check_constants
from .formats import Format
from .rule import Step, check_roundings, find_rounding, upward

__all__ = ["forward_errors", "in_format", "outward_intervals"]


def in_format(graph: Graph, kind: Format) -> Graph:
    """The network with its weights rounded to the format, as float64 numbers: what `module.to(dtype)` has.

    Raises UnsupportedOpError for an operator of unknown rounding, and for weights that are computed anew in
    every forward pass.
    """
    check_roundings(graph)
    check_constants(graph)
    return graph.to(kind.dtype).to(torch.float64)


def outward_intervals(
    graph: Graph, inputs: InputSet, known: Mapping[Node, Interval] | None = None
) -> dict[Node, Interval]:
    """Elementwise bounds of every node's exact values, valid despite being computed in float64.

    `graph` is in float64; the bounds of `known` are used where they are tighter. UnsupportedOpError as above.
    """
    if graph.dtype != torch.float64:
        raise DtypeError(
            f"outward bounds need a float64 graph, got {graph.dtype}", cure="graph.to(torch.float64)"
        )
    check_rules(graph)
    known = {} if known is None else known
    boxes: dict[Node, Interval] = {graph.input: input_interval(graph, inputs)}
    for node in graph.nodes[1:]:
        box = find_rounding(node).enclose(node, [boxes[p] for p in node.inputs])
        boxes[node] = box.intersect(known[node]) if node in known else box
    return boxes


def forward_errors(graph: Graph, boxes: Mapping[Node, Interval], kind: Format) -> dict[Node, Tensor]:
    """Bounds E (B, *shape) of |computed - exact| of every node, in float64; +inf where there is none.

    computed: the network's forward pass in `kind`, operator by operator, each sum in any order, with or
    without fused multiply-adds, subnormal numbers kept or flushed, on inputs that are numbers of `kind`.
    boxes: outward bounds of the exact values of the float64 graph, whose weights are numbers of `kind`.
    """
    like = boxes[graph.input].lower
    errors: dict[Node, Tensor] = {graph.input: torch.zeros_like(like)}
    for node in graph.nodes[1:]:
        step = Step(kind, tuple(boxes[p] for p in node.inputs), tuple(errors[p] for p in node.inputs))
        found = upward(find_rounding(node).error(node, step))
        size = torch.maximum(boxes[node].lower.abs(), boxes[node].upper.abs()) + found
        finite = size < kind.largest  # also false for NaN
        errors[node] = torch.where(finite, found.expand_as(size), torch.inf)
    return errors

"""How large the numbers inside a network are: what rounding errors are measured against.

A bound is a sum of products of such numbers. Where large ones cancel (the branches of a residual network,
say) the output is small and its rounding error is not.
"""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.specs import InputSet

from .graph import Graph, Node

__all__ = ["ROUNDINGS", "largest_value", "rounding_of"]

ROUNDINGS = 2048
"""Units of rounding of the largest value inside that a bound is believed to lose: a guess on the safe side,
not a proof."""


def largest_value(graph: Graph, inputs: InputSet) -> Tensor:
    """The largest absolute value of any node at the sets' centres, (B,) float64, at least 1.

    What is infinite or NaN does not count: bounds of a sample that has such numbers are judged by themselves.
    """
    graph = graph.resolved()
    with torch.no_grad():
        values: dict[Node, Tensor] = {graph.input: inputs.centre().to(graph.like)}
        largest = _size(values[graph.input])
        for node in graph.nodes[1:]:
            values[node] = node.run(*(values[p] for p in node.inputs))
            largest = torch.maximum(largest, _size(values[node]))
    return largest.clamp(min=1.0)


def rounding_of(graph: Graph, inputs: InputSet) -> Tensor:
    """What a bound in float64 is believed to lose to rounding at the most, (B,) float64."""
    return ROUNDINGS * torch.finfo(torch.float64).eps * largest_value(graph, inputs)


def _size(value: Tensor) -> Tensor:
    if value.shape[1:].numel() == 0:
        return torch.zeros(value.shape[0], dtype=torch.float64, device=value.device)
    wide = value.detach().reshape(value.shape[0], -1).to(torch.float64).abs()
    return wide.nan_to_num(nan=0.0, posinf=0.0).amax(1)

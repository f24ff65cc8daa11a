"""Networks without the neurons that are zero throughout, for bounds that pass many times.

In the first layers of a classifier most relus are off in the whole set: a layer of 200 with 35 undecided
neurons and 16 that are on is one of 51, and what lies between two such layers shrinks in both directions.
Bounds stay what they were: a coefficient that meets a relu that is off is multiplied by zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..graph import Graph, Node, assemble
from ..interval import Interval
from ..rule import Elementwise, find_rule
from .domains import Domains, Splits

__all__ = ["Pruned", "linear_map"]

_LINEAR = torch.ops.aten.linear.default


@dataclass(frozen=True, slots=True, eq=False)
class Pruned:
    """`graph` has the nodes of `whole`, with the same numbers; of some, only the coordinates `kept` (n,)."""

    whole: Graph
    graph: Graph
    kept: Mapping[int, Tensor]

    @staticmethod
    def of(graph: Graph, boxes: Mapping[Node, Interval]) -> Pruned:
        """Without the coordinates that the boxes, which hold in exact arithmetic, show to be zero in every
        problem: of functions of the coordinates of one linear map that only linear maps read.
        """
        kept: dict[int, Tensor] = {}
        for node in graph.nodes[1:]:
            index = _nonzero(graph, node, boxes)
            if index is not None:
                kept[node.index] = kept[node.inputs[0].index] = index
        nodes: list[Node] = []
        for node in graph.nodes:
            inputs = tuple(nodes[p.index] for p in node.inputs)
            shape = (len(kept[node.index]),) if node.index in kept else node.shape
            nodes.append(replace(node, inputs=inputs, shape=shape, args=_arguments(node, kept)))
        small = assemble(nodes, nodes[graph.output.index], pending=False, bare=(graph.dtype, graph.device))
        return Pruned(graph, small, kept)

    def boxes(self, boxes: Mapping[Node, Interval]) -> dict[Node, Interval]:
        """Those of the small graph's nodes."""
        found = {}
        for node in self.graph.nodes:
            box = boxes[self.whole.nodes[node.index]]
            index = self.kept.get(node.index)
            found[node] = box if index is None else Interval(box.lower[:, index], box.upper[:, index])
        return found

    def grown(self, domains: Domains) -> Domains:
        """Domains of the small graph as domains of the whole one; slopes of what was left out are zero."""
        splits = domains.splits
        place = self._places(splits.node, splits.coordinate)
        node, coordinate, point, pull = domains.branch
        slopes = {}
        for small, values in domains.slopes.items():
            index = self.kept.get(small.index)
            if index is not None:
                wide = values.new_zeros(*values.shape[:-1], self.whole.nodes[small.index].numel)
                wide[..., index] = values
                values = wide
            slopes[self.whole.nodes[small.index]] = values
        return replace(
            domains,
            splits=Splits(splits.node, place, splits.side, splits.point),
            slopes=slopes,
            branch=(node, self._places(node, coordinate), point, pull),
        )

    def _places(self, node: Tensor, coordinate: Tensor) -> Tensor:
        """Coordinates of the whole graph's nodes, from those of the small one's."""
        place = coordinate
        for number, index in self.kept.items():
            here = node == number
            place = torch.where(here, index[torch.where(here, coordinate, 0)], place)
        return place


def _nonzero(graph: Graph, node: Node, boxes: Mapping[Node, Interval]) -> Tensor | None:
    """The coordinates (n,) of a node that are to be kept; None where all are."""
    rule = find_rule(node)
    if not isinstance(rule, Elementwise) or len(node.shape) != 1 or node is graph.output:
        return None
    source, readers = node.inputs[0], graph.consumers[node]
    if linear_map(source) is None or graph.consumers[source] != (node,):
        return None
    if not readers or any(linear_map(reader) is None for reader in readers):
        return None
    box = rule.interval(node, boxes[source])
    wanted = ((box.lower == 0) & (box.upper == 0)).all(0).logical_not()  # NaN: kept
    if bool(wanted.all()) or not bool(wanted.any()):
        return None
    return wanted.nonzero().squeeze(1)


def linear_map(node: Node) -> tuple[Tensor, Tensor | None] | None:
    """Weight (out, in) and bias (out,) of a node that maps vectors of one node; None of others."""
    if node.op is not _LINEAR or node.kwargs or len(node.shape) != 1 or len(node.inputs) != 1:
        return None
    weight, bias = node.args[1], node.args[2] if len(node.args) > 2 else None
    if not isinstance(weight, Tensor) or not (bias is None or isinstance(bias, Tensor)):
        return None
    return weight, bias


def _arguments(node: Node, kept: Mapping[int, Tensor]) -> tuple[object, ...]:
    """A node's arguments without what was left out."""
    linear = linear_map(node)
    if linear is None:
        return node.args
    weight, bias = linear
    rows, columns = kept.get(node.index), kept.get(node.inputs[0].index)
    if rows is not None:
        weight, bias = weight[rows], bias if bias is None else bias[rows]
    return (node.args[0], weight if columns is None else weight[:, columns].contiguous(), bias)

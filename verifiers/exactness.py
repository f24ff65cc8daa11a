"""Which interval bounds over a box are exact by themselves, so that backward passes cannot improve them."""

from __future__ import annotations

import torch
from torch import Tensor

from .graph import Graph, Node
from .rule import Elementwise, Rule, find_rule

__all__ = ["exact_nodes"]


def exact_nodes(graph: Graph) -> frozenset[Node]:
    """Nodes every coordinate of which has exact interval bounds over a box.

    Coordinates that only select, scale or bend one input coordinate; one mixing affine step after these; and
    sums or products of exact nodes that depend on different input coordinates.
    """
    free: set[Node] = {graph.input}  # coordinates vary independently of one another
    exact: set[Node] = {graph.input}
    used: dict[Node, Tensor] = {graph.input: torch.ones(graph.input.shape, dtype=torch.bool).flatten()}
    selected: dict[Node, Tensor] = {graph.input: torch.arange(graph.input.numel).reshape(graph.input.shape)}
    for node in graph.nodes[1:]:
        if not all(parent in exact for parent in node.inputs):
            continue
        rule, source = find_rule(node), node.inputs[0]
        if len(node.inputs) == 1:
            alone = rule.coordinatewise and (rule.affine or isinstance(rule, Elementwise))
            if alone or (source in free and rule.affine):
                exact.add(node)
            if alone and source in free and node.numel <= source.numel:  # more than before: some are copies
                free.add(node)
        elif rule.independent and _apart([used[p] for p in node.inputs]):
            exact.add(node)
        if node in exact:
            _follow(rule, node, used, selected)
    return frozenset(exact)


def _apart(masks: list[Tensor]) -> bool:
    """Whether no input coordinate is used twice."""
    return bool((torch.stack(masks).sum(0) <= 1).all())


def _follow(rule: Rule, node: Node, used: dict[Node, Tensor], selected: dict[Node, Tensor]) -> None:
    """Notes which input coordinates the node depends on, and, where each depends on one, on which."""
    source = node.inputs[0]
    if len(node.inputs) == 1 and rule.selects and source in selected:
        chosen = node.run(selected[source].unsqueeze(0).to(torch.float64)).squeeze(0).long()
        selected[node] = chosen
        used[node] = torch.zeros_like(used[source])
        used[node][chosen.flatten()] = True
        return
    used[node] = torch.stack([used[p] for p in node.inputs]).any(0)

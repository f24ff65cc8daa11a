"""Backward bound propagation: linear lower bounds of chosen quantities, pulled from a node to the input.

One engine serves CROWN (pull to the input), the interval verifier's last step (pull through the affine
tail and stop at the nonlinearities) and the bounds of hidden neurons (rows of identity, undecided
neurons only). The affine operators next to the start see rows that are the same for all samples: these
are pulled once, and copied per sample only where the first nonlinearity makes them differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.specs import InputSet

from .graph import Graph, Node
from .interval import Interval
from .rule import find_rule

__all__ = ["Selection", "lower_bounds", "one_hot"]


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Which shared rows each sample uses: `pick` (B, K) indexes the shared rows; both signs of each are bounded."""

    pick: Tensor

    def spread(self, shared: Tensor) -> Tensor:
        """Shared rows (1, U, ...) copied per sample, then their negatives: (B, 2K, ...)."""
        chosen = shared[0].index_select(0, self.pick.flatten()).unflatten(0, self.pick.shape)
        return torch.cat((chosen, -chosen), 1)

    def gather(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Values (B or 1, U) of shared rows and of their negatives, picked per sample: (B, 2K)."""
        batch = self.pick.shape[0]
        both = (v.expand(batch, -1).gather(1, self.pick) for v in (positive, negative))
        return torch.cat(tuple(both), 1)


class _Accumulator:
    """Coefficients waiting at each node, shared or per sample, and the offset so far."""

    def __init__(self, selection: Selection | None) -> None:
        self.selection = selection
        self.shared: dict[Node, Tensor] = {}
        self.own: dict[Node, Tensor] = {}
        self.shared_offset: Tensor | None = None
        self.own_offset: Tensor | None = None

    def spread(self, shared: Tensor) -> Tensor:
        return shared if self.selection is None else self.selection.spread(shared)

    def add(self, node: Node, a: Tensor, *, shared: bool) -> None:
        table = self.shared if shared else self.own
        table[node] = a if node not in table else table[node] + a

    def add_offset(self, value: Tensor | None, *, shared: bool) -> None:
        if value is None:
            return
        if shared:
            self.shared_offset = value if self.shared_offset is None else self.shared_offset + value
        else:
            self.own_offset = value if self.own_offset is None else self.own_offset + value

    def take(self, node: Node) -> tuple[Tensor | None, bool]:
        """The coefficients at a node and whether they are still shared."""
        shared, own = self.shared.pop(node, None), self.own.pop(node, None)
        if own is None:
            return shared, True
        return (own if shared is None else own + self.spread(shared)), False

    def total(self, bound: Tensor) -> Tensor:
        for value in (self.own_offset, None if self.shared_offset is None else self.spread(self.shared_offset)):
            if value is not None:
                bound = bound + value
        return bound


def lower_bounds(
    graph: Graph,
    start: Mapping[Node, Tensor],
    inputs: InputSet,
    boxes: Mapping[Node, Interval],
    *,
    selection: Selection | None = None,
    stop: Callable[[Node], bool] = lambda node: False,
) -> Tensor:
    """Lower bounds over the input set of `sum over nodes of <a_k, node>`.

    start: coefficients per node, (B or 1, K, *shape); with a `selection` they are shared rows (1, U, *shape)
    and the result holds both signs, (B, 2K). `boxes` bounds the inputs of every nonlinearity met. Where
    `stop(node)` holds the node's own box ends the pull. Result (B, K), or (1, K) where nothing depends on a sample.
    """
    waiting = _Accumulator(selection)
    for node, a in start.items():
        waiting.add(node, a, shared=selection is not None)
    bound: Tensor | None = None
    for node in reversed(graph.nodes[: max(n.index for n in start) + 1]):
        a, shared = waiting.take(node)
        shared = shared and selection is not None
        if a is None:
            continue
        if node.op is None or stop(node):
            least = _least(node, a, inputs, boxes)
            if shared and selection is not None:
                least = selection.gather(least, _least(node, -a, inputs, boxes))
            bound = least if bound is None else bound + least
            continue
        rule = find_rule(node)
        if shared and not rule.affine:
            a, shared = waiting.spread(a), False
        pulled = rule.backward(node, a, boxes)
        waiting.add_offset(pulled.offset, shared=shared)
        for parent, coefficients in zip(node.inputs, pulled.coefficients, strict=True):
            waiting.add(parent, coefficients, shared=shared)
    assert bound is not None  # every node descends from the input
    return waiting.total(bound)


def _least(node: Node, a: Tensor, inputs: InputSet, boxes: Mapping[Node, Interval]) -> Tensor:
    """Smallest <a_k, x> over the input set at the input, over the node's box elsewhere."""
    if node.op is None:
        return -inputs.support(-a)
    return boxes[node].minimum(a)


def one_hot(rows: Tensor, node: Node, like: Tensor) -> Tensor:
    """Rows of the identity, (1, U, *shape)."""
    hot = like.new_zeros(rows.shape[0], node.numel)
    hot[torch.arange(rows.shape[0], device=rows.device), rows] = 1
    return hot.reshape(1, rows.shape[0], *node.shape)

"""What rounding may add to a backward pull of linear bounds: running error analysis, step by step.

A step turns rows A at a node y = W x + b into rows A' at x that float64 computes of A W. With the stored A
and A' taken as exact numbers, <A, y> >= <A', x> + <A, b> - |A W - A'| |x|, and the last term, the rounding of
the offset and that of adding the rows of several readers are at most gamma_n <|A|, |W| |x| + |b|> together.
So one product of |A| with a map that is computed once pays for a step (Higham 2002, sections 3.1 and 3.3).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..backward import Rows
from ..graph import Graph, Node
from ..interval import Interval, contract, contract_rows
from ..rule import Elementwise, find_rule
from ..windows import WindowRows
from .formats import DOUBLE
from .lines import has_checked_lines, missed
from .operators.affine import affine_size
from .rule import upward

__all__ = ["OutwardLedger"]

_TERMS = 4  # coefficients, offsets, sums of rows, sums of offsets: each at most this often
_LARGE = 1e150  # products of larger numbers might overflow, or underflow beside them
_SMALL = 1e-150  # pays for all underflows


class OutwardLedger:
    """The costs of pulls within outward `boxes` of the nodes of a float64 graph."""

    def __init__(self, graph: Graph, boxes: Mapping[Node, Interval]) -> None:
        self.graph, self.boxes = graph, boxes

    def stops(self, node: Node) -> bool:
        """Whether a pull has to end at the node, since its relaxation is not one that can be checked."""
        return not find_rule(node).affine and not has_checked_lines(node)

    def step(self, node: Node, rows: Rows, free: Tensor | None) -> Tensor:
        """As `Ledger` says: (B or 1, K)."""
        if find_rule(node).affine:
            return self._paid(
                rows, self.boxes[node.inputs[0]].once((node, "size"), lambda: self._affine(node))
            )
        if free is None:
            box = self.boxes[node.inputs[0]]
            return self._paid(rows, box.once((node, "missed"), lambda: self._bent(node, box, ())))
        assert isinstance(rows, Tensor)  # only rows of a specification are tuned
        box = self.boxes[node.inputs[0]].unsqueeze(1)
        return upward(contract_rows(rows.abs(), self._bent(node, box, free.unbind(2)))) + _SMALL

    def end(self, node: Node, rows: Rows) -> Tensor:
        """As `Ledger` says: three sums (middle, half widths, and the box's own ends), for a ball two."""
        box = self.boxes[node]
        size = torch.maximum(box.lower.abs(), box.upper.abs())
        return self._paid(rows, self._charged(node, 4 * size))

    def _affine(self, node: Node) -> Tensor:
        sizes = [torch.maximum(self.boxes[p].lower.abs(), self.boxes[p].upper.abs()) for p in node.inputs]
        return self._charged(node, affine_size(node, sizes))

    def _bent(self, node: Node, box: Interval, free: tuple[Tensor, ...]) -> Tensor:
        rule = find_rule(node)
        assert isinstance(rule, Elementwise)  # see `stops`
        lines = rule.lines(node, box, free)
        reach = torch.maximum(box.lower.abs(), box.upper.abs())
        size = 2 * (lines.lower_slope.abs() + lines.upper_slope.abs()) * reach
        for offset in (lines.lower_offset, lines.upper_offset):
            size = size if offset is None else size + offset.abs()
        return self._charged(node, size) + missed(node, box, lines)

    def _charged(self, node: Node, size: Tensor) -> Tensor:
        """gamma_n times the sizes of what is summed; infinite where they are too large to tell."""
        count = node.numel + max((p.numel for p in node.inputs), default=0) + len(self.graph.nodes) + 64
        return torch.where(size < _LARGE, _TERMS * DOUBLE.gamma(count) * size + _SMALL / count, torch.inf)

    def _paid(self, rows: Rows, price: Tensor) -> Tensor:
        """<|a_k|, price> per sample and row."""
        if isinstance(rows, WindowRows):
            cost = rows.with_coefficients(rows.a.abs(), clean=rows.clean).contract(price)
        else:
            cost = contract(rows.abs(), price)
        return upward(cost) + _SMALL

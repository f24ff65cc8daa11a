"""The free parameters of every relaxation that one batch of rows passes on its way to the input.

The engine asks for a node's parameters when the rows arrive there; the first time they are set up in the
form that the rows have (dense, or on windows), so that no parameter exists that no row uses.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from .graph import Node
from .rule import Boxes, Rule
from .windows import WindowRows

__all__ = ["Slopes"]


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """Parameters per node (or whatever else has some): (B, R, *axes of the rule).

    One choice per row (R = K) or for all rows (R = 1).

    `values` grows while rows pass; every entry lies in [0, 1] and may require gradients.
    """

    per_row: bool = True
    values: dict[object, Tensor] = field(default_factory=dict)

    def at(self, node: Node, rule: Rule, rows: Tensor | WindowRows, boxes: Boxes) -> Tensor | None:
        """The parameters of `node` for these rows; None where its relaxation has none."""
        if rule.affine:
            return None
        if node not in self.values:
            first = self._first(node, rule, rows, boxes)
            if first is None:
                return None
            self.values[node] = first.requires_grad_(torch.is_grad_enabled())
        return self.values[node]

    def _first(self, node: Node, rule: Rule, rows: Tensor | WindowRows, boxes: Boxes) -> Tensor | None:
        with torch.no_grad():
            start = rule.start(node, boxes)
            if start is None:
                return None
            if not self.per_row:
                return start.unsqueeze(1).clone()
            if not isinstance(rows, WindowRows):
                batch = max(rows.shape[0], start.shape[0])
                return start.unsqueeze(1).expand(batch, rows.shape[1], *start.shape[1:]).clone()
            return torch.stack([rows.view(part) for part in start.unbind(1)], 2)

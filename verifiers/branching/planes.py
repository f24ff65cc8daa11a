"""Linear functions of the input that enclose hidden coordinates: what turns a split into a half space.

They are computed once per root, in float64, over the root's boxes, and hold in every domain below.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..backward import input_planes, neuron_rows
from ..crown import undecided
from ..graph import Node
from ..windows import WindowRows
from .problem import Roots

__all__ = ["Planes", "planes_of"]

_BYTES = 2**28  # of the planes of all problems: beyond, domains are not clipped
_ROWS_AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Planes around U hidden coordinates of B problems: `rows` (2, B, U, n), `at` (2, B, U); lower, upper.

    Coordinate u lies within rows[0] @ x + at[0] and rows[1] @ x + at[1] wherever the root's boxes hold.
    nodes: the nodes in order, each with the places (u,) of its coordinates among the node's. find: number of
    the coordinate by node number * most + place, -1 for none.
    """

    rows: Tensor
    at: Tensor
    nodes: tuple[tuple[int, Tensor], ...]
    find: Tensor
    most: int

    def number(self, node: Tensor, place: Tensor) -> Tensor:
        """Which of the U coordinates these are, -1 where none; any shape."""
        found = self.find[node.clamp(min=0) * self.most + place]
        return torch.where(node >= 0, found, -1)


def planes_of(roots: Roots) -> Planes | None:
    """The planes of all undecided coordinates; None where there are none or memory is short."""
    graph, wide = roots.graph, roots.double()
    size, batch = graph.input.numel, roots.boxes[graph.input].lower.shape[0]
    most, count = max(node.numel for node in graph.nodes), 0
    nodes: list[tuple[int, Tensor]] = []
    find = torch.full((len(graph.nodes) * most,), -1, dtype=torch.int64, device=roots.d.device)
    for node in graph.nodes[1:]:
        mask = undecided(graph, node, roots.boxes[node])
        if mask is None:
            continue
        places = mask.any(0).nonzero().squeeze(1)
        find[node.index * most + places] = torch.arange(count, count + len(places), device=find.device)
        nodes.append((node.index, places))
        count += len(places)
    if not nodes or 2 * batch * count * size * roots.d.element_size() > _BYTES:
        return None
    parts = [_enclosed(wide, wide.graph.nodes[number], places, batch) for number, places in nodes]
    rows = torch.cat([rows for rows, _ in parts], 2).to(roots.d.dtype)
    return Planes(rows, torch.cat([at for _, at in parts], 2).to(roots.d.dtype), tuple(nodes), find, most)


def _enclosed(wide: Roots, node: Node, places: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Both planes (2, B, u, n) of some coordinates of a node, and their constants (2, B, u)."""
    rows, at = [], []
    for some in places.split(_ROWS_AT_ONCE):
        start = neuron_rows(some, node, torch.float64)
        start = start.dense() if isinstance(start, WindowRows) else start
        both = torch.cat((start, -start), 1)
        a, constant = input_planes(wide.graph, {node: both}, wide.query.inputs, wide.boxes)
        signs = a.new_tensor([1.0, -1.0])
        a = a.flatten(2).unflatten(1, (2, -1)).expand(batch, -1, -1, -1) * signs.reshape(1, 2, 1, 1)
        rows.append(a.transpose(0, 1))
        constant = constant.unflatten(1, (2, -1)).expand(batch, -1, -1) * signs.reshape(1, 2, 1)
        at.append(constant.transpose(0, 1))
    return torch.cat(rows, 2), torch.cat(at, 2)

"""What branch and bound works on: the clauses of a query that are still open, as roots of trees.

A clause is a conjunction of atoms; a counterexample makes all of them true. It is refuted where a weighted
mean of the atoms is negative everywhere. Atoms of an OR are clauses of their own, so that each gets its
own tree, and the trees of all problems are bounded in common batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.specs import Query

from ..graph import Graph, Node
from ..ibp import cast_up
from ..interval import Interval

__all__ = ["Roots", "inflated"]

_CUSHION = 4e-6  # relative to a bound's size: more than float32 rounding moves a bound of a hidden neuron


@dataclass(frozen=True, slots=True, eq=False)
class Roots:
    """R clauses, of k atoms each: rows C (R, k, n_out) and d (R, k), and the problem (R,) of each.

    `boxes` bound every node for the B problems; `slopes` are tuned parameters by node, (R, 1, ...), from
    which every tree starts. d is rounded up.
    """

    graph: Graph
    query: Query
    problem: Tensor
    C: Tensor
    d: Tensor
    boxes: Mapping[Node, Interval]
    slopes: Mapping[Node, Tensor]

    @staticmethod
    def of(
        graph: Graph,
        query: Query,
        boxes: Mapping[Node, Interval],
        clauses: tuple[Tensor, Tensor],
        slopes: Mapping[Node, Tensor],
    ) -> Roots:
        """The roots of some clauses: problems (R,) and the atoms (R, k) of each."""
        problem, atoms = clauses
        like = boxes[graph.input].lower
        C, _ = query.rows(like.dtype, like.device)
        d = cast_up(query.d.to(like.device), like.dtype)
        index = problem.unsqueeze(1)
        return Roots(graph, query, problem, C[index, atoms].clone(), d[index, atoms], boxes, slopes)

    @property
    def count(self) -> int:
        """R."""
        return self.problem.shape[0]

    def double(self) -> Roots:
        """The same in float64; the boxes keep their bounds."""
        graph = self.graph.to(torch.float64)
        boxes = {
            graph.nodes[n.index]: Interval(b.lower.double(), b.upper.double()) for n, b in self.boxes.items()
        }
        slopes = {graph.nodes[n.index]: v.double() for n, v in self.slopes.items()}
        return Roots(graph, self.query, self.problem, self.C.double(), self.d.double(), boxes, slopes)


def inflated(boxes: Mapping[Node, Interval]) -> dict[Node, Interval]:
    """The boxes widened by more than their rounding errors, so that they hold in exact arithmetic, too."""
    wide = {}
    for node, box in boxes.items():
        if node.op is None:  # the input's box is exact
            wide[node] = box
            continue
        slack = _CUSHION * torch.maximum(box.lower.abs(), box.upper.abs()) + torch.finfo(box.lower.dtype).tiny
        wide[node] = Interval(box.lower - slack, box.upper + slack)
    return wide

"""The rows of a query's atoms as a batch whose bounds are tuned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from robustbench_local.specs import Query

from .backward import lower_bounds
from .graph import Graph, Node
from .ibp import cast_up
from .interval import Interval
from .slopes import Slopes

__all__ = ["QueryRows"]


@dataclass(frozen=True, slots=True, eq=False)
class QueryRows:
    """Some atoms of each of a batch of problems: `atoms` (B, k); `upper` (B, m) bounds all atoms so far.

    The rows' lower bounds are those of `-C_i y`: an atom's upper bound is `d` (B, k) minus it. A row is done
    where its atom cannot be violated any more, or its sample is decided; with `tighten`, never.
    `upper` is written to: it gathers the best bounds.
    """

    graph: Graph
    query: Query
    boxes: Mapping[Node, Interval]
    upper: Tensor
    atoms: Tensor
    tighten: bool = False
    start: Tensor = field(init=False)
    d: Tensor = field(init=False)

    def __post_init__(self) -> None:
        like = self.boxes[self.graph.input].lower
        C, _ = self.query.rows(like.dtype, like.device)
        # indexing copies: a tensor made under inference_mode could not serve gradients
        C = C[torch.arange(C.shape[0], device=C.device).unsqueeze(1), self.atoms]
        shape = self.graph.output_shape
        object.__setattr__(self, "start", -C.unflatten(2, shape) if shape else -C.squeeze(2))
        d = cast_up(self.query.d.to(like.device), like.dtype).gather(1, self.atoms)
        object.__setattr__(self, "d", d)

    def lower(self, slopes: Slopes) -> Tensor:
        """Lower bounds (B, k) of the rows."""
        start = {self.graph.output: self.start}
        rows = lower_bounds(self.graph, start, self.query.inputs, self.boxes, slopes=slopes)
        return rows.expand(self.query.batch, -1)

    def open(self, best: Tensor) -> Tensor:
        """Mask (B, k) of atoms whose bound could still matter."""
        found = self.d - best
        self.upper.scatter_reduce_(1, self.atoms, found, "amin")
        if self.tighten:
            return torch.ones_like(self.atoms, dtype=torch.bool)
        decided = self.query.holds(self.query.combine(self.upper))
        return ~(found < 0) & ~decided.unsqueeze(1)

    def take(self, samples: Tensor, groups: Tensor) -> QueryRows:
        """The batch of some samples (b,) and, of each, some of its atoms (b, k)."""
        boxes = {node: box.select(samples) for node, box in self.boxes.items()}
        atoms = self.atoms[samples].gather(1, groups)
        return replace(
            self, query=self.query.select(samples), boxes=boxes, upper=self.upper[samples], atoms=atoms
        )

"""alpha-CROWN that goes on where an earlier call ended.

A call leaves the boxes of all nodes and the parameters of the query's rows. The next call on the same
network and rows, over the same input sets or parts of them, starts from both: more steps later on, or the
halves of a set that was cut in two.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError
from robustbench_local.specs import Query

from .alpha_crown import AlphaCROWN, TunedPull
from .crown import crown_bounds
from .graph import Graph, Node
from .ibp import specification_rows
from .interval import Interval
from .query_rows import QueryRows
from .sharing import tuning_plan
from .slopes import Slopes
from .tuning import best_lower_bounds
from .verifier import DEFAULT_BUDGET, Bounds, Budget, prepared

__all__ = ["Warm", "resumed"]


@dataclass(frozen=True, slots=True, eq=False)
class Warm:
    """What a call leaves: the box of every node, and parameters of the rows, by node number.

    (B, m, ...) where every row has its own, (B, 1, ...) where memory made them share one choice.
    """

    boxes: tuple[Interval, ...]
    slopes: Mapping[int, Tensor]

    def select(self, samples: Tensor) -> Warm:
        """That of some samples (b,), repetitions allowed: a parent serves all its children."""
        boxes = tuple(box.select(samples) for box in self.boxes)
        return Warm(boxes, {index: values[samples] for index, values in self.slopes.items()})

    def put(self, samples: Tensor, part: Warm) -> Warm:
        """The same with what a later call on some samples (b,) left."""
        boxes = tuple(old.put(samples, new) for old, new in zip(self.boxes, part.boxes, strict=True))
        slopes = {i: values.index_copy(0, samples, part.slopes[i]) for i, values in self.slopes.items()}
        return Warm(boxes, slopes)


def resumed(
    method: AlphaCROWN, graph: Graph, query: Query, warm: Warm | None = None, budget: Budget = DEFAULT_BUDGET
) -> tuple[Bounds, Warm]:
    """Bounds of every row by `method`, decided or not, and what the next call can start from.

    `warm` must come from this graph, from rows with the same C, and from input sets that contain the present
    ones: its boxes are believed. Raises ShapeError where it belongs to another graph or batch.
    """
    deadline = budget.deadline()
    with torch.inference_mode(False), torch.no_grad():
        graph, query = prepared(graph, query)
        graph = graph.replaced(Tensor.detach, (graph.dtype, graph.device))
        boxes, complete = {} if warm is None else _known(graph, query, warm), True
        if warm is None or not method.hidden:  # else the tuned pulls start with the same passes
            boxes, complete = crown_bounds(graph, query.inputs, budget, known=boxes)
        if method.hidden:
            pull = TunedPull(method.tuning, deadline)
            seconds = None if budget.seconds is None else max(0.0, deadline - time.monotonic())
            left = replace(budget, seconds=seconds)
            boxes, finished = crown_bounds(graph, query.inputs, left, known=boxes, pull=pull)
            complete &= finished
        rows = torch.minimum(*(specification_rows(graph, query, boxes, to_input=t) for t in (True, False)))
        plan = tuning_plan(graph, graph.output, rows.shape[1], rows, budget, together=True)
        at_once = max(1, budget.memory(rows.device) // (plan.row_bytes * rows.shape[1]))
        parts: list[dict[int, Tensor]] = []
        for samples in torch.arange(query.batch, device=rows.device).split(at_once):
            some = {node: box.select(samples) for node, box in boxes.items()}
            atoms = torch.arange(rows.shape[1], device=rows.device).expand(samples.shape[0], -1)
            batch = QueryRows(graph, query.select(samples), some, rows[samples], atoms, tighten=True)
            start = Slopes(plan.per_row) if warm is None else _slopes(graph, warm.select(samples))
            lower, slopes, in_time = best_lower_bounds(
                batch, method.tuning, slopes=start, deadline=deadline, keep=True
            )
            rows[samples] = torch.minimum(rows[samples], batch.d - lower)
            parts.append({n.index: v.detach() for n, v in slopes.values.items() if isinstance(n, Node)})
            complete &= in_time
        rest = Warm(tuple(boxes[node] for node in graph.nodes), _joined(parts))
    return Bounds(rows, query.combine(rows), complete), rest


def _known(graph: Graph, query: Query, warm: Warm) -> dict[Node, Interval]:
    fits = len(warm.boxes) == len(graph.nodes) and all(
        box.lower.shape == (query.batch, *node.shape)
        for box, node in zip(warm.boxes, graph.nodes, strict=False)
    )
    if not fits:
        raise ShapeError(
            "the warm start belongs to another graph or batch",
            cure="keep it with its graph; `warm.select(samples)` follows a query's selection",
        )
    return dict(zip(graph.nodes, warm.boxes, strict=True))


def _slopes(graph: Graph, warm: Warm) -> Slopes:
    values: dict[object, Tensor] = {
        graph.nodes[index]: value.clone().requires_grad_() for index, value in warm.slopes.items()
    }
    return Slopes(values=values)


def _joined(parts: list[dict[int, Tensor]]) -> dict[int, Tensor]:
    return {index: torch.cat([part[index] for part in parts]) for index in parts[0]} if parts else {}

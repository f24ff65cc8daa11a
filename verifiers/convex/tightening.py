"""Bounds of hidden neurons by linear programs, layer by layer, each over the program of the layers before it.

Optimisation-based bound tightening (Tjeng et al. 2019, arXiv 1711.07356, section 5). Every bound is evaluated
by `safe`; the neurons that time does not suffice for keep the bound they had.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..graph import Graph, Node
from ..interval import Interval
from ..rule import find_rule
from .program import Program
from .relaxation import Relaxation, widened
from .rows import Sample, choose
from .safe import safe_minimum
from .scaling import ScaledSession
from .solver import Solver

__all__ = ["relaxed", "tighten_boxes"]


def relaxed(
    solvers: Sequence[Solver], sample: Sample, deadline: float, *, exact: bool, tighten: bool
) -> tuple[Relaxation, bool]:
    """The relaxation of a sample, with exact encodings or not, under its boxes or tighter ones.

    And whether the time sufficed for the tightening.
    """
    boxes, finished = dict(sample.boxes), True
    if tighten:
        finished = tighten_boxes(solvers, sample, boxes, deadline)
    return Relaxation(sample.graph, sample.inputs, boxes, exact=exact), finished


def tighten_boxes(
    solvers: Sequence[Solver], sample: Sample, boxes: dict[Node, Interval], deadline: float
) -> bool:
    """Tightens `boxes` in place; whether the time sufficed."""
    graph = sample.graph
    for node in graph.nodes[1:]:
        # what became tighter above also bounds this node by intervals
        ahead = widened(find_rule(node).interval(node, *(boxes[p] for p in node.inputs)))
        boxes[node] = _narrower(boxes[node], ahead)
        wanted = _undecided(graph, node, boxes[node])
        if not len(wanted) or all(p is graph.input for p in node.inputs):
            continue  # exact already
        program = Relaxation(graph, sample.inputs, boxes).grow(node)
        session = ScaledSession.open(program, choose(solvers, program))
        if not _bound(program, session, node, wanted, (boxes, deadline)):
            return False
    return True


def _bound(
    program: Program,
    session: ScaledSession,
    node: Node,
    wanted: list[int],
    state: tuple[dict[Node, Interval], float],
) -> bool:
    """Both bounds of the wanted coordinates of a node, written into its box; whether the time sufficed."""
    boxes, deadline = state
    box = boxes[node]
    lower, upper = box.lower.clone(), box.upper.clone()
    finished = True
    for sign, bounds in ((1.0, lower.view(-1)), (-1.0, upper.view(-1))):
        for i in wanted:
            left = deadline - time.monotonic()
            if left <= 0:
                finished = False
                break
            row = np.zeros(node.numel)
            row[i] = sign
            cost = program.cost(node, row)
            answer = session.minimise(cost, left)
            if answer.multipliers is None:
                continue
            found = sign * safe_minimum(program, cost, answer.multipliers)
            if sign * found > sign * float(bounds[i]):
                bounds[i] = found
    boxes[node] = Interval(lower, upper)
    return finished


def _undecided(graph: Graph, node: Node, box: Interval) -> list[int]:
    """Coordinates that some reader wants bounded tightly."""
    found: set[int] = set()
    for reader in graph.consumers[node]:
        for position, parent in enumerate(reader.inputs):
            mask: Tensor | None = (
                find_rule(reader).undecided(reader, position, box) if parent is node else None
            )
            if mask is not None:
                found.update(mask.flatten().nonzero().flatten().tolist())
    return sorted(found)


def _narrower(one: Interval, other: Interval) -> Interval:
    """The intersection; crossed by rounding it is the first."""
    lower, upper = torch.maximum(one.lower, other.lower), torch.minimum(one.upper, other.upper)
    crossed = ~(lower <= upper)
    return Interval(torch.where(crossed, one.lower, lower), torch.where(crossed, one.upper, upper))

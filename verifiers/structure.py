"""What a network and a query look like to a planner: sizes, varying inputs, neurons that are not decided."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query, count_clauses

from .graph import Graph
from .ibp import interval_bounds
from .rule import find_rule
from .sharing import tuning_plan
from .verifier import Budget, prepared

__all__ = ["Structure", "problem_bytes", "structure_of"]

_SEEN = 8  # problems of a batch whose neurons are counted


@dataclass(frozen=True, slots=True)
class Structure:
    """Sizes of one batch of problems.

    Attributes:
        problems: how many.
        inputs: coordinates of an input; varying: how many of them are free, in the problem with most.
        nodes: operations of the network; bent: those that are not affine.
        neurons: coordinates that the bent ones read; undecided: how many of these may bend within their
            interval bounds, in the worst of the first problems. An infinite bound counts as undecided.
        atoms, clauses: rows of the property, and its alternatives in disjunctive normal form.
        row_bytes: memory of one row of the property with all that its tuning keeps.
    """

    problems: int
    inputs: int
    varying: int
    nodes: int
    bent: int
    neurons: int
    undecided: int
    atoms: int
    clauses: int
    row_bytes: int


def structure_of(graph: Graph, query: Query) -> Structure:
    """The structure of a query on its graph; one interval pass over the first few problems.

    Raises RobustBenchError where the two do not fit or an operator has no rule.
    """
    with torch.no_grad():
        graph, query = prepared(graph, query)
        box = query.inputs.box()
        varying = int((box.lower < box.upper).flatten(1).sum(1).max())
        neurons, undecided = _neurons(graph, query.select(torch.arange(min(_SEEN, query.batch))))
        plan = tuning_plan(graph, graph.output, query.C.shape[1], graph.like, Budget())
        return Structure(
            problems=query.batch,
            inputs=box.lower[0].numel(),
            varying=varying,
            nodes=len(graph.nodes) - 1,
            bent=sum(not find_rule(node).affine for node in graph.nodes[1:]),
            neurons=neurons,
            undecided=undecided,
            atoms=query.C.shape[1],
            clauses=int(min(count_clauses(query.tree), 2**53)),
            row_bytes=plan.row_bytes,
        )


def problem_bytes(graph: Graph) -> int:
    """Memory of one problem's bounds, of all nodes: both ends of their boxes by intervals, refined, and in
    working copies, the slopes and offsets of two planes."""
    return 12 * graph.like.element_size() * sum(node.numel for node in graph.nodes)


def _neurons(graph: Graph, query: Query) -> tuple[int, int]:
    """How many coordinates bent operations read, and how many of them their intervals leave undecided."""
    try:
        boxes = interval_bounds(graph, query.inputs)
    except RobustBenchError:
        boxes = {}
    neurons, undecided = 0, torch.zeros(query.batch, dtype=torch.int64)
    for node in graph.nodes[1:]:
        rule = find_rule(node)
        if rule.affine:
            continue
        for position, parent in enumerate(node.inputs):
            neurons += parent.numel
            if parent not in boxes:
                undecided += parent.numel
                continue
            mask = rule.undecided(node, position, boxes[parent])
            if mask is not None:
                undecided += mask.reshape(query.batch, -1).sum(1).cpu()  # (B,) where a node is one number
    return neurons, int(undecided.max())

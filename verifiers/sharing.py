"""Whether rows are tuned with parameters of their own or share them: decided by memory, beforehand.

A row with its own parameters keeps, at every nonlinearity below its start, the parameters, Adam's two moments
and a gradient besides what backpropagation needs anyway. Rows that share one choice per sample keep the
latter only: about twice as many fit the memory, and their bounds lie between those of CROWN and those
of rows of their own. Rows are independent of one another, so that any memory which holds a few of them serves
all in turn: sharing is for networks so large that not even a few fit.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .graph import Graph, Node
from .rule import find_rule
from .verifier import Budget

__all__ = ["TuningPlan", "tuning_plan"]

_OWN = 8  # copies of a row's numbers per nonlinear node: parameters, moments, gradients, products
_SHARED = 3  # the same without parameters, moments and their gradient
_FEW = 16  # rows at once below which a step's time is mostly overhead


@dataclass(frozen=True, slots=True)
class TuningPlan:
    """`per_row`: every row has its own parameters; else each sample has one choice for all its rows.

    `row_bytes`: the memory of one row with all that its tuning keeps.
    """

    per_row: bool
    row_bytes: int


def tuning_plan(
    graph: Graph, node: Node, rows: int, like: Tensor, budget: Budget, *, together: bool = False
) -> TuningPlan:
    """The plan for `rows` rows that start at `node`, with numbers of the kind of `like`.

    Rows get parameters of their own where the budget's memory holds sixteen of them, or all where there are
    fewer; where they stay `together`, it must hold them all.
    """
    own = _row_bytes(graph, node, like, _OWN)
    least = rows if together else min(rows, _FEW)
    if least * own <= budget.memory(like.device):
        return TuningPlan(True, own)
    return TuningPlan(False, _row_bytes(graph, node, like, _SHARED))


def _row_bytes(graph: Graph, node: Node, like: Tensor, copies: int) -> int:
    """Memory of one row that starts at `node`: gradients need its numbers at every node below."""
    below = graph.nodes[: node.index + 1]
    # a product of matrices or a maximum of many has as many parameters as numbers that it reads
    bent = [n for n in below if n.op is not None and not find_rule(n).affine]
    kept = sum(copies * max(n.numel, sum(p.numel for p in n.inputs)) for n in bent)
    return (kept + 2 * sum(n.numel for n in below)) * like.element_size()

"""The loop that LP and MILP share: samples one by one, every row of a sample in one session of the solver."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robustbench_local.specs import InputSet, Query

from ..crown import crown_bounds
from ..graph import Graph, Node
from ..ibp import specification_rows
from ..interval import Interval
from ..verifier import Bounds, Budget, prepared
from .program import Array, Program
from .relaxation import Relaxation, widened
from .solution import Solution
from .scaling import ScaledSession
from .solver import Answer, Solver

__all__ = ["RowMethod", "Sample", "choose", "solve_rows"]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One problem: the graph in float64, its input set and the boxes of all nodes, all of batch 1."""

    graph: Graph
    inputs: InputSet
    boxes: dict[Node, Interval]


@dataclass(frozen=True, slots=True, eq=False)
class RowMethod:
    """What LP and MILP do differently.

    relax: the relaxation of a sample, given the deadline; and whether it was finished as asked for.
    lower: a bound from below of the minimum that the solver's answer gives.
    exact: whether the relaxation may be exact.
    """

    relax: Callable[[Sample, float], tuple[Relaxation, bool]]
    lower: Callable[[ScaledSession, Array, Answer], float]
    exact: bool


def choose(solvers: Sequence[Solver], program: Program) -> Solver:
    """The first solver that takes the program's input set, else the first."""
    return next((s for s in solvers if s.takes(program)), solvers[0])


@torch.no_grad()
def solve_rows(
    graph: Graph, query: Query, budget: Budget, solvers: Sequence[Solver], method: RowMethod
) -> Solution:
    """Every row of every sample by the first solver that takes its input set (else the first, over the hull).

    Rows that the time did not suffice for keep CROWN's bound.
    """
    deadline = budget.deadline()
    graph, query = prepared(graph.to(torch.float64).to("cpu"), query)
    boxes, complete = crown_bounds(graph, query.inputs, budget)
    boxes = {node: box if node.op is None else widened(box) for node, box in boxes.items()}
    upper = torch.minimum(*(specification_rows(graph, query, boxes, to_input=t) for t in (True, False)))
    points = torch.full((*upper.shape, *graph.input_shape), torch.nan, dtype=torch.float64)
    exact = torch.zeros(upper.shape, dtype=torch.bool)
    for b in range(query.batch):
        if time.monotonic() > deadline:
            complete = False
            break
        one = query.select(torch.tensor([b]))
        sample = Sample(graph, one.inputs, {n: x.select(torch.tensor([b])) for n, x in boxes.items()})
        relaxation, finished = method.relax(sample, deadline)
        program = relaxation.grow(graph.output)
        solver = choose(solvers, program)
        whole = method.exact and relaxation.exactly and solver.takes(program)
        task = _Rows(program, ScaledSession.open(program, solver), deadline, method.lower, whole)
        complete &= finished
        complete &= task.run(graph.output, one, (upper[b], points[b], exact[b]))
    return Solution(Bounds(upper, query.combine(upper), complete), points, exact)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The rows of one sample."""

    program: Program
    session: ScaledSession
    deadline: float
    lower: Callable[[ScaledSession, Array, Answer], float]
    whole: bool

    def run(self, output: Node, query: Query, results: tuple[Tensor, Tensor, Tensor]) -> bool:
        """Improves the upper bounds, writes points and exactness (m, ...); whether all rows were finished."""
        upper, points, exact = results
        complete = True
        C, d = query.rows(torch.float64)
        count = C.shape[1]
        for i in range(count):
            left = self.deadline - time.monotonic()
            if left <= 0:
                return False
            cost = -self.program.cost(output, C[0, i].numpy())
            answer = self.session.minimise(cost, left / (count - i))  # rows share the time that is left
            complete &= answer.finished
            least = self.lower(self.session, cost, answer)
            bound = float(np.nextafter(float(d[0, i]) - least, np.inf))
            if bound < float(upper[i]):  # false where either is NaN
                upper[i] = bound
            exact[i] = self.whole and answer.finished
            if answer.point is not None:
                place = torch.from_numpy(answer.point[: points[i].numel()].copy())
                points[i] = query.inputs.project(place.reshape(1, *query.inputs.shape))[0]
        return complete

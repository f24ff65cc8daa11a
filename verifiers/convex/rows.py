"""The loop that LP and MILP share: samples one by one, every row of a sample in one session of the solver."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
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
from .scaling import ScaledSession
from .solution import Solution
from .solver import Answer, Solver

__all__ = ["Begun", "RowMethod", "Sample", "begin", "choose", "solve_rows"]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One problem: the graph in float64, the query and the boxes of all nodes, both of batch 1."""

    graph: Graph
    query: Query
    boxes: dict[Node, Interval]

    @property
    def inputs(self) -> InputSet:
        """The input set."""
        return self.query.inputs


@dataclass(frozen=True, slots=True, eq=False)
class Begun:
    """What every convex verifier starts from: CROWN's boxes (widened) and its rows (B, m), all in float64."""

    graph: Graph
    query: Query
    boxes: dict[Node, Interval]
    upper: Tensor
    complete: bool

    def open(self, sample: int, budget: Budget) -> list[int]:
        """The rows of a sample whose bounds could still matter; all where the budget says `tighten`."""
        upper = self.upper[sample : sample + 1]
        if budget.tighten:
            return list(range(upper.shape[1]))
        decided = self.query.select(torch.tensor([sample])).holds(self.query.combine(upper))
        return [] if bool(decided) else (~(upper[0] < 0)).nonzero().flatten().tolist()

    def samples(self) -> Iterator[Sample]:
        """The problems one by one."""
        for b in range(self.query.batch):
            index = torch.tensor([b])
            boxes = {node: box.select(index) for node, box in self.boxes.items()}
            yield Sample(self.graph, self.query.select(index), boxes)


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


def begin(graph: Graph, query: Query, budget: Budget) -> Begun:
    """CROWN's bounds of all samples, in float64 on the CPU."""
    graph, query = prepared(graph.to(torch.float64).to("cpu"), query)
    boxes, complete = crown_bounds(graph, query.inputs, budget)
    boxes = {node: box if node.op is None else widened(box) for node, box in boxes.items()}
    upper = torch.minimum(*(specification_rows(graph, query, boxes, to_input=t) for t in (True, False)))
    return Begun(graph, query, boxes, upper, complete)


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
    begun = begin(graph, query, budget)
    upper, complete, output = begun.upper, begun.complete, begun.graph.output
    points = torch.full((*upper.shape, *begun.graph.input_shape), torch.nan, dtype=torch.float64)
    exact = torch.zeros(upper.shape, dtype=torch.bool)
    for b, sample in enumerate(begun.samples()):
        if not begun.open(b, budget):
            continue
        if time.monotonic() > deadline:
            complete = False
            break
        now = time.monotonic()
        share = now + (deadline - now) / (begun.query.batch - b)  # samples share the time that is left
        relaxation, finished = method.relax(sample, now + (share - now) / 2)  # the rows get the other half
        program = relaxation.grow(output)
        solver = choose(solvers, program)
        whole = method.exact and relaxation.exactly and solver.takes(program)
        task = _Rows(program, ScaledSession.open(program, solver), share, method.lower, whole)
        complete &= finished
        complete &= task.run(output, sample.query, begun.open(b, budget), (upper[b], points[b], exact[b]))
    return Solution(Bounds(upper, query.combine(upper), complete), points, exact)


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """The rows of one sample."""

    program: Program
    session: ScaledSession
    deadline: float
    lower: Callable[[ScaledSession, Array, Answer], float]
    whole: bool

    def run(
        self, output: Node, query: Query, wanted: list[int], results: tuple[Tensor, Tensor, Tensor]
    ) -> bool:
        """Improves the upper bounds, writes points and exactness (m, ...); whether all rows were finished."""
        upper, points, exact = results
        complete = True
        C, d = query.rows(torch.float64)
        start: Array | None = None
        for turn, i in enumerate(wanted):
            left = self.deadline - time.monotonic()
            if left <= 0:
                return False
            cost = -self.program.cost(output, C[0, i].numpy())
            if not np.isfinite(cost).all():  # solvers may run for ever on these; CROWN's bound says NaN
                continue
            share = left / (len(wanted) - turn)  # rows share the time that is left
            answer = self.session.minimise(cost, share, start)
            start = answer.point if answer.finished else start  # of another row: a first incumbent
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

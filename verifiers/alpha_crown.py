"""alpha-CROWN: backward bounds with tuned relaxations (Xu et al. 2021, arXiv 2011.13824).

Two departures from the published algorithm, both because they are at least as tight:
- Every hidden neuron's bound is raised for its own sake, layer by layer, with its own parameters, and the
  specification's rows are raised last. A tighter box can only help what comes after it, and the ascents
  of a layer's rows are independent of one another: they fit any memory, and stop one by one.
- The cheapest attempt comes first: plain CROWN, then tuning of the specification's rows alone; only
  samples that are still open pay for the tuning of hidden neurons.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_local.specs import Query

from .crown import HiddenRows, RowPull, crown_bounds, undecided
from .graph import Graph, Node
from .ibp import specification_rows
from .interval import Interval
from .memory import Chunk, in_parts
from .query_rows import QueryRows
from .sharing import tuning_plan
from .slopes import Slopes
from .tuning import Tuning, best_lower_bounds
from .verifier import DEFAULT_BUDGET, Bounds, Budget, prepared, verifier

__all__ = ["AlphaCROWN", "HiddenBatch", "TunedPull", "tuned_query_rows"]

_TWENTY = Tuning()


@verifier("alpha-crown")
@dataclass(frozen=True, slots=True)
class AlphaCROWN:
    """CROWN whose relaxations are tuned by gradient steps, those of hidden neurons included (`hidden`).

    Never looser than CROWN. Samples that CROWN decides are left alone unless the budget says `tighten`.
    """

    name: str = "alpha-crown"
    tuning: Tuning = _TWENTY
    hidden: bool = True

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Upper bounds by tuned backward passes; out of time, the best bounds so far.

        Not differentiable in the weights: the parameters are tuned for the weights as they are.
        """
        deadline = budget.deadline()
        with torch.inference_mode(False), torch.no_grad():
            graph, query = prepared(graph, query)
            graph = graph.replaced(Tensor.detach, (graph.dtype, graph.device))
            boxes, complete = crown_bounds(graph, query.inputs, budget)
            backward = specification_rows(graph, query, boxes, to_input=True)
            rows = torch.minimum(backward, specification_rows(graph, query, boxes, to_input=False))
            stages = (True,) if self.hidden and budget.tighten else (False, True) if self.hidden else (False,)
            for hidden in stages:
                wanted = _wanted(query, rows, budget)
                if wanted.shape[0] == 0:
                    break
                problem = _Problem(graph, query.select(wanted), _select(boxes, wanted), rows[wanted])
                found, finished = self._stage(
                    problem, replace(budget, seconds=_left(deadline)), hidden=hidden
                )
                rows, complete = rows.index_copy(0, wanted, found), complete and finished
        return Bounds(rows, query.combine(rows), complete)

    def _stage(self, problem: _Problem, budget: Budget, *, hidden: bool) -> tuple[Tensor, bool]:
        """Better rows of a batch of problems, with hidden neurons tuned first or as they are."""
        finished, boxes, deadline = True, problem.boxes, budget.deadline()
        graph, query = problem.graph, problem.query
        if hidden:
            pull = TunedPull(self.tuning, deadline)
            boxes, finished = crown_bounds(graph, query.inputs, budget, known=boxes, pull=pull)
        left = replace(budget, seconds=_left(deadline))
        rows, in_time = tuned_query_rows(graph, query, boxes, problem.rows, self.tuning, left)
        return rows, finished and in_time


def tuned_query_rows(
    graph: Graph, query: Query, boxes: Mapping[Node, Interval], rows: Tensor, tuning: Tuning, budget: Budget
) -> tuple[Tensor, bool]:
    """Upper bounds (B, m) of the atoms, none above `rows`, by tuned pulls; and whether time sufficed."""
    deadline, finished, rows = budget.deadline(), True, rows.clone()
    plan = tuning_plan(graph, graph.output, rows.numel(), rows, budget)

    def bound(samples: Tensor, part: Tensor) -> tuple[Tensor, Tensor, bool]:
        """The atoms (b, k) of the part, the same number for each sample, and their upper bounds."""
        atoms = part.nonzero()[:, 1].reshape(samples.shape[0], -1)
        if time.monotonic() > deadline:
            return atoms, rows[samples.unsqueeze(1), atoms], False
        some = query.select(samples)
        batch = QueryRows(graph, some, _select(boxes, samples), rows[samples], atoms, budget.tighten)
        lower, _, in_time = best_lower_bounds(batch, tuning, slopes=Slopes(plan.per_row), deadline=deadline)
        return atoms, batch.d - lower, in_time

    for found in in_parts(_chunks(rows, plan.row_bytes, budget), bound):
        assert found is not None  # these chunks do not end early
        samples, _, (atoms, upper, in_time) = found
        here = (samples.unsqueeze(1), atoms)
        rows[here] = torch.minimum(rows[here], upper)
        finished &= in_time
    return rows, finished


@dataclass(frozen=True, slots=True, eq=False)
class _Problem:
    """Samples that are still open: their boxes and the best upper bounds (B, m) of their atoms."""

    graph: Graph
    query: Query
    boxes: Mapping[Node, Interval]
    rows: Tensor


@dataclass(frozen=True, slots=True)
class TunedPull:
    """Bounds of hidden neurons by tuned backward passes: a `HiddenPull`."""

    tuning: Tuning
    deadline: float

    def planned(
        self, graph: Graph, node: Node, mask: Tensor, budget: Budget, like: Tensor
    ) -> tuple[RowPull, int]:
        """Rows of both signs, with parameters of their own or shared ones (see `sharing`)."""
        plan = tuning_plan(graph, node, 2 * int(mask.sum()), like, budget)

        def bound(rows: HiddenRows) -> Tensor:
            slopes = Slopes(plan.per_row)
            return best_lower_bounds(HiddenBatch(rows), self.tuning, slopes=slopes, deadline=self.deadline)[0]

        return bound, plan.row_bytes


@dataclass(frozen=True, slots=True, eq=False)
class HiddenBatch:
    """Hidden neurons as a batch of rows; a group is a neuron with its two signs."""

    rows: HiddenRows

    def lower(self, slopes: Slopes) -> Tensor:
        """Lower bounds of the neurons, then of their negatives: (B, 2K)."""
        return self.rows.lower(slopes)

    def open(self, best: Tensor) -> Tensor:
        """Neurons whose box, with these bounds, still leaves a reader's relaxation undecided."""
        rows, node = self.rows, self.rows.node
        old, k = rows.boxes[node], rows.pick.shape[1]
        place = rows.neurons[rows.pick]
        lower = old.lower.reshape(len(place), -1).scatter_reduce(1, place, best[:, :k], "amax")
        upper = old.upper.reshape(len(place), -1).scatter_reduce(1, place, -best[:, k:], "amin")
        box = Interval(lower.reshape(old.lower.shape), upper.reshape(old.upper.shape))
        mask = undecided(rows.graph, node, box)
        if mask is None:
            return torch.zeros_like(rows.pick, dtype=torch.bool)
        return mask.gather(1, place)

    def take(self, samples: Tensor, groups: Tensor) -> HiddenBatch:
        """Some samples (b,) and some of the neurons of each (b, k)."""
        rows = self.rows
        return HiddenBatch(
            replace(
                rows,
                inputs=rows.inputs.select(samples),
                boxes=_select(rows.boxes, samples),
                pick=rows.pick[samples].gather(1, groups),
            )
        )


def _wanted(query: Query, rows: Tensor, budget: Budget) -> Tensor:
    """Samples (b,) worth more work."""
    if budget.tighten:
        return torch.arange(rows.shape[0], device=rows.device)
    return (~query.holds(query.combine(rows))).nonzero().squeeze(1)


def _select(boxes: Mapping[Node, Interval], samples: Tensor) -> dict[Node, Interval]:
    return {node: box.select(samples) for node, box in boxes.items()}


def _left(deadline: float) -> float | None:
    return None if deadline == float("inf") else max(0.0, deadline - time.monotonic())


def _chunks(rows: Tensor, row_bytes: int, budget: Budget) -> Iterator[Chunk]:
    """Samples (b,) and a mask (b, m) of as many atoms for each, which fit the memory; all of rows (B, m)."""
    limit = max(1, budget.memory(rows.device) // row_bytes)
    atoms = torch.arange(rows.shape[1], device=rows.device).split(limit)
    at_once = max(1, limit // atoms[0].shape[0])
    for samples in torch.arange(rows.shape[0], device=rows.device).split(at_once):
        for some in atoms:
            mask = torch.zeros(samples.shape[0], rows.shape[1], dtype=torch.bool, device=rows.device)
            mask[:, some] = True
            yield samples, mask

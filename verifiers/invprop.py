"""Output constraints used for hidden bounds: what neurons can be where the property is VIOLATED.

Where a property can fail in one way only (a conjunction of atoms e_i > 0), hidden neurons need bounds only
over the inputs that make it fail: for any multipliers g >= 0,

    min of z over those inputs  >=  min over all inputs of  z - sum g_i e_i,

and the right side is a backward pass that starts at the neuron and at the output at once (INVPROP, Kotha
et al. 2023, arXiv 2302.01404). Multipliers are tuned together with the relaxations. Bounds that cross, or
an atom that cannot be positive, show that no input violates the property.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_local.specs import All, Atom, Query, Tree

from .alpha_crown import AlphaCROWN, HiddenBatch, tuned_query_rows
from .backward import lower_bounds
from .crown import HiddenRows, RowPull, crown_bounds
from .graph import Graph, Node
from .ibp import cast_up
from .interval import Interval
from .sharing import tuning_plan
from .slopes import Slopes
from .tuning import Tuning, best_lower_bounds
from .verifier import DEFAULT_BUDGET, Bounds, Budget, prepared, verifier

__all__ = ["InvProp"]

_REACH = 1e-3  # a parameter t in [0, 1] stands for the multiplier t / (1 + _REACH - t): up to 1000
_TWENTY = Tuning()


@verifier("invprop")
@dataclass(frozen=True, slots=True)
class InvProp:
    """alpha-CROWN, then hidden bounds over the violating inputs only, `rounds` times.

    Properties that can fail in several ways get alpha-CROWN's bounds. A sample without violating inputs
    gets the upper bound -tiny: its worst violation is known to be negative, not how far.
    """

    name: str = "invprop"
    tuning: Tuning = _TWENTY
    rounds: int = 2

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Upper bounds; `rows` are alpha-CROWN's, `upper` may be better than what they combine to."""
        deadline = budget.deadline()
        bounds = AlphaCROWN(tuning=self.tuning).bound(graph, query, budget)
        wanted = (~query.holds(bounds.upper)).nonzero().squeeze(1)
        if not _conjunction(query.tree) or wanted.shape[0] == 0:
            return bounds
        with torch.inference_mode(False), torch.no_grad():
            graph, query = prepared(graph, query)
            graph = graph.replaced(Tensor.detach, (graph.dtype, graph.device))
            upper, complete = bounds.upper.clone(), bounds.complete
            for samples in wanted.split(self._at_once(graph, upper, budget)):
                left = None if budget.seconds is None else max(0.0, deadline - time.monotonic())
                found, finished = self._violating(
                    graph, query.select(samples), replace(budget, seconds=left), bounds.rows[samples]
                )
                upper[samples] = torch.minimum(upper[samples], found)
                complete &= finished
        return Bounds(bounds.rows, upper, complete)

    def _at_once(self, graph: Graph, like: Tensor, budget: Budget) -> int:
        row_bytes = tuning_plan(graph, graph.output, 1, like, budget).row_bytes
        return max(1, budget.memory(like.device) // (4 * row_bytes))

    def _violating(self, graph: Graph, query: Query, budget: Budget, rows: Tensor) -> tuple[Tensor, bool]:
        """Upper bounds (B,) of the violation from boxes that hold where it is positive."""
        deadline, finished = budget.deadline(), True
        boxes, _ = crown_bounds(graph, query.inputs, budget)
        empty = torch.zeros(query.batch, dtype=torch.bool, device=rows.device)
        for _ in range(self.rounds):
            pull = _ConstrainedPull(query, self.tuning, deadline)
            boxes, in_time = crown_bounds(graph, query.inputs, budget, known=boxes, pull=pull)
            finished &= in_time
            for node, box in boxes.items():
                empty |= _crossed(box)
                boxes[node] = _uncrossed(box)
        rows, in_time = tuned_query_rows(graph, query, boxes, rows, self.tuning, budget)
        mixed = _Mixed(graph, query, boxes, *_atoms(graph, query, boxes))
        lower, _, _ = best_lower_bounds(mixed, self.tuning, deadline=deadline)
        upper = torch.minimum(query.combine(rows), -lower.squeeze(1))
        none = upper.new_full((), -torch.finfo(upper.dtype).tiny)
        return torch.where(empty | query.holds(upper), none, upper), finished and in_time


@dataclass(frozen=True, slots=True, eq=False)
class _Mixed:
    """Minus a weighted mean of the atoms: the least of them is never above it. Weights are tuned, too."""

    graph: Graph
    query: Query
    boxes: Mapping[Node, Interval]
    C: Tensor
    d: Tensor

    def lower(self, slopes: Slopes) -> Tensor:
        if _Mixed not in slopes.values:
            slopes.values[_Mixed] = torch.full_like(self.d, 0.5).unsqueeze(1).requires_grad_()
        t = slopes.values[_Mixed] + _REACH
        weights = t / t.sum(2, keepdim=True)
        shape = self.graph.output_shape
        pulled = -(weights @ self.C)
        start = {self.graph.output: pulled.unflatten(2, shape) if shape else pulled.squeeze(2)}
        least = lower_bounds(self.graph, start, self.query.inputs, self.boxes, slopes=slopes)
        return least - (weights * self.d.unsqueeze(1)).sum(2)

    def open(self, best: Tensor) -> Tensor:
        return (best > 0).logical_not()

    def take(self, samples: Tensor, groups: Tensor) -> _Mixed:
        boxes = {node: box.select(samples) for node, box in self.boxes.items()}
        return _Mixed(self.graph, self.query.select(samples), boxes, self.C[samples], self.d[samples])


def _atoms(graph: Graph, query: Query, boxes: Mapping[Node, Interval]) -> tuple[Tensor, Tensor]:
    """The atoms' C (B, m, n_out) and d (B, m), rounded up, as gradients can use them."""
    like = boxes[graph.input].lower
    return query.rows(like.dtype, like.device)[0].clone(), cast_up(query.d.to(like.device), like.dtype)


def _conjunction(tree: Tree) -> bool:
    if isinstance(tree, Atom):
        return True
    return isinstance(tree, All) and all(isinstance(child, Atom) for child in tree.children)


def _crossed(box: Interval) -> Tensor:
    """Samples (B,) some of whose bounds cross by more than rounding can explain."""
    size = torch.maximum(box.lower.abs(), box.upper.abs())
    slack = torch.finfo(size.dtype).eps ** 0.6 * (1 + size)  # 7e-5 in float32, 4e-10 in float64
    crossed = torch.gt(box.lower, box.upper + slack)
    return crossed.reshape(size.shape[0], -1).any(1)


def _uncrossed(box: Interval) -> Interval:
    """Bounds that can be computed with; where they crossed nothing depends on them any more."""
    return Interval(torch.minimum(box.lower, box.upper), torch.maximum(box.lower, box.upper))


@dataclass(frozen=True, slots=True)
class _ConstrainedPull:
    """Bounds of hidden neurons over the inputs that violate the query: a `HiddenPull`."""

    query: Query
    tuning: Tuning
    deadline: float

    def planned(
        self, graph: Graph, node: Node, mask: Tensor, budget: Budget, like: Tensor
    ) -> tuple[RowPull, int]:
        """Rows pass the whole network, from the output down. Multipliers are always the rows' own."""
        plan = tuning_plan(graph, graph.output, 2 * int(mask.sum()), like, budget)

        def bound(rows: HiddenRows) -> Tensor:
            query = self.query if rows.samples is None else self.query.select(rows.samples)
            batch = _Constrained(rows, *_atoms(rows.graph, query, rows.boxes))
            slopes = Slopes(plan.per_row)
            return best_lower_bounds(batch, self.tuning, slopes=slopes, deadline=self.deadline)[0]

        return bound, plan.row_bytes


@dataclass(frozen=True, slots=True, eq=False)
class _Constrained:
    """Hidden neurons with multipliers for the atoms C y + d (B, m, n_out)."""

    rows: HiddenRows
    C: Tensor
    d: Tensor

    def lower(self, slopes: Slopes) -> Tensor:
        if _Constrained not in slopes.values:
            zeros = self.C.new_zeros(self.C.shape[0], 2 * self.rows.pick.shape[1], self.C.shape[1])
            slopes.values[_Constrained] = zeros.requires_grad_(torch.is_grad_enabled())
        t = slopes.values[_Constrained]
        multipliers = t / (1 + _REACH - t)
        shape = self.rows.graph.output_shape
        pulled = -(multipliers @ self.C)
        extra = {self.rows.graph.output: pulled.unflatten(2, shape) if shape else pulled.squeeze(2)}
        return self.rows.lower(slopes, extra) - (multipliers * self.d.unsqueeze(1)).sum(2)

    def open(self, best: Tensor) -> Tensor:
        return HiddenBatch(self.rows).open(best)

    def take(self, samples: Tensor, groups: Tensor) -> _Constrained:
        taken = HiddenBatch(self.rows).take(samples, groups)
        return _Constrained(taken.rows, self.C[samples], self.d[samples])

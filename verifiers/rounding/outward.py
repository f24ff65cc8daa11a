"""Verifiers whose bounds are valid despite their own rounding: float64, with the errors paid for.

Each is the counterpart of a published method: the same relaxations and choices, in float64 on a graph whose
intervals are rounded outward, with every backward step's rounding taken off (see `ledger`). Relaxations
that cannot be checked (products, pooling, softmax) end a pull, with the node's outward interval.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_local.specs import Ball, Box, InputSet, Query

from ..alpha_crown import AlphaCROWN
from ..backward import Rows, Selection, lower_bounds, neuron_rows
from ..crown import CROWN, CrownIBP, HiddenRows, RowPull, crown_bounds
from ..graph import Graph, Node
from ..ibp import IBP, overflow
from ..interval import Interval
from ..query_rows import QueryRows
from ..rule import find_rule
from ..sharing import tuning_plan
from ..slopes import Slopes
from ..tuning import best_lower_bounds
from ..verifier import DEFAULT_BUDGET, Bounds, Budget, Verifier, prepared
from .constants import check_constants
from .formats import DOUBLE
from .forward import outward_intervals
from .ledger import OutwardLedger
from .rational import settled
from .rule import find_rounding

__all__ = ["OUTWARD", "Outward", "OutwardRows", "outward"]


@dataclass(frozen=True, slots=True, eq=False)
class OutwardRows:
    """Upper bounds (B, m) of the atoms, valid despite rounding, and what they were without that, `plain`.

    boxes: outward bounds of every node.
    """

    rows: Tensor
    plain: Tensor
    boxes: Mapping[Node, Interval]
    complete: bool = True


Method = Callable[[Graph, Query, Budget], OutwardRows]


@dataclass(frozen=True, slots=True)
class Outward:
    """The counterpart of a verifier, under its name: HOLDS is true of the real-number network."""

    name: str
    method: Method

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Upper bounds in float64. UnsupportedOpError for an operator of unknown rounding."""
        with torch.inference_mode(False), torch.no_grad():
            graph, query = outward_problem(graph, query)
            found = self.method(graph, query, budget)
            C, d = query.rows(torch.float64, graph.device)
            rows = settled(found.rows, C, d, found.boxes[graph.output])
        upper, plain = query.combine(rows), query.combine(found.plain)
        return Bounds(rows, upper, found.complete, confirmed=True, rounding=(upper - plain).clamp(min=0))


def outward_problem(graph: Graph, query: Query) -> tuple[Graph, Query]:
    """Both in float64, on a box or a ball; another set is replaced by its hull."""
    check_constants(graph)
    graph, query = prepared(graph, query)
    for node in graph.nodes[1:]:
        find_rounding(node)
    if not isinstance(query.inputs, Box | Ball):
        query = replace(query, inputs=query.inputs.box())
    double = graph.to(torch.float64)
    return double.replaced(Tensor.detach, (torch.float64, double.device)), query


def _intervals(graph: Graph, query: Query, budget: Budget) -> OutwardRows:
    boxes = outward_intervals(graph, query.inputs)
    return _bounded(graph, query, boxes, to_input=False)


def _crown_ibp(graph: Graph, query: Query, budget: Budget) -> OutwardRows:
    boxes = outward_intervals(graph, query.inputs)
    return _best(_bounded(graph, query, boxes, to_input=False), _bounded(graph, query, boxes, to_input=True))


def _crown(graph: Graph, query: Query, budget: Budget) -> OutwardRows:
    boxes, complete = _crown_boxes(graph, query.inputs, budget)
    found = _best(_bounded(graph, query, boxes, to_input=False), _bounded(graph, query, boxes, to_input=True))
    return replace(found, complete=complete)


def _best(one: OutwardRows, other: OutwardRows) -> OutwardRows:
    """The tighter row of two."""
    closer = (other.rows < one.rows) | one.rows.isnan()
    rows, plain = (torch.where(closer, b, a) for a, b in ((one.rows, other.rows), (one.plain, other.plain)))
    return OutwardRows(rows, plain, one.boxes, one.complete and other.complete)


def _alpha_crown(verifier: AlphaCROWN) -> Method:
    """Tuned relaxations for the specification's rows; hidden neurons keep their untuned outward bounds."""

    def method(graph: Graph, query: Query, budget: Budget) -> OutwardRows:
        deadline = budget.deadline()
        first = _crown(graph, query, budget)
        rows, plain, complete = first.rows.clone(), first.plain.clone(), first.complete
        wanted = torch.arange(query.batch, device=rows.device)
        if not budget.tighten:
            wanted = (~query.holds(query.combine(rows))).nonzero().squeeze(1)
        plan = tuning_plan(graph, graph.output, rows.numel(), rows, budget)

        def tuned(samples: Tensor, atoms: Tensor) -> tuple[Tensor, Tensor, bool]:
            some, places = query.select(samples), atoms.expand(samples.shape[0], -1)
            boxes = {node: box.select(samples) for node, box in first.boxes.items()}
            batch = QueryRows(graph, some, boxes, rows[samples], places, budget.tighten)
            _, slopes, in_time = best_lower_bounds(
                batch, verifier.tuning, slopes=Slopes(plan.per_row), deadline=deadline, keep=True
            )
            start = {graph.output: batch.start}
            both = _pulled(graph, start, some.inputs, boxes, slopes)
            return *(_above(batch.d, part) for part in both), in_time  # type: ignore[return-value]

        for samples, atoms in _pieces(wanted, rows.shape[1], budget.memory(rows.device) // plan.row_bytes):
            if time.monotonic() > deadline:
                complete = False
                break
            upper, bare, in_time = tuned(samples, atoms)
            here = (samples.unsqueeze(1), atoms)
            closer = upper < rows[here]
            rows[here] = torch.where(closer, upper, rows[here])
            plain[here] = torch.where(closer, bare, plain[here])
            complete &= in_time
        return OutwardRows(rows, plain, first.boxes, complete)

    return method


def _pieces(samples: Tensor, atoms: int, limit: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Samples (b,) and atoms (k,) with b k <= limit, all of them once."""
    limit = max(1, limit)
    parts = torch.arange(atoms, device=samples.device).split(limit)
    if samples.shape[0] == 0:
        return
    for some in samples.split(max(1, limit // parts[0].shape[0])):
        for part in parts:
            yield some, part


def _bounded(graph: Graph, query: Query, boxes: Mapping[Node, Interval], *, to_input: bool) -> OutwardRows:
    """Rows pulled to the input, or through the affine tail only."""
    C, d = query.rows(torch.float64, graph.device)
    start = {graph.output: -C.unflatten(2, graph.output_shape) if graph.output_shape else -C.squeeze(2)}
    bound, bare = _pulled(graph, start, query.inputs, boxes, None, to_input=to_input)
    return OutwardRows(_above(d, bound) + overflow(graph, dict(boxes)), _above(d, bare), boxes)


def _pulled(
    graph: Graph,
    start: Mapping[Node, Tensor],
    inputs: InputSet,
    boxes: Mapping[Node, Interval],
    slopes: Slopes | None,
    *,
    to_input: bool = True,
) -> tuple[Tensor, Tensor]:
    """Lower bounds of rows with and without the cost of rounding, (B, K) each."""
    ledger = _Kept(OutwardLedger(graph, boxes))
    stop = ledger.ledger.stops if to_input else _nonlinear
    bound = lower_bounds(graph, start, inputs, boxes, slopes=slopes, stop=stop, ledger=ledger)
    batch = inputs.batch
    return bound.expand(batch, -1), (bound + ledger.total()).expand(batch, -1)


class _Kept:
    """A ledger that remembers what it charged."""

    def __init__(self, ledger: OutwardLedger) -> None:
        self.ledger = ledger
        self.costs: list[Tensor] = []

    def step(self, node: Node, rows: Rows, free: Tensor | None) -> Tensor:
        self.costs.append(self.ledger.step(node, rows, free))
        return self.costs[-1]

    def end(self, node: Node, rows: Rows) -> Tensor:
        self.costs.append(self.ledger.end(node, rows))
        return self.costs[-1]

    def total(self) -> Tensor:
        found = self.costs[0]
        for cost in self.costs[1:]:
            found = found + cost
        return found


def _nonlinear(node: Node) -> bool:
    return not find_rule(node).affine


def _above(d: Tensor, lower: Tensor) -> Tensor:
    """d - lower, rounded up."""
    found = d - lower
    return found + 4 * DOUBLE.unit * (d.abs() + lower.abs())


def _crown_boxes(graph: Graph, inputs: InputSet, budget: Budget) -> tuple[dict[Node, Interval], bool]:
    """Outward bounds of every node, hidden neurons refined by outward backward pulls; in time?"""

    def image(node: Node, boxes: object) -> Interval:
        return find_rounding(node).enclose(node, boxes)  # type: ignore[arg-type]

    return crown_bounds(graph, inputs, budget, pull=_Pull(), image=image)


class _Pull:
    """Outward backward pulls of hidden neurons: a `HiddenPull`."""

    def planned(
        self, graph: Graph, node: Node, mask: Tensor, budget: Budget, like: Tensor
    ) -> tuple[RowPull, int]:
        """One row of coefficients at the widest node below, with working copies and absolute values."""
        widest = max(n.numel for n in graph.nodes[: node.index + 1])
        return _pull_hidden, 6 * widest * like.element_size()


def _pull_hidden(rows: HiddenRows) -> Tensor:
    start = {rows.node: neuron_rows(rows.neurons, rows.node, torch.float64)}
    ledger = OutwardLedger(rows.graph, rows.boxes)
    return lower_bounds(
        rows.graph,
        start,
        rows.inputs,
        rows.boxes,
        selection=Selection(rows.pick),
        stop=ledger.stops,
        ledger=ledger,
    )


OUTWARD: dict[type, Callable[..., Method]] = {
    IBP: lambda verifier: _intervals,
    CrownIBP: lambda verifier: _crown_ibp,
    CROWN: lambda verifier: _crown,
    AlphaCROWN: _alpha_crown,
}
"""Which verifiers have a counterpart, by their class."""


def outward(verifier: Verifier) -> Outward | None:
    """The counterpart of a verifier; None where there is none."""
    make = OUTWARD.get(type(verifier))
    return None if make is None else Outward(verifier.name, make(verifier))

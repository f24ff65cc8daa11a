"""Backward bound propagation: linear lower bounds of chosen quantities, pulled from a node to the input.

One engine serves CROWN (pull to the input), the interval verifier's last step (pull through the affine
tail and stop at the nonlinearities) and the bounds of hidden neurons (rows of the identity, undecided
neurons only). The affine operators next to the start see rows that are the same for all samples: these
are pulled once, and copied per sample only where the first nonlinearity makes them differ. Rows of
convolutional neurons stay on windows of the image as long as every operator on the way allows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from robustbench_local.specs import Box, InputSet

from .graph import Graph, Node
from .interval import Interval
from .rule import Pulled, PulledWindows, Rule, find_rule
from .slopes import Slopes
from .windows import WindowRows

__all__ = ["Ledger", "Rows", "Selection", "input_planes", "lower_bounds", "neuron_rows"]

Rows = Tensor | WindowRows


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """Which shared rows each sample uses: `pick` (B, K) indexes them; both signs of each are bounded."""

    pick: Tensor

    def spread(self, shared: Tensor) -> Tensor:
        """Shared rows (1, U, ...) copied per sample, then their negatives: (B, 2K, ...)."""
        rows = shared[0]
        last = rows.dim() == 4 and not rows.is_contiguous()  # channels-last memory: keep it through the copy
        rows = rows.movedim(1, -1) if last else rows
        chosen = rows.index_select(0, self.pick.flatten()).unflatten(0, self.pick.shape)
        both = torch.cat((chosen, -chosen), 1)
        return both.movedim(-1, 2) if last else both

    def spread_rows(self, shared: Rows) -> Rows:
        """As `spread`, for dense rows and rows on windows."""
        if isinstance(shared, Tensor):
            return self.spread(shared)
        position = shared.position[0][self.pick]
        return replace(shared, a=self.spread(shared.a), position=torch.cat((position, position), 1))

    def gather(self, positive: Tensor, negative: Tensor) -> Tensor:
        """Values (B or 1, U) of shared rows and of their negatives, picked per sample: (B, 2K)."""
        batch = self.pick.shape[0]
        both = (v.expand(batch, -1).gather(1, self.pick) for v in (positive, negative))
        return torch.cat(tuple(both), 1)


class Ledger(Protocol):
    """What the rounding of a pull costs, so that its result can be made valid (see `rounding`)."""

    def step(self, node: Node, rows: Rows, free: Tensor | None) -> Tensor:
        """At least the error (B or 1, K) of the backward step of these rows through the node."""
        ...

    def end(self, node: Node, rows: Rows) -> Tensor:
        """At least the error (B or 1, K) of the rows' minimum over the node's box."""
        ...


class _Accumulator:
    """Coefficients waiting at each node, shared or per sample, and the offset so far."""

    def __init__(self, selection: Selection | None) -> None:
        self.selection = selection
        self.shared: dict[Node, Rows] = {}
        self.own: dict[Node, Rows] = {}
        self.shared_offset: Tensor | None = None
        self.own_offset: Tensor | None = None
        self.cost: Tensor | None = None

    def spread(self, shared: Rows) -> Rows:
        return shared if self.selection is None else self.selection.spread_rows(shared)

    def add(self, node: Node, rows: Rows, *, shared: bool) -> None:
        table = self.shared if shared else self.own
        table[node] = rows if node not in table else _plus(table[node], rows)

    def add_offset(self, value: Tensor | None, *, shared: bool) -> None:
        if value is None:
            return
        if shared:
            self.shared_offset = value if self.shared_offset is None else self.shared_offset + value
        else:
            self.own_offset = value if self.own_offset is None else self.own_offset + value

    def charge(self, cost: Tensor | None, *, shared: bool) -> None:
        """Takes a cost off the bound, of shared rows off those of both signs."""
        if cost is not None:
            own = self.selection.gather(cost, cost) if shared and self.selection is not None else cost
            self.cost = own if self.cost is None else self.cost + own

    def take(self, node: Node) -> tuple[Rows | None, bool]:
        """The coefficients at a node and whether they are still shared."""
        shared, own = self.shared.pop(node, None), self.own.pop(node, None)
        if own is None:
            return shared, self.selection is not None
        return (own if shared is None else _plus(own, self.spread(shared))), False

    def total(self, bound: Tensor) -> Tensor:
        if self.own_offset is not None:
            bound = bound + self.own_offset
        if self.shared_offset is not None and self.selection is not None:
            bound = bound + self.selection.spread(self.shared_offset)
        return bound if self.cost is None else bound - self.cost


def lower_bounds(
    graph: Graph,
    start: Mapping[Node, Rows],
    inputs: InputSet,
    boxes: Mapping[Node, Interval],
    *,
    selection: Selection | None = None,
    extra: Mapping[Node, Tensor] | None = None,
    slopes: Slopes | None = None,
    stop: Callable[[Node], bool] = lambda node: False,
    least: Callable[[Rows], Tensor] | None = None,
    seen: dict[Node, Rows] | None = None,
    ledger: Ledger | None = None,
) -> Tensor:
    """Lower bounds over the input set of `sum over nodes of <a_k, node>`.

    start: coefficients per node, (B or 1, K, *shape); with a `selection` they are shared rows (1, U, *shape)
    and the result holds both signs, (B, 2K). `extra`: more coefficients (B, R, *shape), one set for each row
    of the result, where `start` is shared. `slopes`: the relaxations' free parameters, which the pull sets
    up where they are missing; None for the rules' own choice. `boxes` bounds the inputs of every
    nonlinearity met. Where `stop(node)` holds the node's own box ends the pull. `least`: what stands for the
    minimum of the input's rows. `seen` receives the rows that arrive at the input and at nonlinearities.
    `ledger`: tells what rounding may have added, which is taken off.
    Result (B, K), or (1, K) where no sample matters.
    """
    waiting = _Accumulator(selection)
    for node, rows in start.items():
        waiting.add(node, rows, shared=selection is not None)
    for node, more in (extra or {}).items():
        waiting.add(node, more, shared=False)
    bound: Tensor | None = None
    for node in reversed(graph.nodes[: max(n.index for n in (*start, *(extra or ()))) + 1]):
        waits, shared = waiting.take(node)
        if waits is None:
            continue
        if seen is not None and (node.op is None or not find_rule(node).affine):
            seen[node] = waits
        if node.op is None or stop(node):
            if node.op is None and least is not None:
                end = least(waits)
            else:
                end = _least(node, waits, inputs, boxes)
            if shared and selection is not None:
                end = selection.gather(end, _least(node, _negated(waits), inputs, boxes))
            bound = end if bound is None else bound + end
            waiting.charge(None if ledger is None else ledger.end(node, waits), shared=shared)
            continue
        rule = find_rule(node)
        if shared and not rule.affine:
            waits, shared = waiting.spread(waits), False
        pulled, offset, cost = _step(rule, node, waits, boxes, slopes, ledger)
        waiting.add_offset(offset, shared=shared)
        waiting.charge(cost, shared=shared)
        for parent, coefficients in zip(node.inputs, pulled, strict=True):
            waiting.add(parent, coefficients, shared=shared)
    assert bound is not None  # every node descends from the input
    return waiting.total(bound)


def input_planes(
    graph: Graph, start: Mapping[Node, Rows], inputs: InputSet, boxes: Mapping[Node, Interval]
) -> tuple[Tensor, Tensor]:
    """Linear functions of the input below `sum over nodes of <a_k, node>` within `boxes`.

    start: as for `lower_bounds`, without a selection. Coefficients (B or 1, K, *input) and constants
    (B or 1, K).
    """
    found: list[Tensor] = []

    def keep(rows: Rows) -> Tensor:
        found.append(_dense(rows))
        return found[0].new_zeros(found[0].shape[:2])

    constants = lower_bounds(graph, start, inputs, boxes, least=keep)
    return found[0], constants


def neuron_rows(neurons: Tensor, node: Node, dtype: torch.dtype) -> Rows:
    """Identity rows (1, U, *shape) of chosen neurons (U,), on windows where the node is an image."""
    if len(node.shape) == 3 and min(node.shape[1:]) > 1:
        channels, height, width = node.shape
        return WindowRows.of_neurons(neurons, (channels, height, width), dtype)
    hot = torch.zeros(neurons.shape[0], node.numel, dtype=dtype, device=neurons.device)
    hot[torch.arange(neurons.shape[0], device=neurons.device), neurons] = 1
    return hot.reshape(1, neurons.shape[0], *node.shape)


def _step(
    rule: Rule,
    node: Node,
    rows: Rows,
    boxes: Mapping[Node, Interval],
    slopes: Slopes | None,
    ledger: Ledger | None,
) -> tuple[tuple[Rows, ...], Tensor | None, Tensor | None]:
    """One backward step, on windows where the rule can: coefficients, offset, and what rounding costs."""
    free: Tensor | None = None
    if isinstance(rows, WindowRows):
        small: PulledWindows | None = None
        if not rows.wide:
            tuned = slopes is not None and rule.tunes_windows
            free = slopes.at(node, rule, rows, boxes) if slopes is not None and tuned else None
            small = rule.backward_windows(node, rows, boxes, free)
        if small is not None:
            return small.rows, small.offset, None if ledger is None else ledger.step(node, rows, free)
        rows = rows.dense()
    free = None if slopes is None else slopes.at(node, rule, rows, boxes)
    pulled: Pulled = rule.backward(node, rows, boxes, free)
    return pulled.coefficients, pulled.offset, None if ledger is None else ledger.step(node, rows, free)


def _plus(one: Rows, other: Rows) -> Rows:
    if isinstance(one, WindowRows) and isinstance(other, WindowRows):
        joint = one.plus(other)
        if joint is not None:
            return joint
    return _dense(one) + _dense(other)


def _dense(rows: Rows) -> Tensor:
    return rows.dense() if isinstance(rows, WindowRows) else rows


def _negated(rows: Rows) -> Rows:
    return replace(rows, a=-rows.a) if isinstance(rows, WindowRows) else -rows


def _least(node: Node, rows: Rows, inputs: InputSet, boxes: Mapping[Node, Interval]) -> Tensor:
    """Smallest <a_k, x> over the input set at the input, over the node's box elsewhere."""
    boxed = node in boxes and (node.op is not None or isinstance(inputs, Box))
    if isinstance(rows, WindowRows):
        if boxed:
            mid, radius = boxes[node].mid_radius()
            size = rows.with_coefficients(rows.a.abs(), clean=rows.clean)
            return rows.contract(mid) - size.contract(radius)
        rows = rows.dense()
    return boxes[node].minimum(rows) if boxed else -inputs.support(-rows)

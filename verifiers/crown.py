"""CROWN: linear bounds pulled back to the input (Zhang et al. 2018, arXiv 1811.00866).

Hidden neurons get their own backward bounds first, but only those whose sign (or shape) the interval
bounds leave open, and only where interval bounds are not exact already. CROWN-IBP (Zhang et al. 2019,
arXiv 1906.06316) takes interval bounds for all hidden neurons and pulls only the specification.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from robustbench_local.specs import Box, InputSet, Query

from .backward import Selection, lower_bounds, neuron_rows
from .exactness import exact_nodes
from .graph import Graph, Node
from .ibp import input_interval, interval_bounds, specification_rows
from .interval import Interval
from .memory import Chunk, in_parts, row_chunks
from .rule import Elementwise, find_rule
from .slopes import Slopes
from .verifier import DEFAULT_BUDGET, Bounds, Budget, prepared, verifier

__all__ = ["CROWN", "CrownIBP", "crown_bounds", "open_neurons"]


@verifier("crown-ibp")
@dataclass(frozen=True, slots=True)
class CrownIBP:
    """Interval bounds for the hidden neurons, one backward pass for the specification.

    `intersect` also takes the interval bound of each row where it is tighter.
    """

    name: str = "crown-ibp"
    intersect: bool = True

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Upper bounds by one backward pass."""
        graph, query = prepared(graph, query)
        boxes = interval_bounds(graph, query.inputs)
        return _finish(graph, query, boxes, self.intersect, complete=True)


@verifier("crown")
@dataclass(frozen=True, slots=True)
class CROWN:
    """Backward bounds for the specification and for every undecided hidden neuron.

    `intersect` keeps the tighter of the backward and the interval bound for every hidden neuron and row
    (never looser than IBP); without it the bounds are those of the published algorithm.
    """

    name: str = "crown"
    intersect: bool = True

    def bound(self, graph: Graph, query: Query, budget: Budget = DEFAULT_BUDGET) -> Bounds:
        """Upper bounds by backward passes; out of time, the remaining hidden neurons keep interval bounds."""
        graph, query = prepared(graph, query)
        boxes, complete = crown_bounds(graph, query.inputs, budget, intersect=self.intersect)
        return _finish(graph, query, boxes, self.intersect, complete=complete)


def _finish(
    graph: Graph, query: Query, boxes: dict[Node, Interval], intersect: bool, *, complete: bool
) -> Bounds:
    rows = specification_rows(graph, query, boxes, to_input=True)
    if intersect:
        rows = torch.minimum(rows, specification_rows(graph, query, boxes, to_input=False))
    return Bounds(rows, query.combine(rows), complete)


def crown_bounds(
    graph: Graph,
    inputs: InputSet,
    budget: Budget,
    *,
    intersect: bool = True,
    known: Mapping[Node, Interval] | None = None,
    pull: HiddenPull | None = None,
    image: Image | None = None,
) -> tuple[dict[Node, Interval], bool]:
    """Bounds of every node, hidden neurons refined backward; and whether the time sufficed for all.

    known: valid bounds of some nodes, which the new ones are intersected with. pull: how rows of hidden
    neurons are bounded; one backward pass by default. image: a node's box from those of its inputs; by
    default that of its rule.
    """
    deadline, complete = budget.deadline(), True
    known = {} if known is None else known
    pull = plain_pull if pull is None else pull
    boxes: dict[Node, Interval] = {graph.input: input_interval(graph, inputs)}
    straight = isinstance(inputs, Box)
    exact = exact_nodes(graph) if straight else frozenset()
    # tighter than intervals over the hull
    base = {} if straight or image is not None else interval_bounds(graph, inputs)
    image = _interval if image is None else image
    for node in graph.nodes[1:]:
        box = image(node, [boxes[p] for p in node.inputs])
        box = box.intersect(base[node]) if node in base else box
        boxes[node] = box.intersect(known[node]) if node in known else box
        if node in exact:
            continue
        mask = _open(graph, node, boxes)
        if mask is None:
            continue
        bound, row_bytes = pull.planned(graph, node, mask, budget, box.lower)
        chunks = _until(deadline, row_chunks(mask, row_bytes, budget))
        boxes[node], finished = _refine(graph, node, inputs, {**known, **boxes}, chunks, bound)
        boxes[node] = boxes[node].intersect(box) if intersect else boxes[node]
        complete &= finished
    return boxes, complete


Image = Callable[[Node, Sequence[Interval]], Interval]
"""A node's box from those of its inputs."""


def _interval(node: Node, boxes: Sequence[Interval]) -> Interval:
    return find_rule(node).interval(node, *boxes)


def _until(deadline: float, chunks: Iterable[Chunk]) -> Iterator[Chunk | None]:
    """The chunks as long as there is time; a closing None where it ran out."""
    for chunk in chunks:
        if time.monotonic() > deadline:
            yield None
            return
        yield chunk


def undecided(graph: Graph, node: Node, box: Interval) -> Tensor | None:
    """Mask (B, n) of coordinates that some reader wants bounded tightly; None where there are none."""
    mask: Tensor | None = None
    for reader in graph.consumers[node]:
        rule = find_rule(reader)
        for position, parent in enumerate(reader.inputs):
            wanted = rule.undecided(reader, position, box) if parent is node else None
            if wanted is not None:
                mask = wanted if mask is None else mask | wanted
    return None if mask is None or not bool(mask.any()) else mask.reshape(mask.shape[0], -1)


def _open(graph: Graph, node: Node, boxes: dict[Node, Interval]) -> Tensor | None:
    """`undecided` without functions of one refined coordinate: a backward pass starts with lines around the
    function's image of that coordinate's box, so it cannot give more.
    """
    rule = find_rule(node)
    mask = None if rule.settled else undecided(graph, node, boxes[node])
    if mask is None or not isinstance(rule, Elementwise):
        return mask
    refined = rule.undecided(node, 0, boxes[node.inputs[0]])
    mask = mask if refined is None else mask & ~refined.reshape(mask.shape)
    return mask if bool(mask.any()) else None


def open_neurons(graph: Graph, boxes: dict[Node, Interval]) -> int:
    """How many hidden neurons of all samples get a backward pass of their own where these are the boxes."""
    masks = [_open(graph, node, boxes) for node in graph.nodes[1:]]
    return sum(int(mask.sum()) for mask in masks if mask is not None)


def _refine(
    graph: Graph,
    node: Node,
    inputs: InputSet,
    boxes: Mapping[Node, Interval],
    chunks: Iterable[Chunk | None],
    pull: RowPull,
) -> tuple[Interval, bool]:
    """The node's box with backward bounds for the coordinates of the chunks; and whether all were bounded."""
    old, finished = boxes[node], True
    lower, upper = (t.reshape(t.shape[0], -1) for t in (old.lower, old.upper))
    batch = lower.shape[0]

    def bound(samples: Tensor, part: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The packed rows' places and whether they are real; their lower bounds and their negatives'."""
        rows, pick, valid = _pack(part)
        everyone = samples.shape[0] == batch and bool((samples[1:] > samples[:-1]).all())
        some_inputs = inputs if everyone else inputs.select(samples)
        some_boxes = boxes if everyone else {n: b.select(samples) for n, b in boxes.items()}
        index = None if everyone else samples
        return rows[pick], valid, pull(HiddenRows(graph, node, some_inputs, some_boxes, rows, pick, index))

    for found in in_parts(chunks, bound):
        if found is None:
            finished = False
            break
        samples, _, (place, valid, both) = found
        k = place.shape[1]
        lower = lower.index_copy(0, samples, _scatter(lower[samples], place, valid, both[:, :k]))
        upper = upper.index_copy(0, samples, _scatter(upper[samples], place, valid, -both[:, k:]))
    return Interval(lower.reshape(old.lower.shape), upper.reshape(old.upper.shape)), finished


@dataclass(frozen=True, slots=True, eq=False)
class HiddenRows:
    """Hidden neurons to be bounded from both sides: `neurons` (U,) of `node`, `pick` (B, K) into them.

    `boxes` hold every node below, the node itself as known so far, and what is known of nodes above.
    `samples` (B,): which of the whole batch these are; None for all of them.
    """

    graph: Graph
    node: Node
    inputs: InputSet
    boxes: Mapping[Node, Interval]
    neurons: Tensor
    pick: Tensor
    samples: Tensor | None = None

    def lower(self, slopes: Slopes | None, extra: Mapping[Node, Tensor] | None = None) -> Tensor:
        """Lower bounds of the picked neurons, then of their negatives, plus `extra` terms: (B, 2K)."""
        start = {self.node: neuron_rows(self.neurons, self.node, self.boxes[self.node].lower.dtype)}
        selection = Selection(self.pick)
        return lower_bounds(
            self.graph, start, self.inputs, self.boxes, selection=selection, extra=extra, slopes=slopes
        )


RowPull = Callable[[HiddenRows], Tensor]
"""Lower bounds of the picked neurons, then of their negatives: (B, 2K)."""


class HiddenPull(Protocol):
    """How hidden neurons are bounded backward."""

    def planned(
        self, graph: Graph, node: Node, mask: Tensor, budget: Budget, like: Tensor
    ) -> tuple[RowPull, int]:
        """How the neurons (B, n) of `node` are bounded, in pieces; the memory of one row and its copies."""
        ...


class _Plain:
    """One backward pass with the rules' own choices."""

    def planned(
        self, graph: Graph, node: Node, mask: Tensor, budget: Budget, like: Tensor
    ) -> tuple[RowPull, int]:
        """One row of coefficients at the widest node below, with working copies."""
        widest = max(n.numel for n in graph.nodes[: node.index + 1])
        return _plain_bounds, 4 * widest * like.element_size()


def _plain_bounds(rows: HiddenRows) -> Tensor:
    return rows.lower(None)


plain_pull = _Plain()


def _pack(mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Masked coordinates per sample: rows (U,) used by any, pick (B, K) into them, valid (B, K)."""
    rows = mask.any(0).nonzero().squeeze(1)
    narrow = mask[:, rows]
    count = narrow.sum(1)
    width = int(count.max())
    # a stable sort of "not masked" brings each sample's masked rows to the front, in order
    pick = torch.argsort((~narrow).to(torch.uint8), dim=1, stable=True)[:, :width]
    valid = torch.arange(width, device=mask.device) < count.unsqueeze(1)
    return rows, pick, valid


def _scatter(old: Tensor, place: Tensor, valid: Tensor, new: Tensor) -> Tensor:
    """`old` (B, n) with `new` (B, K) at `place` (B, K) where valid."""
    keep = old.gather(1, place)
    # invalid places repeat real ones: send them to a spare column instead
    spare = torch.where(valid, place, old.shape[1])
    wide = torch.cat((old, old[:, :1]), 1)
    return wide.scatter(1, spare, torch.where(valid, new, keep))[:, :-1]

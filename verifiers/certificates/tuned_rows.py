"""Bounds of hidden coordinates by backward passes each with slopes of its own: alpha-CROWN, for the checker.

Xu et al. 2021, arXiv 2011.13824: every row's slopes are raised for its own sake, node by node. The bounds
themselves are the checker's, with the slopes as they are written.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_local.checker import Bounds, Network
from robustbench_local.specs import Box

from ..backward import lower_bounds
from ..graph import Graph, Node
from ..interval import Interval
from ..slopes import Slopes
from .ascent import Ascent
from .claim import Claim
from .leaves import lines_of, open_places, rounded
from .trees import Way

__all__ = ["Tuned", "tuned_bounds"]

_ASCENT = Ascent(10, 0.3, 0.9)
_NUMBERS = 2**21  # in the rows that are tuned at once
_MOST = 2**25  # slopes that are kept
_WORTH = 0.01  # of a coordinate's width that a row must take away
_USUAL = np.array([[-1]])

Lines = dict[tuple[int, str], NDArray[np.float64]]


@dataclass(slots=True, eq=False)
class Tuned:
    """The checker's bounds of one problem, the way to them, and what the file says for it.

    sets: slopes of every row, by function and side; rows: by node, 2 * coordinate, or one more for the upper
    bound; ids: coordinates of a function that slopes are of; seconds: that the checker will take for them.
    """

    bounds: Bounds
    way: Way
    ids: Mapping[int, NDArray[np.int64]]
    sets: list[Lines] = field(default_factory=list)
    rows: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """R rows that start at a node, each as a problem of its own, over the same boxes."""

    graph: Graph
    node: Node
    rows: Tensor
    inputs: Box
    boxes: Mapping[Node, Interval]

    def lower(self, slopes: Slopes) -> Tensor:
        """Lower bounds (R, 1)."""
        return lower_bounds(self.graph, {self.node: self.rows}, self.inputs, self.boxes, slopes=slopes)


def tuned_bounds(
    claim: Claim,
    graph: Graph,
    nodes: Sequence[Node],
    known: tuple[Network, Way, Mapping[int, NDArray[np.int64]]],
    until: float,
) -> Tuned:
    """The bounds of a claim about one problem; what is not tuned by `until` is bounded by the usual slopes.

    nodes: the graph's nodes in the certificate's order; known: the network as the checker reads it, the way
    without tuning, and the open coordinates of functions in its bounds.
    """
    network, way, ids = known
    bounds = Bounds(network, {}, [claim.lower, claim.upper], False, np.inf)
    made, boxes = Tuned(bounds, way, ids), {nodes[0]: _interval(bounds, 0, nodes[0])}
    kept, each = 0, sum(map(len, ids.values()))
    for number in range(1, len(nodes)):
        bounds.add(number)
        if number in way.refined:
            bounds.refine(number, _USUAL)
            fits = kept + 2 * len(bounds.lower[number][0]) * each <= _MOST
            if fits and time.monotonic() < until:
                kept += each * _tuned_node(claim, graph, nodes, (made, boxes), number, until)
        boxes[nodes[number]] = _interval(bounds, number, nodes[number])
    return made


def _tuned_node(
    claim: Claim,
    graph: Graph,
    nodes: Sequence[Node],
    known: tuple[Tuned, Mapping[Node, Interval]],
    number: int,
    until: float,
) -> int:
    """Tunes the rows of one node; how many are kept."""
    made, boxes = known
    bounds, node = made.bounds, nodes[number]
    smooth = number in bounds.network.smooth
    places = open_places(bounds, number, smooth=smooth)
    codes = (2 * places[:, None] + np.arange(2)).reshape(-1)
    first, rows = len(made.sets), list[NDArray[np.int64]]()
    step = max(4, _NUMBERS // sum(n.numel for n in graph.nodes[: node.index + 1]))
    for some in (codes[i : i + step] for i in range(0, len(codes), step)):
        if time.monotonic() > until:
            break
        sets, kept = _tuned(claim, graph, nodes, (made, boxes), (number, some, smooth), until)
        if len(kept):
            begun = time.monotonic()
            bounds.stored = _stored(sets, made.ids)
            bounds.refine(number, np.arange(len(kept))[None], None, kept)
            bounds.stored = {}
            made.seconds += time.monotonic() - begun
            made.sets += sets
            rows.append(kept)
    if rows:
        made.rows[number] = np.concatenate(rows)
        count = len(made.rows[number])
        made.way = replace(made.way, tuned=(*made.way.tuned, (number, 0, first, count)))
    return len(made.sets) - first


def _tuned(
    claim: Claim,
    graph: Graph,
    nodes: Sequence[Node],
    known: tuple[Tuned, Mapping[Node, Interval]],
    about: tuple[int, NDArray[np.int64], bool],
    until: float,
) -> tuple[list[Lines], NDArray[np.int64]]:
    """The slopes of those of some rows that are worth it, and these rows."""
    (made, boxes), (number, codes, smooth) = known, about
    count, node = len(codes), nodes[number]
    start = torch.zeros(count, 1, node.numel, dtype=torch.float64)
    start[torch.arange(count), 0, torch.from_numpy(codes // 2)] = torch.from_numpy(1.0 - 2.0 * (codes % 2))
    index = torch.zeros(count, dtype=torch.int64)
    own = {n: box.select(index) for n, box in boxes.items()}
    lower, upper = (torch.from_numpy(end).expand(count, -1) for end in (claim.lower, claim.upper))
    shape = graph.input_shape
    box = Box(lower.reshape(count, *shape), upper.reshape(count, *shape))
    batch = _Batch(graph, node, start.reshape(count, 1, *node.shape), box, own)
    needed = torch.full((count, 1), torch.inf if smooth else 0.0, dtype=torch.float64)
    slopes = rounded(_ASCENT.best(batch, Slopes(), needed, until))
    with torch.no_grad():
        found = batch.lower(slopes).squeeze(1).numpy()
        low, high = (end[number][0, codes // 2] for end in (made.bounds.lower, made.bounds.upper))
        before = np.where(codes % 2 == 0, low, -high)
        worth = np.flatnonzero(found - before > _WORTH * (high - low))
        sets: list[Lines] = [{} for _ in worth]
        for function, lines in lines_of(graph, own, slopes).items():
            place = nodes.index(function)
            sides = ("below", "above") if claim.network.nodes[place]["op"] == "sigmoid" else ("below",)
            for side, values in zip(sides, lines, strict=False):
                for made_set, k in zip(sets, worth, strict=True):
                    made_set[place, side] = values[k, made.ids[place]].float().double().numpy()
    return sets, codes[worth]


def _stored(sets: Sequence[Lines], ids: Mapping[int, NDArray[np.int64]]) -> dict[str, NDArray[np.float64]]:
    """The arrays of the file as the checker reads them."""
    stored: dict[str, NDArray[np.float64]] = {}
    for number, side in {key for lines in sets for key in lines}:
        stored[f"proof/{number}.ids"] = ids[number]  # type: ignore[assignment]
        stored[f"proof/{number}.{side}"] = np.stack([lines[number, side] for lines in sets])
    return stored


def _interval(bounds: Bounds, number: int, node: Node) -> Interval:
    low, high = (
        torch.from_numpy(e[number].copy()).reshape(-1, *node.shape) for e in (bounds.lower, bounds.upper)
    )
    return Interval(low, high)

"""On which part of its set a problem is proved so far, by points drawn from the set.

The volume of a domain, a part of the set where hidden coordinates have given signs, has no closed form. But
whether a point lies in an open domain is seen from the network's values there. At the points that lie in none
all clauses are refuted; their number bounds the proved share from below with a confidence.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from robustbench_local.specs import Box, Query

from ..graph import Graph, Node
from ..smoothing import binomial_lower_bound
from .domains import Domains
from .state import BranchState, TreesState

__all__ = ["POINTS", "WRONG", "proved_share"]

POINTS = 256
"""Points of every problem, the same in every call: what later calls prove comes on top."""

WRONG = 1e-3
"""The chance that a problem's share is less than what is said."""

_FIRST = 16  # points by which the time that all take is measured
_WORK = 2**27  # signs that are looked at


def proved_share(
    graph: Graph, query: Query, state: BranchState, seconds: float, memory: int
) -> Tensor | None:
    """At least which share (B,) of every box is proved, each but for a chance of `WRONG`.

    1 where the whole set is, 0 where a counterexample is known, or where a domain had to be given up. None
    for sets that are no boxes, and where it would take longer than about `seconds`.
    memory: bytes for the network's values at once.
    """
    some = query.select(state.wanted)
    if not isinstance(some.inputs, Box):
        return None
    signs = sum(domains.splits.node.shape[1] for one in state.trees for domains, _ in one.open)
    numbers = _numbers(state)
    if signs * POINTS > _WORK or not _quick(graph, some.inputs, numbers, seconds):
        return None
    held = torch.ones(len(state.wanted), POINTS, dtype=torch.bool, device=graph.device)
    at_once = max(1, memory // (8 * POINTS * sum(node.numel for node in graph.nodes)))
    for index in torch.arange(len(held), device=held.device).split(at_once):
        values = _values(graph, some.inputs.select(index), numbers, POINTS) if numbers else {}
        for one in state.trees:
            _take(one, values, held, index)
    held &= state.broken.logical_not().unsqueeze(1)
    share = query.holds(state.upper.index_copy(0, state.wanted, state.searched())).to(torch.float64)
    for w, b in enumerate(state.wanted.tolist()):
        if share[b] < 1:
            share[b] = binomial_lower_bound(int(held[w].sum()), POINTS, WRONG)
    return share


def _take(one: TreesState, values: dict[int, Tensor], held: Tensor, index: Tensor) -> None:
    """Takes the points (W, POINTS) that lie in what some trees leave open from those that are `held`.

    values: at the points of the problems `index`, which follow one another.
    """
    first, last = int(index[0]), int(index[-1])
    unknown = one.worst <= 0  # NaN: a bound that is no number proves nothing
    unknown |= one.worst.isnan()
    held[one.problem[unknown]] = False
    held[one.problem[one.left]] = False
    chosen: dict[int, tuple[Domains, list[int]]] = {}
    for domains, k in one.open:
        chosen.setdefault(id(domains), (domains, []))[1].append(k)
    for domains, places in chosen.values():
        part = domains.select(torch.tensor(places, device=held.device))
        problem = one.problem[part.root]
        here = ((problem >= first) & (problem <= last)).nonzero().squeeze(1)
        part, problem, splits = part.select(here), problem[here], part.splits.select(here)
        inside = torch.ones(part.count, held.shape[1], dtype=torch.bool, device=held.device)
        for s in range(splits.node.shape[1]):
            for number in splits.node[:, s].unique().tolist():
                if number >= 0:
                    here = (splits.node[:, s] == number).nonzero().squeeze(1)
                    z = values[number][problem[here] - first, :, splits.coordinate[here, s]]
                    side, point = splits.side[here, s].unsqueeze(1), splits.point[here, s].unsqueeze(1)
                    inside[here] &= side * (z - point) >= 0
        for d, w in enumerate(problem.tolist()):
            held[w] &= ~inside[d]


def _numbers(state: BranchState) -> frozenset[int]:
    """The nodes that are split somewhere."""
    batches = {id(domains): domains.splits.node for one in state.trees for domains, _ in one.open}
    return frozenset(n for node in batches.values() for n in node.unique().tolist() if n >= 0)


def _quick(graph: Graph, inputs: Box, numbers: frozenset[int], seconds: float) -> bool:
    begun = time.monotonic()
    one = inputs.select(torch.arange(min(1, inputs.batch), device=inputs.device))
    _values(graph, one, numbers, _FIRST)
    return (time.monotonic() - begun) * inputs.batch * POINTS / _FIRST <= seconds


def _values(graph: Graph, inputs: Box, numbers: frozenset[int], count: int) -> dict[int, Tensor]:
    """The values (W, count, n) of some nodes at points drawn from W boxes."""
    source = torch.Generator().manual_seed(0)
    share = torch.rand(1, count, *inputs.shape, generator=source, dtype=torch.float64)
    lower, upper = (face.cpu().unsqueeze(1) for face in (inputs.lower, inputs.upper))
    x = torch.lerp(lower, upper, share).flatten(0, 1).to(graph.device, graph.dtype)
    known: dict[Node, Tensor] = {graph.input: x}
    for node in graph.nodes[1:]:
        known[node] = node.run(*(known[parent] for parent in node.inputs))
    shape = (inputs.batch, count, -1)
    return {number: known[graph.nodes[number]].reshape(shape) for number in numbers}

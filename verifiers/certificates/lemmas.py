"""Bounds of single hidden neurons by small trees of their own, for the checker: lemmas before the claim.

The trees are those of the engine (`branching.neuron_trees`), grown anew, layer by layer, over bounds that the
checker finds; what a tree shows is bounded in float64, with the numbers that the file will hold.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_local.checker import Bounds, Network
from robustbench_local.specs import Box

from ..branching.domains import Domains
from ..branching.neuron_trees import NeuronTrees
from ..branching.problem import Roots
from ..branching.settings import Settings
from ..graph import Graph, Node
from ..interval import Interval
from ..rule import find_rule
from .claim import Claim
from .engine_tree import EngineLeaf, engine_leaf, engine_query, planted
from .leaves import Domain, DomainBatch, Multipliers, hang, rounded, stored_slopes
from .trees import Lemma, Refuted, Tree

__all__ = ["Growth", "Lemmas"]

_AT_ONCE = 128  # domains, as in the engine's search
_TRIES = Settings().tries
_USUAL = np.array([[-1]])
_WORTH = 0.01  # of a coordinate's width that a lemma must take away
_ROWS = 2**20  # numbers in the rows of one batch of neurons
_MOST = 2**27  # slopes of leaves that are kept


@dataclass(slots=True, eq=False)
class Lemmas:
    """What is shown of the hidden nodes of all problems, and their bounds with it as the checker finds them.

    seconds: that the checker will take for the lemmas, about; slopes: that their leaves hold.
    """

    bounds: Bounds
    made: list[Lemma] = field(default_factory=list)
    seconds: float = 0.0
    slopes: int = 0


@dataclass(slots=True, eq=False)
class _Root:
    """Holds the tree of one lemma."""

    tree: Tree = None


@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """How lemmas are found.

    nodes: the graph's nodes in the certificate's order, and `ids` the coordinates of functions that slopes
    are of. refined: nodes that the checker bounds by backward passes, too. way: the number of the way that is
    without clipping. rounds: splits for each end of each neuron. cushion: room between what leaves show and
    the lemma, relative to the neuron's size.
    """

    claim: Claim
    graph: Graph
    nodes: Sequence[Node]
    network: Network
    ids: Mapping[int, NDArray[np.int64]]
    refined: tuple[int, ...]
    way: int
    rounds: int
    cushion: float

    def run(self, until: float) -> Lemmas:
        """Lemmas about everything that is undecided, node by node, as far as time and memory allow."""
        box = [self.claim.lower, self.claim.upper]
        found = Lemmas(Bounds(self.network, {}, box, False, np.inf))
        for number in range(1, len(self.nodes)):
            self._add(found.bounds, number, ())
            if number in self.refined and time.monotonic() < until and found.slopes < _MOST:
                self._grow(found, number, until)
        return found

    def _add(self, bounds: Bounds, number: int, known: Sequence[NDArray[np.float64]]) -> None:
        """Bounds of the next node as the checker finds them, known: what lemmas say of it."""
        bounds.add(number, 0, *known)
        if number in self.refined:
            bounds.refine(number, _USUAL)

    def _grow(self, found: Lemmas, number: int, until: float) -> None:
        """Lemmas about one node, and its bounds with them."""
        bounds, node = found.bounds, self.nodes[number]
        low, high = bounds.lower[number], bounds.upper[number]
        smooth = number in bounds.network.smooth
        problem, place = np.nonzero((low < high) if smooth else (low < 0) & (high > 0))
        boxes, made = self._boxes(bounds), list[Lemma]()
        step = max(1, _ROWS // node.numel)
        for i in range(0, len(problem), step):
            neurons = problem[i : i + step], place[i : i + step]
            leaves = self._trees(boxes, node, neurons, until).grown()
            begun = time.monotonic()
            shown = self._shown(leaves, (boxes, node), neurons)
            found.seconds += time.monotonic() - begun
            found.slopes += leaves.count * sum(len(own) for k, own in self.ids.items() if k <= number)
            made += self._worth(shown, number, neurons, (low, high), smooth=smooth)
            if time.monotonic() > until or found.slopes > _MOST:
                break
        if not made:
            return
        known = [np.full_like(low, np.inf), np.full_like(low, np.inf)]  # of -z and z, as the checker has it
        for lemma in made:
            known[lemma.side < 0][lemma.problem, lemma.coordinate] = -lemma.side * lemma.bound
        found.made += made
        for ends in (bounds.lower, bounds.upper, bounds.reach):
            ends.pop()
        self._add(bounds, number, known)

    def _boxes(self, bounds: Bounds) -> dict[Node, Interval]:
        """The boxes of the graph's nodes so far, those in between by intervals."""
        count = len(bounds.lower)
        found = {}
        for node, low, high in zip(self.nodes, bounds.lower, bounds.upper, strict=False):
            ends = (torch.from_numpy(end.copy()).reshape(-1, *node.shape) for end in (low, high))
            found[node] = Interval(*ends)
        for node in self.graph.nodes[: self.nodes[count - 1].index + 1]:
            if node not in found:
                found[node] = find_rule(node).interval(node, *(found[p] for p in node.inputs))
        return found

    def _trees(
        self, boxes: Mapping[Node, Interval], node: Node, neurons: tuple[NDArray[np.int64], ...], until: float
    ) -> NeuronTrees:
        """The engine's trees, in float32."""
        graph, claim = self.graph.to(torch.float32), self.claim
        own = {graph.nodes[n.index]: Interval(b.lower.float(), b.upper.float()) for n, b in boxes.items()}
        query = engine_query(graph, claim)
        none = torch.zeros(0, 1, graph.output.numel)
        whole = Roots(graph, query, torch.zeros(0, dtype=torch.int64), none, none[:, :, 0], own, {})
        problem, place = (torch.from_numpy(index) for index in neurons)
        effort = (self.rounds, _TRIES, _AT_ONCE)
        return NeuronTrees.of(whole, graph.nodes[node.index], (problem, place), effort, until)

    def _shown(
        self,
        leaves: Domains,
        about: tuple[Mapping[Node, Interval], Node],
        neurons: tuple[NDArray[np.int64], ...],
    ) -> list[tuple[float, Tree]]:
        """What each of the 2K trees shows, and the tree as the file says it."""
        (boxes, node), (problem, place) = about, neurons
        graph, count = self.graph.until(node), len(problem)
        rows = torch.zeros(count, node.numel, dtype=torch.float64)
        rows[torch.arange(count), torch.from_numpy(place)] = 1.0
        C = torch.cat((-rows, rows)).expand(self.claim.batch, -1, -1)
        roots = [_Root() for _ in range(2 * count)]
        whole = [
            Domain(int(problem[r % count]), 0, r, (), np.zeros(0), {}, (root, "tree"))
            for r, root in enumerate(roots)
        ]
        mine: list[list[EngineLeaf]] = [[] for _ in roots]
        for k, r in enumerate(leaves.root.tolist()):
            mine[r].append(engine_leaf(leaves, k))
        numbers = {n.index: k for k, n in enumerate(self.nodes)}
        domains = [
            d for root, own in zip(whole, mine, strict=True) for d in planted(root, own, graph, numbers)
        ]
        bound = np.full(len(roots), np.inf)
        box = Box(torch.from_numpy(self.claim.lower), torch.from_numpy(self.claim.upper))
        for some in (domains[i : i + _AT_ONCE] for i in range(0, len(domains), _AT_ONCE)):
            batch = DomainBatch.of(graph, box, boxes, (C, torch.zeros(C.shape[:2], dtype=C.dtype)), some)
            for d, value in zip(some, self._leaves(batch, some), strict=True):
                bound[d.atom] = min(bound[d.atom], value)
        return [(float(value), root.tree) for value, root in zip(bound, roots, strict=True)]

    def _leaves(self, batch: DomainBatch, domains: Sequence[Domain]) -> list[float]:
        """Hangs the leaves of some domains; what they show, infinite where there is no point."""
        with torch.no_grad():
            settled = rounded(batch.start(domains), batch.unit())
            bound = batch.lower(settled).squeeze(1)
            crossed = [(b.lower > b.upper).flatten(1).any(1) for b in batch.boxes.values()]
            bound = bound.nan_to_num(nan=-torch.inf).masked_fill(torch.stack(crossed).any(0), torch.inf)
            lines, number = batch.lines(settled), {node: k for k, node in enumerate(self.nodes)}
            sizes = (settled.values[Multipliers] * batch.unit()) if Multipliers in settled.values else None
            for k, d in enumerate(domains):
                multipliers = np.zeros(0) if sizes is None else sizes[k, 0, : len(d.splits)].numpy()
                slopes = stored_slopes(lines, k, number, self.ids, self.smooth)
                hang(d, Refuted(np.ones(1), multipliers, slopes, way=self.way))
        return bound.tolist()

    @property
    def smooth(self) -> frozenset[int]:
        """The numbers of sigmoids."""
        return frozenset(k for k, about in enumerate(self.claim.network.nodes) if about["op"] == "sigmoid")

    def _worth(
        self,
        shown: Sequence[tuple[float, Tree]],
        number: int,
        neurons: tuple[NDArray[np.int64], ...],
        ends: tuple[NDArray[np.float64], ...],
        *,
        smooth: bool,
    ) -> list[Lemma]:
        """The lemmas that say much more than the bounds before, (B, n)."""
        made, count = [], len(neurons[0])
        for k, (b, i) in enumerate(zip(*(index.tolist() for index in neurons), strict=True)):
            low, high = float(ends[0][b, i]), float(ends[1][b, i])
            spare = self.cushion * max(abs(low), abs(high), 1e-9)
            least, most = shown[k][0] - spare, -shown[count + k][0] + spare
            sides = [(least - low, 1, least, shown[k][1]), (high - most, -1, most, shown[count + k][1])]
            decided = [side for side in sides if side[1] * side[2] >= 0 and not smooth]
            for gain, side, bound, tree in decided[:1] or sides:
                if gain > _WORTH * (high - low) and np.isfinite(bound):
                    made.append(Lemma(b, number, i, side, bound, tree))
        return made

"""A proof by slopes, and where they do not suffice by splits of hidden coordinates (beta-CROWN).

Wang et al. 2021, arXiv 2103.06624. The hidden nodes' boxes are the checker's own. Trees of all problems and
clauses are bounded in common batches; a split is the best of the few with the highest scores, tried for real.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robustbench_local.checker import Bounds, Rejected
from robustbench_local.specs import Box

from ..graph import Node
from ..interval import Interval
from ..rule import Elementwise, find_rule
from ..slopes import Slopes
from .ascent import Ascent
from .better_bounds import Better, Hidden
from .candidates import candidates
from .checked import Checked, checked
from .claim import Claim
from .clipping import Clipping, clipped_nodes, joined_bounds
from .enclosure import checker_network, enclosed, refined_nodes
from .engine_tree import Leaves, engine_leaves, planted
from .leaves import Domain, DomainBatch, Multipliers, hang, open_places, rounded, stored_slopes
from .rebuilt import rebuilt
from .record import TreeRecord
from .trees import Branch, Proof, Refuted, Tree, Way

__all__ = ["HiddenSearch"]

_AT_ONCE, _MOST = 2**23, 256  # numbers in the rows of one batch, and domains
_PATIENCE = 32  # splits until hidden nodes are bounded better
_ENGINE = 0.4  # the part that the engine's own search may take
_SAMPLE, _TRUST = 256, 0.3  # leaves of the verdict's trees; the share that must hold by the checker's bounds
_MUCH = 4  # splits for each of these leaves
_FIRST, _LATER, _LONG = Ascent(20, 0.3, 0.95), Ascent(8, 0.1, 0.9), Ascent(200, 0.05, 0.98)
_NONE = Ascent(0, 0.0, 1.0)


@dataclass(slots=True, eq=False)
class _Root:
    """Holds the tree of one clause."""

    tree: Tree = None


class HiddenSearch:
    """The search for one claim; `run` gives the proof, complete or not."""

    def __init__(
        self, claim: Claim, deadline: float, *, cushion: float = 1e-7, record: TreeRecord | None = None
    ) -> None:
        self.claim, self.deadline = claim, deadline
        self.graph, self.nodes = rebuilt(claim.network)
        self.kept = {} if record is None else record.leaves(claim, self.nodes)
        self.effort = 0 if record is None else record.rounds, cushion  # for trees of hidden neurons
        self.tried, self.stood = 0, 0  # of the kept leaves
        self.number = {node: k for k, node in enumerate(self.nodes)}
        ops = [about["op"] for about in claim.network.nodes]
        self.smooth = frozenset(k for k, op in enumerate(ops) if op == "sigmoid")
        self.network = checker_network(claim)
        self.way = Way(-1, refined_nodes(claim), clipped_nodes(claim, self.network.sizes))
        lower, upper = (torch.from_numpy(a) for a in (claim.lower, claim.upper))
        self.inputs = Box(lower, upper)
        self.C, self.d = torch.from_numpy(claim.C), torch.from_numpy(claim.d)
        sizes = torch.matmul(self.C.abs(), self.graph.run((lower + upper) / 2).abs().unsqueeze(2)).squeeze(2)
        self.enough = cushion * (sizes + self.d.abs()).clamp(min=1e-3)  # (B, m)
        self.roots = [_Root() for _ in range(claim.batch * len(claim.clauses))]
        self.step = max(1, min(_MOST, _AT_ONCE // sum(node.numel for node in self.graph.nodes)))
        self.leaves, self.splits, self.bounded, self.bounding, self.fixed = 0, 0, 0, 0.0, 0.0
        self.ids: dict[int, NDArray[np.int64]] = {}
        self.boxes: dict[Node, Interval] = {}
        self.better: Better | None = None
        self.helped = False

    def run(self) -> Proof:
        """The proof as far as time allows, that of its check left aside."""
        try:
            self._enclose()
            open_ = self._quick() if time.monotonic() < self.until() else []
            while open_ and time.monotonic() < self.until():
                if not self.helped and (self.kept or self.splits >= _PATIENCE):
                    open_ = self._helped(open_)
                    continue
                if self.kept and _misled(self):
                    self.kept = {}
                    open_ = _planted_in(self, open_, _grown(self))
                    continue
                batch = [d for d in open_ if d.kind == open_[0].kind][: self.step]
                taken = {id(d) for d in batch}
                open_ = [d for d in open_ if id(d) not in taken] + self._bounded(batch)
        except Rejected:  # out of time
            pass
        trees, more = [root.tree for root in self.roots], self.better
        if more is None:
            return Proof(trees, (self.way,), self.ids)
        return Proof(trees, (self.way, *more.ways), self.ids, more.sets, more.rows or {}, more.lemmas)

    def until(self) -> float:
        """When the search must end so that the check can be done in time."""
        return self.deadline - self.fixed - self.leaves * self.bounding / max(1, self.bounded)

    def _enclose(self) -> None:
        """The checker's boxes of all problems, and which coordinates of each function are open in some."""
        begun = time.monotonic()
        until = begun + 0.5 * (self.deadline - begun)  # the check takes as long again
        parts = [
            enclosed(self.network, self.claim.lower[b : b + 1], self.claim.upper[b : b + 1], self.way, until)
            for b in range(self.claim.batch)
        ]
        self.fixed = time.monotonic() - begun
        self._take(joined_bounds(parts))
        self.ids.clear()
        for node in self.graph.nodes[1:]:
            if isinstance(find_rule(node), Elementwise):
                read = self.number[node.inputs[0]]
                self.ids[self.number[node]] = open_places(self.bounds, read, smooth=self.is_smooth(node))

    def _take(self, bounds: Bounds) -> None:
        """Goes on from bounds of all problems."""
        self.bounds = bounds
        for number, node in enumerate(self.nodes):
            ends = (end[number].copy() for end in (bounds.lower, bounds.upper))
            low, high = (torch.from_numpy(e).reshape(-1, *node.shape) for e in ends)
            self.boxes[node] = Interval(low, high)

    def _helped(self, open_: list[Domain]) -> list[Domain]:
        """Where a few splits did not suffice, hidden rows are tuned, and clauses take over the trees of the
        verdict, or else of the engine, where it has some: the domains that are open then.
        """
        self.helped = True
        self._tune()
        return _planted_in(self, open_, self.kept or _grown(self))

    def _tune(self) -> None:
        """Bounds hidden nodes better, by lemmas where trees of hidden neurons decided it: what is open
        goes on with that.
        """
        hidden = Hidden(self.claim, self.graph, self.nodes, self.network, self.way, self.ids)
        left = self.until() - time.monotonic()
        if self.effort[0]:
            self.better = hidden.shown(left, self.fixed, self.effort)
        else:
            self.better = hidden.tuned(left, self.fixed)
        if self.better is not None:
            self.fixed += self.better.seconds
            self._take(self.better.bounds)

    def _quick(self) -> list[Domain]:
        """Refutes what the usual slopes refute; the domains of the other clauses, each with its best atom."""
        with torch.no_grad():
            batch = self.claim.batch
            every = [
                Domain(b, 0, a, (), np.zeros(0), {}, (None, ""))
                for b in range(batch)
                for a in range(self.C.shape[1])
            ]
            bounds = torch.cat(
                [self.batch(every[i : i + 64]).lower(Slopes()) for i in range(0, len(every), 64)]
            ).reshape(batch, -1)
        smooth = any(about["op"] == "sigmoid" for about in self.claim.network.nodes)  # the checker's differ
        open_ = []
        for b in range(batch):
            for c, clause in enumerate(self.claim.clauses):
                atoms = [atom for atom, _ in clause]
                best = int(bounds[b, atoms].nan_to_num(nan=-torch.inf).argmax())
                root = self.roots[b * len(self.claim.clauses) + c]
                if not smooth and bounds[b, atoms[best]] > self.enough[b, atoms[best]]:
                    root.tree = Refuted(np.array([float(k == best) for k in range(len(atoms))]))
                    continue
                open_.append(_whole(self, b, c, atoms[best]))
        return open_

    def batch(self, domains: list[Domain]) -> DomainBatch:
        """The domains as rows, over the problems' boxes cut by their splits."""
        return DomainBatch.of(self.graph, self.inputs, self.boxes, (self.C, self.d), domains)

    def _clipping(self, domains: Sequence[Domain]) -> Clipping:
        return Clipping(self.bounds, domains, self.nodes, self.way)

    def _bounded(self, domains: list[Domain]) -> list[Domain]:
        """Bounds domains: hangs leaves where they are refuted; the halves of the others."""
        whole = self.batch(domains)
        batch = whole.tightened(domains)
        needed = self.enough[[d.problem for d in domains], [d.atom for d in domains]].unsqueeze(1)
        ascent = _LONG if domains[0].last else _LATER if domains[0].splits else _FIRST
        ascent = _NONE if domains[0].fresh else ascent
        slopes = ascent.best(batch, batch.start(domains), needed, self.until())
        with torch.no_grad():
            settled, begun = rounded(slopes, batch.unit()), time.monotonic()
            found = checked(whole, settled, needed, domains, self._clipping if self.way.clipped else None)
            self.bounding, self.bounded = (
                self.bounding + time.monotonic() - begun,
                self.bounded + len(domains),
            )
            done = (found.bound > needed).squeeze(1)
            self.leaves += int(done.sum())
            if domains[0].fresh:
                self.tried, self.stood = self.tried + len(domains), self.stood + int(done.sum())
            stored = whole.lines(settled)
            sizes = (settled.values[Multipliers] * batch.unit()) if domains[0].splits else None
            for k in done.nonzero().squeeze(1).tolist():
                hang(domains[k], _leaf(self, domains[k], k, stored, sizes))
            return _opened(self, domains, found, settled, sizes) if len(found.left) else []

    def is_smooth(self, node: Node) -> bool:
        """Whether a function is a sigmoid."""
        return self.number[node] in self.smooth


def _whole(search: HiddenSearch, problem: int, clause: int, atom: int) -> Domain:
    root = search.roots[problem * len(search.claim.clauses) + clause]
    return Domain(problem, clause, atom, (), np.zeros(0), {}, (root, "tree"))


def _grown(search: HiddenSearch) -> Leaves:
    """Trees that the engine grows in a part of the time."""
    seconds = _ENGINE * max(0.0, search.until() - time.monotonic())
    return engine_leaves(search.graph, search.claim, seconds, clipped=bool(search.way.clipped))


def _misled(search: HiddenSearch) -> bool:
    """Whether few of the verdict's leaves hold by the checker's bounds, and what they lack is much."""
    much = search.tried >= _SAMPLE or search.splits >= _PATIENCE + _MUCH * search.tried
    return much and search.stood < _TRUST * search.tried


def _planted_in(search: HiddenSearch, open_: list[Domain], found: Leaves) -> list[Domain]:
    """The domains that are open where clauses take over these trees."""
    kept = [d for d in open_ if (d.problem, d.clause) not in found]
    numbers = {node.index: k for node, k in search.number.items()}
    for key in dict.fromkeys((d.problem, d.clause) for d in open_):
        if key in found:
            whole = _whole(search, *key, search.claim.clauses[key[1]][0][0])
            hang(whole, None)
            kept += planted(whole, found[key], search.graph, numbers)
    return kept


def _opened(
    search: HiddenSearch, domains: list[Domain], found: Checked, slopes: Slopes, sizes: Tensor | None
) -> list[Domain]:
    """What is left of a batch: the halves of the open domains, or these themselves where they are to be tuned
    first. sizes (D, 1, S): the splits' multipliers.
    """
    left = [domains[k] for k in found.left.tolist()]
    clipped = [search.nodes[number] for number in search.way.clipped]
    for k, place, d in zip(found.left.tolist(), found.places.tolist(), left, strict=True):
        d.slopes = {n: v[k : k + 1].detach() for n, v in slopes.values.items() if n is not Multipliers}
        d.multipliers = np.zeros(0) if sizes is None else sizes[k, 0, : len(d.splits)].numpy()
        d.tight = {n: found.rows.boxes[n].select(torch.tensor([place])) for n in clipped}
    if left[0].fresh:
        return [replace(d, fresh=False) for d in left]
    lines = found.rows.lines(found.slopes)
    curves = {node: search.is_smooth(node) for node in lines}
    return _halves(search, left, candidates(found.rows, lines, found.places, curves))


def _halves(search: HiddenSearch, domains: list[Domain], splits: tuple[Tensor, ...]) -> list[Domain]:
    """The halves of the domains at the best of the candidates; once more what has none: linear by now."""
    node, coordinate, point, score, unit = splits
    tries = node.shape[1]
    halves: list[list[tuple[Domain, Domain]]] = []
    for k, d in enumerate(domains):
        halves.append([])
        for t in range(tries):
            if score[k, t] > 0:
                at = (int(node[k, t]), int(coordinate[k, t]), float(point[k, t]), float(unit[k, t]))
                halves[k].append((_half(d, at, -1), _half(d, at, 1)))
    flat = [half for pairs in halves for pair in pairs for half in pair]
    values: list[float] = []
    for part in (flat[i : i + search.step] for i in range(0, len(flat), search.step)):
        batch = search.batch(part).tightened(part)
        values += batch.lower(batch.start(part)).squeeze(1).nan_to_num(nan=-1e30).tolist()
    children: list[Domain] = []
    for d, pairs in zip(domains, halves, strict=True):
        if not pairs:
            children += [] if d.last else [replace(d, last=True)]
            continue
        own, values = values[: 2 * len(pairs)], values[2 * len(pairs) :]
        best = max(
            range(len(pairs)),
            key=lambda t: (min(own[2 * t], own[2 * t + 1], 0.0), own[2 * t] + own[2 * t + 1]),
        )
        low, high = pairs[best]
        index, place, _, at_point, _ = low.splits[-1]
        search.splits += 1
        branch = Branch(search.number[search.graph.nodes[index]], place, at_point, None, None)
        hang(d, branch)
        low.parent, high.parent = (branch, "low"), (branch, "high")
        children += [low, high]
    return children


def _leaf(
    search: HiddenSearch,
    domain: Domain,
    k: int,
    lines: Mapping[Node, tuple[Tensor, Tensor]],
    sizes: Tensor | None,
) -> Refuted:
    """The leaf of domain k of a batch, by the lines and multipliers (D, 1, S) that refute it."""
    clause = search.claim.clauses[domain.clause]
    weights = np.array([float(atom == domain.atom) for atom, _ in clause])
    slopes = stored_slopes(lines, k, search.number, search.ids, search.smooth)
    multipliers = np.zeros(0) if sizes is None else sizes[k, 0, : len(domain.splits)].numpy()
    return Refuted(weights, multipliers, slopes, way=0 if search.better is None else search.better.own)


def _half(domain: Domain, at: tuple[int, int, float, float], side: int) -> Domain:
    node, coordinate, point, unit = at
    splits = (*domain.splits, (node, coordinate, side, point, unit))
    multipliers = np.append(domain.multipliers, 0.0)
    return replace(domain, splits=splits, multipliers=multipliers)

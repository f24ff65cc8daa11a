"""Bounds of hidden neurons by small trees of their own, many neurons in one batch.

Every hidden bound that gets tighter helps whatever lies above it, in every domain. So each undecided neuron
gets, for each of its two ends, a tree of a few splits of the neurons before it: in every round the leaf with
the worst bound is halved, in all trees together. What integer programs do for hidden bounds (Tjeng et al.
2019, arXiv 1711.07356) one after the other and to the end, this does in batches and as far as it is cheap.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..crown import undecided
from ..graph import Node
from ..interval import Interval
from ..magnitude import rounding_of
from ..slopes import Slopes
from ..tuning import Tuning
from .bounding import DomainRows, Multipliers, boxes_of
from .candidates import candidates
from .domains import Domains, joined
from .freeing import tuned
from .problem import Roots
from .splitting import Batch, best_splits, children

__all__ = ["NeuronTrees"]

_FIRST = Tuning()  # of the roots
_LATER = Tuning(steps=4, step_size=0.06, decay=1.0, graded=True)  # of leaves


@dataclass(frozen=True, slots=True, eq=False)
class NeuronTrees:
    """The trees of neurons of one node: of K neurons, `problem` (K,) and `place` (K,).

    roots: of the graph that ends at the node, 2K, the rows of the neurons first and then those of their
    negatives. reader: the whole network's graph, which says whether a neuron is still to be bounded better.
    """

    roots: Roots
    reader: tuple[Roots, Node]
    place: Tensor
    rounds: int
    tries: int
    at_once: int
    deadline: float

    @staticmethod
    def of(
        whole: Roots,
        node: Node,
        neurons: tuple[Tensor, Tensor],
        effort: tuple[int, int, int],
        deadline: float,
    ) -> NeuronTrees:
        """Of problems (K,) and places (K,); whole: roots whose graph and boxes are the network's.

        effort: rounds, candidates for a split, domains at once.
        """
        problem, place = neurons
        count, like = len(problem), whole.boxes[whole.graph.input].lower
        C = like.new_zeros(2 * count, 1, node.numel)
        index = torch.arange(count, device=like.device)
        C[index, 0, place] = -1  # minus the clause is what is bounded below
        C[count + index, 0, place] = 1
        graph = whole.graph.until(node)
        boxes = {n: whole.boxes[n] for n in graph.nodes}
        roots = Roots(
            graph, whole.query, problem.repeat(2), C, like.new_zeros(2 * count, 1), boxes, slopes={}
        )
        return NeuronTrees(roots, (whole, node), place, *effort, deadline)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """The neurons' bounds (K,) and (K,), in float64 with room for its rounding."""
        return self._ends(self._exact(self.grown()))

    def grown(self) -> Domains:
        """The leaves of all trees; `root` says of which of the 2K rows."""
        leaves = self._planted()
        for _ in range(self.rounds):
            parents = None if time.monotonic() > self.deadline else self._worst(leaves)
            if parents is None:
                break
            chosen, rest = parents
            leaves = (
                joined((rest, self._halved(leaves.select(chosen))))
                if rest.count
                else self._halved(leaves.select(chosen))
            )
        return leaves

    def _planted(self) -> Domains:
        every = torch.arange(self.roots.count, device=self.roots.d.device)
        like = self.roots.d[:, 0]
        batches = (Batch.of_roots(part, {}, like) for part in every.split(self.at_once))
        return joined([self._bounded(batch, _FIRST) for batch in batches])

    def _worst(self, leaves: Domains) -> tuple[Tensor, Domains] | None:
        """The worst leaf of every tree that is to grow, and the other leaves; None where none is to."""
        worst = self._rows(leaves.root, leaves.lower)
        open_ = self._open(worst).repeat(2)
        number = torch.arange(leaves.count, device=worst.device)
        last = torch.full_like(leaves.root, leaves.count)
        number = torch.where(leaves.lower == worst[leaves.root], number, last)
        first = torch.full((self.roots.count,), leaves.count, device=worst.device)
        first = first.scatter_reduce(0, leaves.root, number, "amin")
        first = first[open_ & (first < leaves.count)]
        chosen = first[leaves.branch[0][first, 0] >= 0]
        if len(chosen) == 0:
            return None
        rest = torch.ones(leaves.count, dtype=torch.bool, device=worst.device)
        rest[chosen] = False
        return chosen, leaves.select(rest.nonzero().squeeze(1))

    def _open(self, worst: Tensor) -> Tensor:
        """Neurons (K,) that a reader still wants bounded more tightly, by bounds (2K,) of all rows."""
        (whole, node), count = self.reader, len(self.place)
        box = whole.boxes[node]
        problem = self.roots.problem[:count]
        index = (problem, self.place)
        lower, upper = (end.reshape(len(end), -1).clone() for end in (box.lower, box.upper))
        lower[index] = torch.fmax(lower[index], worst[:count].to(lower.dtype))
        upper[index] = torch.fmin(upper[index], -worst[count:].to(upper.dtype))
        better = Interval(lower.reshape(box.lower.shape), upper.reshape(box.upper.shape))
        mask = undecided(whole.graph, node, better)
        return torch.zeros_like(problem, dtype=torch.bool) if mask is None else mask[index]

    def _halved(self, parents: Domains) -> Domains:
        node, place, point, pull = best_splits(self.roots, parents, self.tries, 4 * self.at_once)
        index = torch.arange(parents.count, device=node.device).repeat(2)
        side = torch.ones_like(parents.lower).repeat(2)
        side[parents.count :] = -1
        parts = []
        for part in torch.arange(len(index), device=node.device).split(self.at_once):
            i = index[part]
            batch = children(self.roots, parents, i, (node[i], place[i], side[part], point[i]), pull[i])
            parts.append(self._bounded(batch, _LATER))
        return joined(parts)

    def _bounded(self, batch: Batch, tuning: Tuning) -> Domains:
        boxes, empty = boxes_of(self.roots, batch.root, batch.splits, refresh=False)
        rows = DomainRows(self.roots, batch.root, batch.splits, batch.scale, boxes)
        every = torch.arange(batch.root.shape[0], device=batch.root.device)
        lower, found = tuned(rows, batch.values(every), tuning, self.deadline)
        lower = torch.where(empty, torch.inf, torch.maximum(lower, batch.before))
        branch = candidates(self.roots.graph, boxes, rows.seen, self.tries)[:4]
        slopes = {node: v for node, v in found.items() if isinstance(node, Node)}
        multipliers = found[Multipliers].squeeze(1)
        return Domains(
            batch.root,
            lower,
            batch.splits,
            multipliers,
            batch.scale,
            slopes,
            branch,
            batch.tight,
            batch.plane,
        )

    def _exact(self, leaves: Domains) -> Tensor:
        """The rows' bounds (2K,) in float64: one pass for every leaf, with what it was tuned to."""
        wide, parts = self.roots.double(), []
        for part in _parts(leaves.count, self.at_once, leaves.root.device):
            some = leaves.select(part)
            splits = some.splits.double()
            boxes, empty = boxes_of(wide, some.root, splits, refresh=False)
            rows = DomainRows(wide, some.root, splits, some.scale.double(), boxes)
            values: dict[object, Tensor] = {
                wide.graph.nodes[node.index]: v.double() for node, v in some.slopes.items()
            }
            values[Multipliers] = some.multipliers.double().unsqueeze(1)
            lower = rows.lower(Slopes(values=values)).squeeze(1)
            parts.append(torch.where(empty, torch.inf, lower))
        found = self._rows(leaves.root, torch.cat(parts))
        loss = rounding_of(self.roots.graph, self.roots.query.inputs).to(found)
        return found - loss[self.roots.problem]

    def _rows(self, root: Tensor, lower: Tensor) -> Tensor:
        """The worst bound (2K,) of every tree's leaves; NaN where one is."""
        start = lower.new_full((self.roots.count,), torch.inf)
        return start.scatter_reduce(0, root, lower, "amin")

    def _ends(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Both ends (K,) of the neurons; infinite where nothing is known."""
        rows = torch.where(rows.isfinite(), rows, -torch.inf)  # a tree with no point at all says nothing
        return rows[: len(self.place)], -rows[len(self.place) :]


def _parts(count: int, size: int, device: torch.device) -> Iterator[Tensor]:
    yield from torch.arange(count, device=device).split(size)

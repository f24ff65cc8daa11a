"""Trees of clauses with equally many atoms, those that are nearest to their end first.

Bounds are anytime: the worst over a clause's open and closed domains holds at each moment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..graph import Node
from ..interval import Interval
from ..tuning import Tuning
from .deepening import Deepening
from .domains import Domains, joined
from .evaluator import Evaluator
from .freeing import LONG
from .frontier import Frontier
from .ledger import Ledger
from .problem import Roots, inflated
from .refining import Refining
from .settings import Settings
from .splitting import Batch
from .state import Opened, TreesState

__all__ = ["Trees"]

_SLOPE_BYTES = 2**30  # of tuned slopes kept for open domains: beyond, children start from their root's


class Trees:
    """The search in the trees of some roots, from where `state` says that it stands.

    boxes: of every node, as the root method or refining left them: they hold once they are inflated.
    """

    def __init__(
        self, ledger: Ledger, state: TreesState, boxes: Mapping[Node, Interval], settings: Settings
    ) -> None:
        graph, self.boxes = ledger.graph, boxes
        slopes = {graph.nodes[number]: values for number, values in state.slopes.items()}
        roots = Roots.of(graph, ledger.query, inflated(boxes), (state.problem, state.atoms), slopes)
        self.ledger, self.roots, self._begun = ledger, roots, state
        self.evaluator, self.settings = Evaluator(ledger, roots, settings, state.gain), settings
        self.refining = Refining(ledger, settings, state.refined)
        self.worst = state.worst.clone()  # over the closed domains of each root
        self.left = state.left  # roots that are not bounded yet
        self.closed = [*state.closed]
        self.open = Frontier()
        self._kept_bytes = state.kept
        self.deepening = Deepening(self.evaluator, state.tightened)
        problem = state.problem.tolist()
        for domains, k in _reopened(state, self.evaluator):
            self.open.put_one((domains, k), problem[int(domains.root[k])])

    def state(self) -> TreesState:
        """Where the search stands."""
        return replace(
            self._begun,
            worst=self.worst.clone(),
            left=self.left,
            open=self.open.entries,
            gain=self.evaluator.clipping.gain,
            kept=self._kept_bytes,
            closed=tuple(self.closed),
            tightened=self.deepening.count,
            refined=self.refining.done,
        )

    def run(self) -> None:
        """Splits until no domain is open or the time is over."""
        while len(self.left) and not self.ledger.late():
            part, self.left = self.left[: self.evaluator.at_once], self.left[self.evaluator.at_once :]
            self._take(*self._rooted(part))
        while len(self.open) and not self.ledger.late():
            if self.refining.due(len(self.open), len(self.open.problems)):
                self._refine()
                continue
            deep = self.deepening.due(len(self.open))
            if deep and self.deepening.count == 0:
                self._replant()
                continue
            self.evaluator.patient = self.deepening.begun
            count = self.deepening.at_once if deep else self.evaluator.at_once // 2
            batch = self._pop(count, easiest=self.deepening.begun and not deep)
            if batch is not None:
                self._split(batch, deep=deep)

    def _refine(self) -> None:
        """Starts anew from roots whose hidden neurons are bounded by trees, where that helps the first."""
        boxes, roots, evaluator = self.boxes, self.roots, self.evaluator
        before, _ = self._rooted(self.open.roots[:1], LONG)
        self.boxes = self.refining.boxes(self.roots, self.boxes, self.open.problems)
        self.roots = replace(self.roots, boxes=inflated(self.boxes))
        self.evaluator = Evaluator(self.ledger, self.roots, self.settings)
        after, _ = self._rooted(self.open.roots[:1], LONG)
        if not self.refining.helped(before, after):
            self.boxes, self.roots, self.evaluator = boxes, roots, evaluator
            return
        self.deepening = Deepening(self.evaluator, self.deepening.count)
        for part in self._emptied().split(self.evaluator.at_once):
            self._take(*self._rooted(part, LONG))

    def _emptied(self) -> Tensor:
        """Removes all open trees, with what is kept of them; their roots."""
        index = self.open.emptied()
        kept = ((~torch.isin(part.root, index)).nonzero().squeeze(1) for part in self.closed)
        self.closed = [part.select(k) for part, k in zip(self.closed, kept, strict=True)]
        return index

    def _replant(self) -> None:
        """Starts anew from roots whose hidden neurons are bounded anew, in place of their open domains, where
        that helps the first of them.
        """
        lower, whole = self._rooted(self.open.roots[:1])
        better, domains = self._deepened(lower, whole)
        if not self.deepening.helped(lower, better):
            return
        index = self._emptied()
        self._take(*self._deepened(better, domains))
        rest = index[1:]
        for part in rest.split(self.deepening.at_once) if len(rest) else ():  # nothing splits into one part
            self._take(*self._deepened(*self._deepened(*self._rooted(part))))

    def _rooted(self, index: Tensor, tuning: Tuning | None = None) -> tuple[Tensor, Domains]:
        return self.evaluator.bound(Batch.of_roots(index, self.roots.slopes, self.roots.d[:, 0]), tuning)

    def _deepened(self, lower: Tensor, whole: Domains) -> tuple[Tensor, Domains]:
        """Bounds and domains with the open ones' hidden neurons bounded anew."""
        open_ = (lower > 0).logical_not().nonzero().squeeze(1)
        if len(open_) == 0 or self.ledger.late():
            return lower, whole
        self.deepening.count += len(open_)
        better, domains = self.evaluator.tightened(whole.select(open_))
        rest = (lower > 0).nonzero().squeeze(1)
        return torch.cat((better, lower[rest])), joined((domains, whole.select(rest)))

    def _close(self, root: int, lower: float) -> None:
        """Takes the bound of a domain that leaves the search into its root's."""
        bound = lower if lower == lower else -torch.inf
        self.worst[root] = min(float(self.worst[root]), bound)

    def _pop(self, count: int, *, easiest: bool = False) -> Domains | None:
        """The next domains of problems that are not broken yet; None where none is left."""
        for problem in self.open.problems:
            if bool(self.ledger.broken[problem]):
                for root, lower in self.open.drop(problem):
                    self._close(root, lower)
        return self.open.take(count, easiest=easiest) if len(self.open) else None

    def _split(self, parents: Domains, *, deep: bool = False) -> None:
        """Replaces domains by their two halves at the best of the candidates.

        deep: hidden neurons are bounded anew in the halves that are open.
        """
        node, coordinate, point, pull = self.evaluator.choose(parents)
        stuck = node < 0
        if bool(stuck.any()):
            self._finish(parents.select(stuck.nonzero().squeeze(1)))
            keep = (~stuck).nonzero().squeeze(1)
            parents, node, coordinate, point = parents.select(keep), node[keep], coordinate[keep], point[keep]
            pull = pull[keep]
        if parents.count:
            index = torch.arange(parents.count, device=node.device).repeat(2)
            side = torch.ones_like(parents.lower).repeat(2)
            side[parents.count :] = -1
            split = (node[index], coordinate[index], side, point[index])
            found = self.evaluator.bound(self.evaluator.children(parents, index, split, pull[index]))
            self._take(*(self._deepened(*found) if deep else found))

    def _take(self, lower: Tensor, whole: Domains) -> None:
        """Takes in domains that are bounded."""
        hopeless = lower.isnan() | (lower == -torch.inf)  # splits of what is no number prove nothing
        for root in whole.root[hopeless].unique().tolist():
            self._close(root, -torch.inf)
        open_ = (lower > 0).logical_not() & hopeless.logical_not()
        lower = lower.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
        self.worst.scatter_reduce_(0, whole.root[~open_], lower[~open_], "amin")
        self._keep(whole.select((~open_).nonzero().squeeze(1)))
        domains = whole.select(open_.nonzero().squeeze(1))
        if self._kept_bytes + domains.bytes > _SLOPE_BYTES:
            domains = domains.bare()
        self._kept_bytes += domains.bytes
        self.open.put(domains, self.roots.problem[domains.root])

    def _finish(self, leaves: Domains) -> None:
        """Bounds domains in which nothing is left to split."""
        for k in range(leaves.count):
            one = leaves.select(torch.tensor([k], device=leaves.root.device))
            self._close(int(one.root), self.evaluator.leaf(one))
            self._keep(one)

    def _keep(self, done: Domains) -> None:
        """Records domains that leave the search, where that is wanted, without what only children need."""
        if not self.settings.keep:
            return
        if self._kept_bytes + done.bytes > _SLOPE_BYTES:
            done = done.bare()
        self._kept_bytes += done.bytes
        self.closed.append(done.leaves())


def _reopened(state: TreesState, evaluator: Evaluator) -> Iterator[Opened]:
    """The open domains of an earlier call, which may have been of another copy of the graph."""
    renewed: dict[int, Domains] = {}
    for domains, k in state.open:
        if id(domains) not in renewed:
            own = {evaluator.roots.graph.nodes[n.index]: values for n, values in domains.slopes.items()}
            tight = evaluator.clipping.resumed(domains.root, domains.tight)
            renewed[id(domains)] = replace(domains, slopes=own, tight=tight)
        yield renewed[id(domains)], k

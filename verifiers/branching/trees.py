"""Trees of clauses with equally many atoms, those that are nearest to their end first.

Bounds are anytime: the worst over a clause's open and closed domains holds at each moment.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .domains import Domains
from .evaluator import Batch, Evaluator
from .frontier import Frontier
from .ledger import Ledger
from .problem import Roots
from .settings import Settings

__all__ = ["Trees"]

_SLOPE_BYTES = 2**30  # of tuned slopes kept for open domains: beyond, children start from their root's


class Trees:
    """The search in the trees of some roots."""

    def __init__(self, ledger: Ledger, roots: Roots, settings: Settings) -> None:
        self.ledger, self.roots = ledger, roots
        self.evaluator = Evaluator(ledger, roots, settings)
        self.worst = torch.full_like(roots.d[:, 0], torch.inf)  # over the closed domains of each root
        self.open = Frontier()
        self.complete = True
        self._kept_bytes = 0

    def run(self) -> bool:
        """Splits until no domain is open or the time is over; whether none is."""
        like = self.roots.d
        for part in torch.arange(self.roots.count, device=like.device).split(self.evaluator.at_once):
            if self.ledger.late():  # no bound but the one that the root came with
                self.worst[part] = -torch.inf
                self.complete = False
                continue
            slopes = {node: values[part] for node, values in self.roots.slopes.items()}
            self._bound(Batch.of_roots(part, slopes, like[:, 0]))
        while len(self.open) and not self.ledger.late():
            batch = self._pop(self.evaluator.at_once // 2)
            if batch is not None:
                self._split(batch)
        return self.complete and not len(self.open)

    def upper(self) -> Tensor:
        """The best upper bounds (R,) of the clauses: minus the worst lower bound over their domains."""
        worst = self.worst.clone()
        for root, lower in self.open:
            worst[root] = min(float(worst[root]), lower)
        return -worst

    def _close(self, root: int, lower: float) -> None:
        """Takes the bound of a domain that leaves the search into its root's."""
        bound = lower if lower == lower else -torch.inf
        self.worst[root] = min(float(self.worst[root]), bound)

    def _pop(self, count: int) -> Domains | None:
        """The next domains of problems that are not broken yet; None where none is left."""
        for problem in self.open.problems:
            if bool(self.ledger.broken[problem]):
                for root, lower in self.open.drop(problem):
                    self._close(root, lower)
        return self.open.take(count) if len(self.open) else None

    def _split(self, parents: Domains) -> None:
        """Replaces domains by their two halves at the best of the candidates."""
        node, coordinate, point = self.evaluator.choose(parents)
        stuck = node < 0
        if bool(stuck.any()):
            self._finish(parents.select(stuck.nonzero().squeeze(1)))
            keep = (~stuck).nonzero().squeeze(1)
            parents, node, coordinate, point = parents.select(keep), node[keep], coordinate[keep], point[keep]
        if parents.count:
            index = torch.arange(parents.count, device=node.device).repeat(2)
            side = torch.ones_like(parents.lower).repeat(2)
            side[parents.count :] = -1
            self._bound(
                self.evaluator.children(parents, index, (node[index], coordinate[index], side, point[index]))
            )

    def _bound(self, batch: Batch) -> None:
        """Bounds domains: takes in those that are refuted, and puts the others on the heap."""
        lower, whole = self.evaluator.bound(batch)
        hopeless = lower.isnan() | (lower == -torch.inf)  # splits of what is no number prove nothing
        for root in batch.root[hopeless].unique().tolist():
            self._close(root, -torch.inf)
        open_ = (lower > 0).logical_not() & hopeless.logical_not()
        lower = lower.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
        self.worst.scatter_reduce_(0, batch.root[~open_], lower[~open_], "amin")
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

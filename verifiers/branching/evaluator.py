"""Bounds of batches of domains: tuned in the network's dtype, checked in float64 where they are narrow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from robustbench_local.specs import Box

from ..graph import Node
from ..sharing import tuning_plan
from ..slopes import Slopes
from ..tuning import Tuning
from .bounding import DomainRows, Multipliers, boxes_of, dense_rows
from .candidates import candidates
from .clipping import Clipping, Gain
from .domains import Domains
from .freeing import LONG, free, tuned
from .leaves import leaf_bound
from .ledger import Ledger
from .problem import Roots
from .settings import Settings
from .splitting import Batch, best_splits, children
from .tightening import tightened

__all__ = ["Evaluator"]

# domains at once: small batches let the frontier's order work, which is worth more than the quarter of the
# speed that they cost on a CPU
_ON_A_CPU, _AT_MOST = 128, 1024


class Evaluator:
    """Bounds domains of some roots."""

    def __init__(self, ledger: Ledger, roots: Roots, settings: Settings, gain: Gain = (0, 0.0)) -> None:
        self.ledger, self.roots, self.settings = ledger, roots, settings
        self._wide: Roots | None = None
        self.patient = False  # whether domains that a split has not helped are tuned for longer
        self.clipping = Clipping(roots, ledger, settings, gain)
        plan = tuning_plan(roots.graph, roots.graph.output, 1, roots.d, ledger.budget)
        memory = ledger.budget.memory(roots.d.device)
        most = _ON_A_CPU if roots.d.device.type == "cpu" else _AT_MOST
        self.at_once = max(2, settings.batch or min(most, max(8, memory // plan.row_bytes)))

    def children(
        self, parents: Domains, index: Tensor, split: tuple[Tensor, Tensor, Tensor, Tensor], pull: Tensor
    ) -> Batch:
        """See `splitting.children`."""
        return children(self.roots, parents, index, split, pull)

    def choose(self, parents: Domains) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `splitting.best_splits`."""
        return best_splits(
            self.roots, parents, self.settings.tries, 4 * self.at_once, known=self.clipping.known
        )

    def bound(self, batch: Batch, tuning: Tuning | None = None) -> tuple[Tensor, Domains]:
        """Lower bounds (D,), and the domains with what their children start from.

        Bounds are of the points at which the parents' planes leave a counterexample possible; the others are
        above zero by `ledger.above`, which caps the bound.
        """
        tight, hollow = self.clipping.clipped(
            batch.root, batch.splits, batch.tight, batch.plane, batch.branch
        )
        refresh = self.settings.refresh
        boxes, empty = boxes_of(
            self.roots, batch.root, batch.splits, refresh=refresh, tight=self.clipping.known(tight)
        )
        rows = DomainRows(self.roots, batch.root, batch.splits, batch.scale, boxes)
        every = torch.arange(batch.root.shape[0], device=batch.root.device)
        deadline = self.ledger.deadline
        lower, found = tuned(rows, batch.values(every), tuning or self.settings.tuning, deadline)
        gone = empty | hollow
        if tuning is None and self.patient:
            free(rows, (lower, found), batch.before.masked_fill(gone, -torch.inf), deadline)
        lower = torch.where(gone, torch.inf, torch.maximum(lower, batch.before))
        self.ledger.domains += batch.root.shape[0]
        lower = self.clipping.capped(self._checked(batch, tight, found, lower), tight)
        open_ = (lower > 0).logical_not().nonzero().squeeze(1)
        if open_.shape[0]:
            self._look(rows, open_)
        return lower, self._kept(batch, rows, (lower, tight), found)

    def _kept(
        self, batch: Batch, rows: DomainRows, known: tuple[Tensor, Tensor], found: Mapping[object, Tensor]
    ) -> Domains:
        """The domains of a batch, with their bounds and those of clipped coordinates."""
        lower, tight = known
        plane = batch.plane
        if not bool((lower > 0).all()):  # some will be split
            tight = self.clipping.begun(batch.root, tight)
            if tight.shape[2] and self.roots.graph.input in rows.seen:
                plane = rows.plane()
        wanted = max(1, self.settings.tries, self.clipping.width if tight.shape[2] else 0)
        branch = candidates(self.roots.graph, rows.boxes, rows.seen, wanted)
        slopes = {node: v for node, v in found.items() if isinstance(node, Node)}
        multipliers = found[Multipliers].squeeze(1)
        domains = Domains(
            batch.root, lower, batch.splits, multipliers, batch.scale, slopes, branch[:4], tight, plane
        )
        idle = (branch[0][:, 0] < 0) & (lower > 0).logical_not() & (batch.splits.depth > 0)
        return self._woken(domains, rows, idle.nonzero().squeeze(1)) if bool(idle.any()) else domains

    def _woken(self, domains: Domains, rows: DomainRows, index: Tensor) -> Domains:
        """The domains with candidates by what their splits pull, for those whose bound has no coefficients.

        Where a split has cut off all that the clause depends on, only its own contradiction can refute the
        domain: its multiplier must not be zero, and neurons that matter to it are still to be split.
        """
        some = rows.take(index, index.new_zeros(index.shape[0], 1))
        ones = torch.ones_like(domains.multipliers[index])
        values: dict[object, Tensor] = {node: v[index] for node, v in domains.slopes.items()}
        some.lower(Slopes(values={**values, Multipliers: ones.unsqueeze(1)}))
        found = candidates(self.roots.graph, some.boxes, some.seen, domains.branch[0].shape[1])
        branch = tuple(old.index_copy(0, index, new) for old, new in zip(domains.branch, found, strict=False))
        multipliers = domains.multipliers.index_copy(0, index, ones)
        return replace(domains, multipliers=multipliers, branch=(branch[0], branch[1], branch[2], branch[3]))

    def _look(self, rows: DomainRows, index: Tensor) -> None:
        """The points at which the linear bounds of open domains are smallest."""
        source = rows.seen.get(self.roots.graph.input)
        if source is None:
            return
        a = dense_rows(source).squeeze(1)[index]
        problem = self.roots.problem[rows.root[index]]
        inputs = self.ledger.query.inputs.select(problem)
        self.ledger.look(inputs.centre().to(a) - inputs.steepest(a), problem)

    def _checked(self, batch: Batch, tight: Tensor, found: dict[object, Tensor], lower: Tensor) -> Tensor:
        """Bounds that refute by less than rounding may explain, computed once more in float64."""
        narrow = ((lower > 0) & (lower < self.ledger.narrow)).nonzero().squeeze(1)
        if lower.dtype == torch.float64 or narrow.shape[0] == 0:
            return lower
        wide, splits, root = self._doubled(), batch.splits.select(narrow).double(), batch.root[narrow]
        known = self.clipping.known(tight[narrow])
        boxes, empty = boxes_of(wide, root, splits, refresh=self.settings.refresh, tight=known)
        rows = DomainRows(wide, root, splits, batch.scale[narrow].double(), boxes)
        values: dict[object, Tensor] = {}
        for key, value in found.items():
            values[wide.graph.nodes[key.index] if isinstance(key, Node) else key] = value[narrow].double()
        exact = torch.where(empty, torch.inf, rows.lower(Slopes(values=values)).squeeze(1))
        # a bound that does not stand in float64 leaves the domain open
        least = exact.to(lower.dtype).clamp(min=torch.finfo(lower.dtype).tiny)
        result = torch.where(exact > self.ledger.sure, least, torch.zeros_like(least))
        return lower.index_copy(0, narrow, result)

    def tightened(self, domains: Domains) -> tuple[Tensor, Domains]:
        """As `bound`, of domains whose hidden neurons are bounded anew first."""
        planes = self.clipping.planes
        if planes is None or domains.tight.shape[2] == 0:
            return domains.lower, domains
        left = self.ledger.deadline - time.monotonic()
        budget = replace(self.ledger.budget, seconds=None if left == torch.inf else max(0.0, left))
        tight, empty = tightened(self._doubled(), domains, planes, self.ledger.above, budget)
        lower, after = self.bound(Batch.again(replace(domains, tight=tight), self.roots), LONG)
        lower = torch.where(empty, self.ledger.above, lower)
        return lower, replace(after, lower=lower)

    def leaf(self, one: Domains) -> float:
        """The best lower bound of a domain with nothing left to split; infinite where it has no point."""
        wide = self._doubled()
        lower = float(one.lower.nan_to_num(nan=-torch.inf))
        splits = one.splits.double()
        boxes, empty = boxes_of(wide, one.root, splits, refresh=True, tight=self.clipping.known(one.tight))
        if bool(empty):
            return float(self.clipping.capped(torch.full_like(one.lower, torch.inf), one.tight))
        able = isinstance(self.ledger.query.inputs, Box) and wide.C.shape[1] == 1
        found = leaf_bound(wide, one.root, splits, boxes) if able and not self.ledger.late() else None
        if found is None:
            return min(lower, 0.0)
        if found[0] > self.ledger.sure:  # it stands in float64
            return float(self.clipping.capped(one.lower.new_tensor(found[0]), one.tight))
        self.ledger.look(found[1].unsqueeze(0).to(one.lower), self.roots.problem[one.root])
        return min(max(lower, found[0]), 0.0)

    def _doubled(self) -> Roots:
        if self._wide is None:
            self._wide = self.roots.double()
        return self._wide

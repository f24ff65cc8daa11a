"""Bounds of batches of domains: tuned in the network's dtype, checked in float64 where they are narrow."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

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
from .domains import Domains, Splits
from .freeing import LONG, free, tuned
from .leaves import leaf_bound
from .ledger import Ledger
from .problem import Roots
from .settings import Settings
from .tightening import tightened

__all__ = ["Batch", "Evaluator"]

# domains at once: small batches let the frontier's order work, which is worth more than the quarter of the
# speed that they cost on a CPU
_ON_A_CPU, _AT_MOST = 128, 1024
_REACH = 1.6  # of a new split's multiplier, in units of the coefficient that its coordinate had
_OFTEN, _RARE = (
    0.5,
    0.05,
)  # shares of their reach above and below which the reach of multipliers doubles or halves


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Domains to be bounded: roots, splits, where their tuning starts; `before`: a known bound (D,).

    tight, plane and branch are the parents', as in `Domains`.
    """

    root: Tensor
    splits: Splits
    multipliers: Tensor
    scale: Tensor
    slopes: Mapping[Node, Tensor]
    before: Tensor
    tight: Tensor
    plane: tuple[Tensor, Tensor]
    branch: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    @staticmethod
    def of_roots(root: Tensor, slopes: Mapping[Node, Tensor], like: Tensor) -> Batch:
        """Whole roots (D,)."""
        count = root.shape[0]
        empty, none = like.new_zeros(count, 0), like.new_full((count,), -torch.inf)
        return Batch(
            root,
            Splits.none(count, like),
            empty,
            empty,
            slopes,
            none,
            like.new_zeros(count, 2, 0),
            (empty, like.new_zeros(count)),
        )

    @staticmethod
    def again(domains: Domains, roots: Roots) -> Batch:
        """The same domains, to be bounded once more."""
        return Batch(
            domains.root,
            domains.splits,
            domains.multipliers,
            domains.scale,
            dict(domains.slopes) or {n: v[domains.root] for n, v in roots.slopes.items()},
            domains.lower,
            domains.tight,
            domains.plane,
            domains.branch,
        )

    def values(self, index: Tensor) -> dict[object, Tensor]:
        """The tuned values of some domains, as `Slopes` hold them."""
        values: dict[object, Tensor] = {node: v[index] for node, v in self.slopes.items()}
        values[Multipliers] = self.multipliers[index].unsqueeze(1)
        return values


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
        """Domains `index` of the parents, each with one more split: node, coordinate, side, point.

        pull (d,): of the split coordinates.
        """
        many = parents.select(index)
        zero = many.multipliers.new_zeros(many.count, 1)
        size = (_REACH * pull.unsqueeze(1)).clamp(min=torch.finfo(pull.dtype).tiny)
        multipliers, scale = _rescaled(many.multipliers, many.scale)
        return replace(
            Batch.again(many, self.roots),
            splits=many.splits.with_split(*split),
            multipliers=torch.cat((multipliers, zero), 1),
            scale=torch.cat((scale, size), 1),
        )

    def choose(self, parents: Domains) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The candidate (D,) whose halves are bounded best together, by one pass each."""
        nodes, places, points, pulls = parents.branch
        tries, count, device = min(self.settings.tries, nodes.shape[1]), parents.count, nodes.device
        if tries <= 1:
            return nodes[:, 0], places[:, 0], points[:, 0], pulls[:, 0]
        index = torch.arange(count, device=device).repeat_interleave(2 * tries)
        which = torch.arange(tries, device=device).repeat_interleave(2).repeat(count)
        side = parents.lower.new_tensor([1.0, -1.0]).repeat(count * tries)
        node, place, point, pull = (t[index, which] for t in parents.branch)
        many = self.children(parents, index, (node, place, side, point), pull)
        bounds = []
        for part in torch.arange(count * tries * 2, device=device).split(4 * self.at_once):
            splits = many.splits.select(part)
            tight = self.clipping.known(many.tight[part])
            boxes, empty = boxes_of(self.roots, many.root[part], splits, refresh=False, tight=tight)
            rows = DomainRows(self.roots, many.root[part], splits, many.scale[part], boxes)
            lower = rows.lower(Slopes(values=many.values(part))).squeeze(1)
            bounds.append(torch.where(empty, torch.inf, lower))
        halves = torch.cat(bounds).reshape(count, tries, 2)
        score = halves.clamp(max=0.0).sum(2)  # what the halves leave to be done: a refuted one nothing
        score = torch.where(nodes[:, :tries] >= 0, score.nan_to_num(nan=-torch.inf), -torch.inf)
        best = score.argmax(1, keepdim=True)
        chosen = [t.gather(1, best)[:, 0] for t in parents.branch]
        return chosen[0], chosen[1], chosen[2], chosen[3]

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
        return Domains(
            batch.root, lower, batch.splits, multipliers, batch.scale, slopes, branch[:4], tight, plane
        )

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


def _rescaled(multipliers: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The same multipliers, with more room for the large ones and finer steps for the small ones."""
    tiny = torch.finfo(scale.dtype).tiny
    factor = torch.where(multipliers > _OFTEN, 2.0, torch.where(multipliers < _RARE, 0.5, 1.0)).to(
        scale.dtype
    )
    factor = torch.where(scale * factor < tiny, torch.ones_like(factor), factor)
    return (multipliers / factor).clamp(0, 1), scale * factor

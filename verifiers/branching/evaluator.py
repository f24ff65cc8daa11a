"""Bounds of batches of domains: tuned in the network's dtype, checked in float64 where they are narrow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.specs import Box

from ..graph import Node
from ..interval import Interval
from ..sharing import tuning_plan
from ..slopes import Slopes
from ..tuning import best_lower_bounds
from .bounding import DomainRows, Multipliers, boxes_of, dense_rows
from .candidates import candidates
from .clipping import Clipping, Gain
from .domains import Domains, Splits
from .leaves import leaf_multipliers
from .ledger import Ledger
from .problem import Roots
from .settings import Settings

__all__ = ["Batch", "Evaluator"]

# domains at once: small batches let the frontier's order work, which is worth more than the quarter of the
# speed that they cost on a CPU
_ON_A_CPU, _AT_MOST = 128, 1024


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
    branch: tuple[Tensor, Tensor, Tensor] | None = None

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
        self.clipping = Clipping(roots, ledger, settings, gain)
        plan = tuning_plan(roots.graph, roots.graph.output, 1, roots.d, ledger.budget)
        memory = ledger.budget.memory(roots.d.device)
        most = _ON_A_CPU if roots.d.device.type == "cpu" else _AT_MOST
        self.at_once = max(2, settings.batch or min(most, max(8, memory // plan.row_bytes)))

    def children(
        self, parents: Domains, index: Tensor, split: tuple[Tensor, Tensor, Tensor, Tensor]
    ) -> Batch:
        """Domains `index` of the parents, each with one more split: node, coordinate, side, point."""
        many = parents.select(index)
        zero = many.multipliers.new_zeros(many.count, 1)
        size = many.scale.amax(1, keepdim=True).clamp(min=1.0) if many.scale.shape[1] else zero + 1
        slopes = dict(many.slopes) or {n: v[many.root] for n, v in self.roots.slopes.items()}
        return Batch(
            many.root,
            many.splits.with_split(*split),
            torch.cat((many.multipliers, zero), 1),
            torch.cat((many.scale, size), 1),
            slopes,
            many.lower,
            many.tight,
            many.plane,
            many.branch,
        )

    def choose(self, parents: Domains) -> tuple[Tensor, Tensor, Tensor]:
        """The candidate (D,) whose halves are bounded best together, by one pass each."""
        nodes, places, points = parents.branch
        tries, count, device = min(self.settings.tries, nodes.shape[1]), parents.count, nodes.device
        if tries <= 1:
            return nodes[:, 0], places[:, 0], points[:, 0]
        index = torch.arange(count, device=device).repeat_interleave(2 * tries)
        which = torch.arange(tries, device=device).repeat_interleave(2).repeat(count)
        side = parents.lower.new_tensor([1.0, -1.0]).repeat(count * tries)
        node, place, point = (t[index, which] for t in (nodes, places, points))
        many = self.children(parents, index, (node, place, side, point))
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
        return nodes.gather(1, best)[:, 0], places.gather(1, best)[:, 0], points.gather(1, best)[:, 0]

    def bound(self, batch: Batch) -> tuple[Tensor, Domains]:
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
        start = {key: v.clone().requires_grad_() for key, v in batch.values(every).items()}
        deadline = self.ledger.deadline
        lower, free, _ = best_lower_bounds(
            rows, self.settings.tuning, slopes=Slopes(values=start), deadline=deadline, keep=True
        )
        lower = torch.where(empty | hollow, torch.inf, torch.maximum(lower.squeeze(1), batch.before))
        self.ledger.domains += batch.root.shape[0]
        found = {key: value.detach() for key, value in free.values.items()}
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
            batch.root, lower, batch.splits, multipliers, batch.scale, slopes, branch[:3], tight, plane
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

    def leaf(self, one: Domains) -> float:
        """The best lower bound of a domain with nothing left to split; infinite where it has no point."""
        wide = self._doubled()
        lower = float(one.lower.nan_to_num(nan=-torch.inf))
        splits = one.splits.double()
        boxes, empty = boxes_of(wide, one.root, splits, refresh=True, tight=self.clipping.known(one.tight))
        if bool(empty):
            return float(self.clipping.capped(torch.full_like(one.lower, torch.inf), one.tight))
        able = isinstance(self.ledger.query.inputs, Box) and wide.C.shape[1] == 1
        return self._solved(one, splits, boxes, lower) if able and not self.ledger.late() else min(lower, 0.0)

    def _solved(self, one: Domains, splits: Splits, boxes: Mapping[Node, Interval], lower: float) -> float:
        """The best lower bound of one leaf; above zero only where it stands in float64."""
        wide = self._doubled()
        found = leaf_multipliers(wide, one.root, splits, boxes)
        if found is None:
            return min(lower, 0.0)
        scale = found[0].clamp(min=1.0).unsqueeze(0)
        rows = DomainRows(wide, one.root, splits, scale, boxes)
        share = (found[0] / scale[0]).reshape(1, 1, -1)
        exact = float(rows.lower(Slopes(values={Multipliers: share})))
        if exact > self.ledger.sure:
            return float(self.clipping.capped(one.lower.new_tensor(exact), one.tight))
        self.ledger.look(found[1].unsqueeze(0).to(one.lower), self.roots.problem[one.root])
        return min(max(lower, exact), 0.0)

    def _doubled(self) -> Roots:
        if self._wide is None:
            self._wide = self.roots.double()
        return self._wide

"""From open domains to their halves: which split is best, and where the halves' tuning starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..graph import Node
from ..slopes import Slopes
from .bounding import DomainRows, Multipliers, boxes_of
from .domains import Domains, Splits
from .planes import Planes
from .problem import Roots

__all__ = ["Batch", "best_splits", "children"]

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
        """Whole roots (D,); slopes: of all roots."""
        count = root.shape[0]
        empty, none = like.new_zeros(count, 0), like.new_full((count,), -torch.inf)
        return Batch(
            root,
            Splits.none(count, like),
            empty,
            empty,
            {node: values[root] for node, values in slopes.items()},
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


def children(
    roots: Roots,
    parents: Domains,
    index: Tensor,
    split: tuple[Tensor, Tensor, Tensor, Tensor],
    pull: Tensor,
) -> Batch:
    """Domains `index` of the parents, each with one more split: node, coordinate, side, point.

    pull (d,): of the split coordinates.
    """
    many = parents.select(index)
    zero = many.multipliers.new_zeros(many.count, 1)
    size = (_REACH * pull.unsqueeze(1)).clamp(min=torch.finfo(pull.dtype).tiny)
    multipliers, scale = _rescaled(many.multipliers, many.scale)
    return replace(
        Batch.again(many, roots),
        splits=many.splits.with_split(*split),
        multipliers=torch.cat((multipliers, zero), 1),
        scale=torch.cat((scale, size), 1),
    )


def best_splits(
    roots: Roots,
    parents: Domains,
    tries: int,
    at_once: int,
    *,
    known: Callable[[Tensor], tuple[Planes, Tensor] | None] = lambda tight: None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The candidate (D,) of `tries` whose halves are bounded best together, by one pass each.

    at_once: halves in one batch. known: how bounds `tight` of the parents are passed to `boxes_of`.
    """
    nodes, places, points, pulls = parents.branch
    tries, count, device = min(tries, nodes.shape[1]), parents.count, nodes.device
    if tries <= 1:
        return nodes[:, 0], places[:, 0], points[:, 0], pulls[:, 0]
    index = torch.arange(count, device=device).repeat_interleave(2 * tries)
    which = torch.arange(tries, device=device).repeat_interleave(2).repeat(count)
    side = parents.lower.new_tensor([1.0, -1.0]).repeat(count * tries)
    node, place, point, pull = (t[index, which] for t in parents.branch)
    many = children(roots, parents, index, (node, place, side, point), pull)
    bounds = []
    for part in torch.arange(count * tries * 2, device=device).split(at_once):
        splits = many.splits.select(part)
        boxes, empty = boxes_of(roots, many.root[part], splits, refresh=False, tight=known(many.tight[part]))
        rows = DomainRows(roots, many.root[part], splits, many.scale[part], boxes)
        lower = rows.lower(Slopes(values=many.values(part))).squeeze(1)
        bounds.append(torch.where(empty, torch.inf, lower))
    halves = torch.cat(bounds).reshape(count, tries, 2)
    score = halves.clamp(max=0.0).sum(2)  # what the halves leave to be done: a refuted one nothing
    score = torch.where(nodes[:, :tries] >= 0, score.nan_to_num(nan=-torch.inf), -torch.inf)
    best = score.argmax(1, keepdim=True)
    chosen = [t.gather(1, best)[:, 0] for t in parents.branch]
    return chosen[0], chosen[1], chosen[2], chosen[3]


def _rescaled(multipliers: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """The same multipliers, with more room for the large ones and finer steps for the small ones."""
    tiny = torch.finfo(scale.dtype).tiny
    factor = torch.where(multipliers > _OFTEN, 2.0, torch.where(multipliers < _RARE, 0.5, 1.0)).to(
        scale.dtype
    )
    factor = torch.where(scale * factor < tiny, torch.ones_like(factor), factor)
    return (multipliers / factor).clamp(0, 1), scale * factor

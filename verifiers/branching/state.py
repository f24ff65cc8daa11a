"""What a search over hidden coordinates knows between two calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_local.specs import Query

from ..interval import Interval
from .domains import Domains

__all__ = ["BranchState", "Opened", "TreesState"]

Opened = tuple[Domains, int]
"""An open domain: a batch of domains and the place in it."""


@dataclass(frozen=True, slots=True, eq=False)
class TreesState:
    """The trees of R clauses with equally many atoms: problem (R,), atoms (R, k), slopes by node number.

    worst (R,): the least bound of the domains that are done. left (l,): roots that are not bounded yet. open:
    the open domains, in the order in which they go on. gain: how many domains were clipped, and what that
    brought. kept: bytes of slopes that were kept for domains so far. closed: the domains that are done, where
    the settings ask for them; a state that was saved and restored has none. tightened: in how many domains
    hidden neurons were bounded anew. refined: how often trees of their own for hidden neurons helped, as
    -1 less that where these do not pay any more, and how many domains were bounded before the last time.
    """

    problem: Tensor
    atoms: Tensor
    slopes: Mapping[int, Tensor]
    worst: Tensor
    left: Tensor
    open: tuple[Opened, ...] = ()
    gain: tuple[int, float] = (0, 0.0)
    kept: int = 0
    closed: tuple[Domains, ...] = ()
    tightened: int = 0
    refined: tuple[int, int] = (0, 0)

    @property
    def done(self) -> bool:
        """Whether nothing is left to be done."""
        return not self.open and len(self.left) == 0

    def upper(self) -> Tensor:
        """The best upper bounds (R,) of the clauses: minus the worst lower bound over their domains."""
        worst = self.worst.index_fill(0, self.left, -torch.inf)
        for domains, k in self.open:
            root, lower = int(domains.root[k]), float(domains.lower[k])
            worst[root] = min(float(worst[root]), lower if lower == lower else -torch.inf)
        return -worst

    def select(self, place: Tensor) -> TreesState:
        """The trees of the problems that have a new place (W,), others have -1. Clipping begins anew."""
        kept = (place[self.problem] >= 0).nonzero().squeeze(1)
        number = torch.full_like(self.problem, -1)
        number[kept] = torch.arange(len(kept), device=kept.device)
        whole = {id(domains): domains for domains, _ in self.open}
        roots = {i: number[domains.root].tolist() for i, domains in whole.items()}
        stay = [(domains, k) for domains, k in self.open if roots[id(domains)][k] >= 0]
        places: dict[int, list[int]] = {}
        place_of: list[tuple[int, int]] = []
        for domains, k in stay:
            here = places.setdefault(id(domains), [])
            place_of.append((id(domains), len(here)))
            here.append(k)
        parts: dict[int, Domains] = {}
        for i, index in places.items():
            some = whole[i].select(torch.tensor(index, device=kept.device))
            parts[i] = replace(some, root=number[some.root], tight=some.tight[:, :, :0])
        left = number[self.left]
        return TreesState(
            place[self.problem[kept]],
            self.atoms[kept],
            {node: values[kept] for node, values in self.slopes.items()},
            self.worst[kept],
            left[left >= 0],
            tuple((parts[i], k) for i, k in place_of),
            kept=self.kept,
            closed=tuple(_renumbered(domains, number) for domains in self.closed),
            tightened=self.tightened,
            refined=self.refined,
        )


@dataclass(frozen=True, slots=True, eq=False)
class BranchState:
    """Where a search over hidden coordinates stopped, of B problems; W of them, `wanted` (W,), are searched.

    rows (B, m), upper (B,): bounds of the root method; sure (B,): where these need no second look. roots
    (W, m): its best bounds of the rows searched; boxes: of every node, (W, *shape); closed (W,): the largest
    bound of the clauses that need no tree. points (W, *in), found, broken (W,): the worst points, their
    violations, and whether they break the property. domains: how many were bounded.
    """

    rows: Tensor
    upper: Tensor
    sure: Tensor
    wanted: Tensor
    roots: Tensor
    boxes: tuple[Interval, ...]
    closed: Tensor
    points: Tensor
    found: Tensor
    broken: Tensor
    domains: int
    trees: tuple[TreesState, ...]

    @property
    def batch(self) -> int:
        """B."""
        return self.upper.shape[0]

    @property
    def open(self) -> int:
        """How many domains are open, roots that are not bounded yet included."""
        return sum(len(one.open) + len(one.left) for one in self.trees)

    def select(self, samples: Tensor) -> BranchState:
        """That of some problems (b,), none twice."""
        samples = samples.to(self.upper.device)
        among = torch.full((self.batch,), -1, dtype=torch.int64, device=samples.device)
        among[samples] = torch.arange(len(samples), device=samples.device)
        kept = (among[self.wanted] >= 0).nonzero().squeeze(1)
        place = torch.full_like(self.wanted, -1)
        place[kept] = torch.arange(len(kept), device=kept.device)
        return replace(
            self,
            rows=self.rows[samples],
            upper=self.upper[samples],
            sure=self.sure[samples],
            wanted=among[self.wanted[kept]],
            roots=self.roots[kept],
            boxes=tuple(box.select(kept) for box in self.boxes),
            closed=self.closed[kept],
            points=self.points[kept],
            found=self.found[kept],
            broken=self.broken[kept],
            trees=tuple(one.select(place) for one in self.trees),
        )

    def searched(self) -> Tensor:
        """Upper bounds (W,) of the problems that are searched."""
        upper = self.closed.clone()
        for one in self.trees:
            upper.scatter_reduce_(0, one.problem, one.upper(), "amax")
        return torch.minimum(upper, self.upper[self.wanted])

    def starts(self, query: Query, count: int) -> Tensor:
        """Where the bounds of every problem's worst domains are smallest, (B, count, *in); else its worst
        point.
        """
        box = query.inputs.box()
        lower, upper = (face.to(self.points) for face in (box.lower, box.upper))
        found = (0.5 * lower + 0.5 * upper).unsqueeze(1).repeat(1, count, *(1,) * (lower.dim() - 1))
        found[self.wanted] = self.points.unsqueeze(1)
        filled = [0] * self.batch
        for one in self.trees:
            for domains, k in sorted(one.open, key=lambda entry: float(entry[0].lower[entry[1]])):
                b = int(self.wanted[one.problem[domains.root[k]]])
                if filled[b] < count and domains.plane[0].shape[1] == lower[0].numel():
                    falls = domains.plane[0][k].reshape(lower.shape[1:]) > 0
                    found[b, filled[b]] = torch.where(falls, lower[b], upper[b])
                    filled[b] += 1
        return found

    def tensors(self) -> dict[str, Tensor]:
        """All of it, by name."""
        from .state_files import tensors_of

        return tensors_of(self)


def _renumbered(domains: Domains, number: Tensor) -> Domains:
    """Those of the domains whose roots have a new number, others have -1."""
    kept = domains.select((number[domains.root] >= 0).nonzero().squeeze(1))
    return replace(kept, root=number[kept.root])

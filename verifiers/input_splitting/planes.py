"""Linear functions above the atoms on parts of boxes: the bounds they give together, and what they cut away.

A conjunction can only be violated where all its atoms' functions are large at once, so every convex
combination of them bounds it: the best one is the dual of the linear program over the part. What no clause
leaves open is clipped off, coordinate by coordinate in closed form, with all rows and their combination in
turn (as in Clip-and-Verify, Zhou et al. 2025, NeurIPS).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_local.specs import Tree, count_clauses, disjuncts

from .leaves import Leaves

__all__ = ["Clauses", "Joint", "Planes", "clip"]

_UNKNOWN = 1e300  # what stands for "no bound": finite, so that a multiple of zero is zero
_MOST_CLAUSES = 512
_MOST_WORK = 2**24  # numbers in one line search over all clauses of a batch


@dataclass(frozen=True, slots=True, eq=False)
class Clauses:
    """An OR of conjunctions: index (c, w) has the atoms of each, the first repeated where there are fewer."""

    index: Tensor

    @staticmethod
    def of(tree: Tree, device: torch.device) -> Clauses | None:
        """The clauses of a tree; None where these are too many."""
        if count_clauses(tree) > _MOST_CLAUSES:
            return None
        found = [[atom.index for atom in clause] for clause in disjuncts(tree)]
        width = max(map(len, found))
        return Clauses(torch.tensor([one + one[:1] * (width - len(one)) for one in found], device=device))

    @property
    def single(self) -> bool:
        """Whether every clause is one atom."""
        return self.index.shape[1] == 1


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Linear functions above the atoms on n boxes, e_i(x) <= slopes_i x + constant_i.

    slopes (n, m, d) by the coordinates that are cut; top (n, m) the functions' largest values on the boxes;
    all float64. NaN where nothing is known. slack: what rounding may have done to them, relatively.
    """

    slopes: Tensor
    top: Tensor
    slack: float = 1e-5

    def select(self, index: Tensor) -> Planes:
        """The functions on some of the boxes."""
        return replace(self, slopes=self.slopes[index], top=self.top[index])

    def or_lower(self, others: Planes) -> Planes:
        """Of both functions above each atom the one with the lower top."""
        lower = (others.top < self.top) | (torch.isnan(self.top) & torch.isfinite(others.top))
        slopes = torch.where(lower.unsqueeze(2), others.slopes, self.slopes)
        return replace(self, slopes=slopes, top=torch.where(lower, others.top, self.top))

    def effect(self, leaves: Leaves) -> Tensor:
        """How much the coordinates change the undecided atoms' functions, (n, d)."""
        width = leaves.upper - leaves.lower
        wanted = (leaves.rows >= 0).to(width.dtype).unsqueeze(2)
        return (self.slopes.abs() * wanted).sum(1) * width

    def corners(self, leaves: Leaves) -> Tensor:
        """Of each box the corner (n, d) where the undecided atoms' functions are largest together."""
        wanted = (leaves.rows >= 0).to(leaves.lower.dtype).unsqueeze(2)
        up = (self.slopes.nan_to_num(0.0) * wanted).sum(1) > 0
        return torch.where(up, leaves.upper, leaves.lower)

    def in_clauses(self, clauses: Clauses, leaves: Leaves) -> Joint:
        """The functions of every clause, and the best combination of each."""
        radius = 0.5 * (leaves.upper - leaves.lower)
        known = torch.isfinite(self.top) & torch.isfinite(self.slopes).all(2)
        slopes = torch.where(known.unsqueeze(2), self.slopes, 0.0)
        scaled = slopes * radius.unsqueeze(1)
        middle = torch.where(known, self.top - scaled.abs().sum(2), _UNKNOWN)
        a, k = scaled[:, clauses.index], middle[:, clauses.index]
        if not clauses.single and a[:, :, 0].numel() * a.shape[3] <= _MOST_WORK:
            best, value = _combined(a, k)
            a, k = torch.cat((a, best.unsqueeze(2)), 2), torch.cat((k, value.unsqueeze(2)), 2)
        return Joint(a, k, self.slack)


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """Functions k + a u on n boxes scaled to -1 <= u <= 1: a (n, c, w, d), k (n, c, w), w of each clause."""

    a: Tensor
    k: Tensor
    slack: float

    def value(self, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
        """Upper bounds (n, c) of the clauses: over the boxes, or over parts low <= u <= high (n, c, d)."""
        most = (
            self.a.abs()
            if low is None or high is None
            else (_largest(self.a, low.unsqueeze(2), high.unsqueeze(2)))
        )
        value = (self.k + most.sum(3)).amin(2)
        return torch.where(value < 0.5 * _UNKNOWN, value, torch.inf)

    def clipped(self, margin: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
        """Hulls low, high (n, c, d) in -1..1 of where clauses may be true of functions above -margin (n,).

        low > high where there is no such point.
        """
        shape = (*self.a.shape[:2], self.a.shape[3])
        low, high = self.a.new_full(shape, -1.0), self.a.new_full(shape, 1.0)
        size = self.k.abs() + self.a.abs().sum(3)
        for _ in range(rounds):
            for i in range(self.a.shape[2]):
                a = self.a[:, :, i]
                most = _largest(a, low, high)
                room = self.k[:, :, i] + most.sum(2) + margin.unsqueeze(1) + self.slack * size[:, :, i]
                step = room.unsqueeze(2) / a.abs()
                # where a is zero the step is infinite or NaN, and cuts nothing
                low = torch.where(a > 0, torch.maximum(low, high - step), low)
                high = torch.where(a < 0, torch.minimum(high, low + step), high)
                never = (room < 0).unsqueeze(2)
                low, high = torch.where(never, 1.0, low), torch.where(never, -1.0, high)
        empty = (low > high).any(2, keepdim=True)
        return torch.where(empty, 1.0, low), torch.where(empty, -1.0, high)


def clip(joint: Joint, leaves: Leaves, margin: Tensor, rounds: int) -> tuple[Leaves, Tensor]:
    """The leaves without the margins where no clause is above -margin (n,); and whether any part is left.

    `value` of the result bounds what is left of the leaf, not less than -margin.
    """
    low, high = joint.clipped(margin, rounds)
    empty = (low > high).any(2)
    value = torch.where(empty, -torch.inf, joint.value(low, high)).amax(1)
    left = ~empty.all(1)
    first = torch.where(empty.unsqueeze(2), 1.0, low).amin(1)
    last = torch.where(empty.unsqueeze(2), -1.0, high).amax(1)
    lower, upper = _placed(leaves, first, last)
    kept = left.unsqueeze(1)
    value = torch.where(left, torch.maximum(value, -margin), -margin)
    return (
        replace(
            leaves,
            lower=torch.where(kept, lower, leaves.lower),
            upper=torch.where(kept, upper, leaves.upper),
            value=torch.minimum(leaves.value, value),
        ),
        left,
    )


def _placed(leaves: Leaves, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """The parts first..last of -1..1 of the leaves in their own coordinates, rounded outward."""
    middle, radius = 0.5 * (leaves.lower + leaves.upper), 0.5 * (leaves.upper - leaves.lower)
    slack = 1e-12 * (radius + middle.abs())
    lower = torch.where(first <= -1.0, leaves.lower, middle + first * radius - slack)
    upper = torch.where(last >= 1.0, leaves.upper, middle + last * radius + slack)
    return torch.maximum(lower, leaves.lower), torch.minimum(upper, leaves.upper)


def _combined(a: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Of a (n, c, w, d), k (n, c, w): the convex combination of the w functions with a small largest value.

    Line searches, exact, from the best function towards every other in turn; any combination is a bound.
    """
    first = (k + a.abs().sum(3)).argmin(2, keepdim=True)
    best = a.gather(2, first.unsqueeze(3).expand(-1, -1, 1, a.shape[3])).squeeze(2)
    value = k.gather(2, first).squeeze(2)
    for _ in range(1 if a.shape[2] == 2 else 2):
        for i in range(a.shape[2]):
            best, value = _towards(best, value, a[:, :, i], k[:, :, i])
    return best, value


def _towards(a: Tensor, k: Tensor, b: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """The best function between k + a u and q + b u: a, b (n, c, d), k, q (n, c).

    The largest value is convex and piecewise linear in the share, with corners where a coefficient vanishes.
    """
    share = (a / (a - b)).nan_to_num(0.0, 0.0, 0.0).clamp(0.0, 1.0)
    share = torch.cat((torch.zeros_like(k).unsqueeze(2), share, torch.ones_like(k).unsqueeze(2)), 2)
    between = torch.lerp(a.unsqueeze(2), b.unsqueeze(2), share.unsqueeze(3))
    top = torch.lerp(k.unsqueeze(2), q.unsqueeze(2), share) + between.abs().sum(3)
    place = top.argmin(2, keepdim=True)
    t = share.gather(2, place)
    return torch.lerp(a, b, t), torch.lerp(k, q, t.squeeze(2))


def _largest(a: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Largest values of the terms a u over low <= u <= high."""
    return torch.maximum(a * low, a * high)

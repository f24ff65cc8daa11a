"""FMN and DDN: walks on a sphere whose radius shrinks while the point is bad and grows while it is not.

FMN: M. Pintor, F. Roli, W. Brendel, B. Biggio, "Fast minimum-norm adversarial attacks through adaptive norm
constraints", NeurIPS 2021, arXiv 2102.12827 (algorithm 1). DDN: J. Rony et al., "Decoupling direction and
norm for efficient gradient-based l2 adversarial attacks and defenses", CVPR 2019, arXiv 1811.09600 (algorithm
1). Lengths are in units of the set, so that the same settings serve every radius.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import Unpack

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .attack import AttackResult, attack
from .distances import DISTANCES
from .nearest import Chase, Common, Look, approach

__all__ = ["DDN", "FMN", "ddn", "fmn"]


@dataclass(frozen=True, slots=True)
class FMN:
    """Settings of FMN walks, in the set's own norm.

    step_size: of the first step, in units of the set; it falls to `last` on a cosine, as does `rate`, the
    share by which a radius changes in a step, to a thousandth.
    """

    steps: int = 100
    step_size: float = 1.0
    last: float = 1e-3
    rate: float = 0.05

    def __post_init__(self) -> None:
        _require(self.steps)

    def __call__(self, chase: Chase, restart: int) -> None:
        """One walk of all samples."""
        u = chase.start(restart)
        radius = torch.full_like(u[:, 0], torch.inf)
        for step in range(self.steps):
            seen, u, radius = _looked(chase, u, radius)
            if seen is None:
                return
            radius = self._radius(chase, u, radius, seen, step)
            size = _cosine(self.step_size, self.last, step, self.steps)
            moved = u + size * unit(seen.gradients[:, 0]) * chase.size
            u = chase.gauge.cut(chase.gauge.distance.shrink(chase.gauge.cut(moved), radius))
        chase.test(u)
        chase.drop()

    def _radius(self, chase: Chase, u: Tensor, radius: Tensor, seen: Look, step: int) -> Tensor:
        """The radius (b,) of the next point: nearer than the best, or as far as the tangent plane says."""
        distance = chase.gauge.distance
        share = _cosine(self.rate, self.rate / 1000, step, self.steps)
        best = chase.share * chase.gauge.reach.clamp(min=1)
        if distance.p == 0:  # counts change by at least one
            inner = torch.minimum(torch.floor(radius * (1 - share)), radius - 1)
            outer = torch.maximum(torch.ceil(radius * (1 + share)), radius + 1)
        else:
            inner, outer = radius * (1 - share), radius * (1 + share)
        nearer = torch.minimum(inner, best * (1 - share) if distance.p else best - 1).clamp(min=0)
        slope = distance.dual(seen.gradients[:, 0]).clamp(min=1e-12)
        guess = distance.length(u) + seen.values[:, 0].nan_to_num(neginf=-1.0).abs() / slope
        guess = guess.clamp(max=1e4) * (1 + self.rate)  # a point on the plane itself would not be bad
        guess = guess.ceil() if distance.p == 0 else guess
        never = torch.isinf(best)
        return torch.where(seen.bad, nearer, torch.where(never, guess, torch.minimum(outer, best)))


@dataclass(frozen=True, slots=True)
class DDN:
    """Settings of DDN walks, in l2: steps of length `step_size`, then to a sphere of its own radius.

    The radius begins at 1 (the set's size) and changes by the share `rate` in every step.
    """

    steps: int = 100
    step_size: float = 1.0
    last: float = 0.01
    rate: float = 0.05

    def __post_init__(self) -> None:
        _require(self.steps)

    def __call__(self, chase: Chase, restart: int) -> None:
        """One walk of all samples."""
        l2 = DISTANCES[2.0]
        u = chase.start(restart)
        radius = torch.ones_like(u[:, 0]) * chase.size[:, 0]
        for step in range(self.steps):
            seen, u, radius = _looked(chase, u, radius)
            if seen is None:
                return
            radius = radius * torch.where(seen.bad, 1 - self.rate, 1 + self.rate)
            size = _cosine(self.step_size, self.last, step, self.steps)
            moved = u + size * unit(seen.gradients[:, 0]) * chase.size
            u = chase.gauge.cut(moved * (radius / l2.length(moved).clamp(min=1e-12)).unsqueeze(1))
        chase.test(u)
        chase.drop()


@attack("fmn")
def fmn(query: Query, *, steps: int = 100, **common: Unpack[Common]) -> AttackResult:
    """FMN walks within the sets, in their own norm (linf, l2, l1, l0); arguments as for `approach`."""
    return approach(query, FMN(steps=steps), name="fmn", **common)


@attack("ddn")
def ddn(query: Query, *, steps: int = 100, **common: Unpack[Common]) -> AttackResult:
    """DDN walks: l2 by design, points count in sets of any kind; arguments as for `approach`."""
    return approach(query, DDN(steps=steps), name="ddn", **common)


def _looked(chase: Chase, u: Tensor, radius: Tensor) -> tuple[Look | None, Tensor, Tensor]:
    """A look at u (b, n), and what it says of the samples that are left; None where the walk ends."""
    if chase.search.expired():
        return None, u, radius
    seen = chase.look(u, chase.violation)
    keep = chase.drop()
    if chase.search.done:
        return None, u, radius
    if keep is not None:
        seen, u, radius = seen.select(keep), u[keep], radius[keep]
    return seen, u, radius


def unit(gradient: Tensor) -> Tensor:
    """The gradient (b, n) at l2 norm 1; 0 where it is zero."""
    scaled = gradient / gradient.abs().amax(1, keepdim=True).clamp(min=1e-30)
    return scaled / DISTANCES[2.0].length(scaled).clamp(min=1e-30).unsqueeze(1)


def _cosine(first: float, last: float, step: int, steps: int) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * step / steps)) / 2


def _require(steps: int) -> None:
    if steps < 1:
        raise RobustBenchError(f"steps is {steps}", where="steps", cure="give 1 or more")

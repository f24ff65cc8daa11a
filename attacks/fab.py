"""FAB: walks along the decision boundary to the nearest point of the other side.

F. Croce and M. Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack", ICML
2020, arXiv 1907.02044. Every step replaces the decision boundary by its tangent plane, and goes to a blend of
the nearest point on it from here and the nearest point on it from the origin. Two differences from the
paper: bad points are looked at where the next gradient is taken, so that a step costs one forward pass and
not two; and after a bad point the walk is pulled back and steps by the plane that it already has.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import Unpack

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .attack import AttackResult, attack
from .distances import Plane
from .nearest import Chase, Common, approach
from .prospects import Prospects

__all__ = ["FAB", "fab", "fab_targeted"]

_WINDOWS = 10  # between two looks at whether there is hope


@dataclass(frozen=True, slots=True)
class FAB:
    """Settings of FAB walks of `steps` steps.

    targeted: one walk towards each clause instead of one walk towards the nearest of them all, which needs
    a gradient for each clause. bias: most weight of the step from the origin. overshoot: of a step beyond
    the plane. pull: share of the way that is kept when a walk starts again from a bad point.
    """

    steps: int = 100
    targeted: bool = True
    bias: float = 0.1
    overshoot: float = 1.05
    pull: float = 0.9

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise RobustBenchError(f"steps is {self.steps}", where="steps", cure="give 1 or more")

    def __call__(self, chase: Chase, restart: int) -> None:
        """One walk of all samples, or one towards each clause."""
        for rank in range(chase.ranking.shape[1] if self.targeted else 1):
            chase.resume()
            if chase.done:
                return
            self._walk(chase, restart, rank)

    def _walk(self, chase: Chase, restart: int, rank: int) -> None:
        values = chase.towards(rank) if self.targeted else chase.each
        u = chase.start(restart)
        prospects, window = Prospects.begin(u), max(1, self.steps // _WINDOWS)
        for step in range(self.steps):
            if chase.search.expired():
                return
            seen = chase.look(u, values)
            keep = chase.drop()
            if chase.search.done:
                return
            gradients, value, bad = seen
            if keep is not None:
                u, gradients, value, bad = u[keep], gradients[keep], value[keep], bad[keep]
                prospects = prospects.select(keep)
            near = torch.where(bad, 1 - chase.gauge.share(u), -torch.inf)  # above 0 inside the set
            prospects = prospects.saw(near.to(torch.float64))
            if step and step % window == 0:
                stay = chase.park(prospects.hopeless((self.steps - step) // window, chase.patience))
                prospects = prospects.checkpoint()
                if chase.search.done:
                    return
                if stay is not None:
                    u, gradients, value, bad = u[stay], gradients[stay], value[stay], bad[stay]
                    prospects = prospects.select(stay)
            normal, at = nearest_plane(chase, gradients, value)
            back = torch.where(bad.unsqueeze(1), self.pull * u, u)
            at = at + (normal * (back - u)).sum(1)
            u = self._step(chase, back, normal, at)
        chase.test(u)
        chase.drop()

    def _step(self, chase: Chase, u: Tensor, normal: Tensor, value: Tensor) -> Tensor:
        """From displacements u (b, n) to the plane value + <normal, d> = 0, and towards the origin."""
        gauge = chase.gauge
        there = (normal * u).sum(1)
        d = gauge.distance.to_plane(Plane(normal, -value, gauge.lower - u, gauge.upper - u))
        d0 = gauge.distance.to_plane(Plane(normal, there - value, gauge.lower, gauge.upper))
        far, far0 = gauge.distance.length(d), gauge.distance.length(d0)
        blend = (far / (far + far0).clamp(min=1e-12)).clamp(max=self.bias).unsqueeze(1)
        return gauge.cut((1 - blend) * (u + self.overshoot * d) + blend * self.overshoot * d0)


def nearest_plane(chase: Chase, gradients: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Of the tangent planes of k objectives (b, k, n), (b, k) the nearest: normal (b, n), value (b,)."""
    if values.shape[1] == 1:
        return gradients[:, 0], values[:, 0].nan_to_num(neginf=-1.0)
    value = values.nan_to_num(neginf=-1.0)
    b, k, n = gradients.shape
    steep = chase.gauge.distance.dual(gradients.reshape(b * k, n)).reshape(b, k)
    place = (value.abs() / steep.clamp(min=1e-12)).argmin(1, keepdim=True)
    normal = gradients.gather(1, place.unsqueeze(2).expand(-1, 1, n)).squeeze(1)
    return normal, value.gather(1, place).squeeze(1)


@attack("fab")
def fab(query: Query, *, steps: int = 100, **common: Unpack[Common]) -> AttackResult:
    """FAB towards the nearest clause, within the sets: every step needs a gradient for each of `targets`.

    Other arguments, and errors, as for `approach`.
    """
    return approach(query, FAB(steps=steps, targeted=False), name="fab", **common)


@attack("fab-t")
def fab_targeted(query: Query, *, steps: int = 100, **common: Unpack[Common]) -> AttackResult:
    """FAB with one walk towards each of the `targets` clauses nearest to being violated; as `fab`."""
    return approach(query, FAB(steps=steps), name="fab-t", **common)

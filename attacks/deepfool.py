"""DeepFool: straight to the nearest tangent plane, again and again, until the point is bad.

S. Moosavi-Dezfooli, A. Fawzi, P. Frossard, "DeepFool: a simple and accurate method to fool deep neural
networks", CVPR 2016, arXiv 1511.04599. The step is the shortest in the set's own norm (linf, l2, l1, l0).
"""

from __future__ import annotations

from dataclasses import dataclass

from typing_extensions import Unpack

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .attack import AttackResult, attack
from .distances import Plane
from .fab import nearest_plane
from .nearest import Chase, Common, approach

__all__ = ["DeepFool", "deepfool"]


@dataclass(frozen=True, slots=True)
class DeepFool:
    """Settings of DeepFool walks of at most `steps` steps, each `overshoot` times as long as to the plane."""

    steps: int = 50
    overshoot: float = 1.02

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise RobustBenchError(f"steps is {self.steps}", where="steps", cure="give 1 or more")

    def __call__(self, chase: Chase, restart: int) -> None:
        """One walk of all samples; those that have met a bad point wait there for the others."""
        u = chase.start(restart)
        for _ in range(self.steps):
            if chase.search.expired():
                return
            seen = chase.look(u, chase.each)
            keep = chase.drop()
            if keep is not None:
                u, seen = u[keep], seen.select(keep)
            stay = chase.park(seen.bad)
            if stay is not None:
                u, seen = u[stay], seen.select(stay)
            if chase.search.done:
                return
            normal, value = nearest_plane(chase, seen.gradients, seen.values)
            gauge = chase.gauge
            d = gauge.distance.to_plane(Plane(normal, -value, gauge.lower - u, gauge.upper - u))
            u = gauge.cut(u + self.overshoot * d)
        chase.test(u)
        chase.drop()


@attack("deepfool")
def deepfool(query: Query, *, steps: int = 50, **common: Unpack[Common]) -> AttackResult:
    """DeepFool within the sets: every step needs a gradient for each of `targets`; as for `approach`."""
    return approach(query, DeepFool(steps=steps), name="deepfool", **common)

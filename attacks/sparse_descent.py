"""sigma-zero: gradient steps on a smooth stand-in for the number of changed coordinates.

A. Cina et al., "sigma-zero: gradient-based optimization of l0-norm adversarial examples", ICLR 2025, arXiv
2402.01879 (algorithm 1): the count is replaced by the sum of u_i^2 / (u_i^2 + sigma), gradients are taken at
largest entry 1, and coordinates below a threshold that follows success are set to zero.
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
from .nearest import Chase, Common, approach

__all__ = ["SigmaZero", "sigma_zero"]

_CHANGE = 0.01  # of the threshold in a step, in units of the step size


@dataclass(frozen=True, slots=True)
class SigmaZero:
    """Settings: `steps` steps, the first `step_size` long, falling on a cosine; sigma smooths the count.

    threshold: coordinates smaller than this are set to zero at first.
    """

    steps: int = 100
    step_size: float = 1.0
    sigma: float = 1e-3
    threshold: float = 0.3

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise RobustBenchError(f"steps is {self.steps}", where="steps", cure="give 1 or more")

    def __call__(self, chase: Chase, restart: int) -> None:
        """One walk of all samples."""
        u = chase.start(restart)
        level = torch.full_like(u[:, :1], self.threshold)
        for step in range(self.steps):
            if chase.search.expired():
                return
            gradients, _, bad = chase.look(u, chase.violation)
            keep = chase.drop()
            if chase.search.done:
                return
            slope = gradients[:, 0]
            if keep is not None:
                u, level, bad, slope = u[keep], level[keep], bad[keep], slope[keep]
            size = self.step_size * (1 + math.cos(math.pi * step / self.steps)) / 2
            u = chase.gauge.cut(u - size * _scaled(self._slope(u, slope, bad)))
            change = _CHANGE * size * torch.where(bad, 1.0, -1.0).to(u.dtype).unsqueeze(1)
            level = (level + change).clamp(0.0, 1.0)
            u = torch.where(u.abs() < level, 0.0, u)
        chase.test(u)
        chase.drop()

    def _slope(self, u: Tensor, slope: Tensor, bad: Tensor) -> Tensor:
        """The gradient (b, n) of the count's stand-in, and of minus the violation where u is not bad."""
        count = 2 * self.sigma * u / (u * u + self.sigma) ** 2 / u.shape[1]
        return count - torch.where(bad.unsqueeze(1), 0.0, slope)


@attack("sigma-zero")
def sigma_zero(query: Query, *, steps: int = 100, **common: Unpack[Common]) -> AttackResult:
    """sigma-zero within the sets, made for l0 balls; arguments as for `approach`."""
    return approach(query, SigmaZero(steps=steps), name="sigma-zero", **common)


def _scaled(slope: Tensor) -> Tensor:
    return slope / slope.abs().amax(1, keepdim=True).clamp(min=1e-12)

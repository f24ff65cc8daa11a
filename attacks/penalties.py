"""CW and EAD: the length of a displacement plus a penalty for not being bad, whose weight is searched.

CW: N. Carlini, D. Wagner, "Towards evaluating the robustness of neural networks", S&P 2017, arXiv 1608.04644
(the l2 attack; here Adam steps are clipped to the limits in place of the tanh change of variables). EAD:
P.-Y. Chen et al., "EAD: elastic-net attacks to deep neural networks via adversarial examples", AAAI 2018,
arXiv 1709.04114 (accelerated proximal gradient steps). Lengths are in units of the set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import Unpack

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .attack import AttackResult, attack
from .nearest import Chase, Common, approach

__all__ = ["CW", "EAD", "carlini_wagner", "ead"]

_KEEP, _SQUARES = 0.9, 0.999  # Adam's averages
_MOST_WEIGHT = 1e10

Step = Callable[[Tensor, tuple[Tensor, ...], Tensor, int], tuple[Tensor, tuple[Tensor, ...]]]
"""step(u, memory, penalty gradient, number) -> the next u and memory, all (b, n)."""


@dataclass(frozen=True, slots=True)
class CW:
    """Settings of CW walks: `rounds` weights of the penalty, the first `weight`, with `steps` steps each.

    step_size: of Adam, in units of the set's size.
    """

    steps: int = 100
    rounds: int = 5
    step_size: float = 0.05
    weight: float = 1.0

    def __post_init__(self) -> None:
        _require(steps=self.steps, rounds=self.rounds)

    def __call__(self, chase: Chase, restart: int) -> None:
        """All rounds of all samples."""
        _search_weight(chase, restart, self.rounds, self.weight, self._walk)

    def _walk(self, chase: Chase, u: Tensor, weight: Tensor) -> Tensor | None:
        def step(
            u: Tensor, memory: tuple[Tensor, ...], push: Tensor, number: int
        ) -> tuple[Tensor, tuple[Tensor, ...]]:
            slope = 2 * u + push
            mean = _KEEP * memory[0] + (1 - _KEEP) * slope
            square = _SQUARES * memory[1] + (1 - _SQUARES) * slope**2
            lean = mean / (1 - _KEEP**number)
            spread = (square / (1 - _SQUARES**number)).sqrt() + 1e-8
            size = self.step_size * chase.size / u.shape[1] ** 0.5
            return chase.gauge.cut(u - size * lean / spread), (mean, square)

        return _walked(chase, u, weight, self.steps, (torch.zeros_like(u), torch.zeros_like(u)), step)


@dataclass(frozen=True, slots=True)
class EAD:
    """Settings of EAD walks; `sparsity` is the weight of the l1 norm beside the squared l2 norm."""

    steps: int = 100
    rounds: int = 5
    step_size: float = 0.05
    weight: float = 1.0
    sparsity: float = 0.01

    def __post_init__(self) -> None:
        _require(steps=self.steps, rounds=self.rounds)

    def __call__(self, chase: Chase, restart: int) -> None:
        """All rounds of all samples."""
        _search_weight(chase, restart, self.rounds, self.weight, self._walk)

    def _walk(self, chase: Chase, u: Tensor, weight: Tensor) -> Tensor | None:
        def step(
            u: Tensor, memory: tuple[Tensor, ...], push: Tensor, number: int
        ) -> tuple[Tensor, tuple[Tensor, ...]]:
            size = self.step_size * (1 - (number - 1) / self.steps) ** 0.5
            moved = u - size * (2 * u + push)
            soft = chase.gauge.cut(moved - moved.clamp(-self.sparsity * size, self.sparsity * size))
            return chase.gauge.cut(soft + (number - 1) / (number + 2) * (soft - memory[0])), (soft,)

        return _walked(chase, u, weight, self.steps, (u,), step)


@attack("cw")
def carlini_wagner(query: Query, *, steps: int = 100, **common: Unpack[Common]) -> AttackResult:
    """The CW attack (l2) within the sets, five weights of `steps` steps; arguments as for `approach`."""
    return approach(query, CW(steps=steps), name="cw", **common)


@attack("ead")
def ead(query: Query, *, steps: int = 100, **common: Unpack[Common]) -> AttackResult:
    """EAD (l1 and l2 together) within the sets, five weights of `steps` steps; as for `approach`."""
    return approach(query, EAD(steps=steps), name="ead", **common)


def _search_weight(
    chase: Chase,
    restart: int,
    rounds: int,
    weight: float,
    walk: Callable[[Chase, Tensor, Tensor], Tensor | None],
) -> None:
    """Bisection on the penalty's weight: less where a walk met bad points, more where it met none."""
    count = int(chase.ranking.shape[0])
    low, high = torch.zeros((2, count), dtype=chase.share.dtype, device=chase.share.device)
    high, now = high + _MOST_WEIGHT, torch.full_like(low, weight)
    for _ in range(rounds):
        if chase.done:
            return
        met = walk(chase, chase.start(restart), now[chase.search.rows])
        if met is None:
            return
        rows = chase.search.rows
        high[rows] = torch.where(met, now[rows], high[rows])
        low[rows] = torch.where(met, low[rows], now[rows])
        now = torch.where(high < _MOST_WEIGHT, (low + high) / 2, now * 10)


def _walked(
    chase: Chase, u: Tensor, weight: Tensor, steps: int, memory: tuple[Tensor, ...], step: Step
) -> Tensor | None:
    """One walk: which samples (b,) met a bad point on it; None if all have left."""
    met = torch.zeros_like(weight, dtype=torch.bool)
    for number in range(1, steps + 1):
        if chase.search.expired():
            return None
        gradients, _, bad = chase.look(u, chase.violation)
        keep = chase.drop()
        if chase.search.done:
            return None
        slope = gradients[:, 0]
        if keep is not None:
            u, weight, met, bad, slope = u[keep], weight[keep], met[keep], bad[keep], slope[keep]
            memory = tuple(part[keep] for part in memory)
        met = met | bad
        push = -torch.where(bad, 0.0, weight).unsqueeze(1) * slope
        u, memory = step(u, memory, push, number)
    met = met | chase.test(u)
    keep = chase.drop()
    return met if keep is None else met[keep]


def _require(**numbers: int) -> None:
    for name, value in numbers.items():
        if value < 1:
            raise RobustBenchError(f"{name} is {value}", where=name, cure="give 1 or more")

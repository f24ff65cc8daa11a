"""HopSkipJump: along the decision boundary with nothing but the answer "bad or not" at each point.

J. Chen, M. Jordan, M. Wainwright, "HopSkipJumpAttack: a query-efficient decision-based attack", S&P 2020,
arXiv 1904.02144 (algorithm 2). From a bad point, however far, the walk bisects to the boundary, estimates
the boundary's normal from the answers around, steps along it while the answer stays bad, and bisects again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from typing_extensions import Unpack

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Query

from .attack import AttackResult, attack
from .nearest import Chase, Common, approach
from .norm_walks import unit

__all__ = ["HopSkipJump", "hopskipjump"]

_SHELLS = (1.0, 2.0, 4.0, 8.0, 16.0)  # how far away a first bad point is looked for, in units of the set
_BISECTIONS = 8
_HALVINGS = 5
_PROBE = 0.1  # around a boundary point, as a share of its distance


@dataclass(frozen=True, slots=True)
class HopSkipJump:
    """Settings: `queries` answers in all, `probes` of them for each estimate of a normal."""

    queries: int = 1000
    probes: int = 20

    def __post_init__(self) -> None:
        for name, value in (("queries", self.queries), ("probes", self.probes)):
            if value < 1:
                raise RobustBenchError(f"{name} is {value}", where=name, cure="give 1 or more")

    def __call__(self, chase: Chase, restart: int) -> None:
        """One walk of all samples for which a bad point is found."""
        left = self.queries - self._first(chase, restart)
        chase.park(torch.isinf(chase.share))  # nothing to start from
        cost = self.probes + _BISECTIONS + _HALVINGS
        step = 0
        while left >= cost and not chase.done:
            if not self._onto_boundary(chase) or not self._along(chase, restart, step):
                return
            left -= cost
            step += 1

    def _first(self, chase: Chase, restart: int) -> int:
        """Looks for a bad point in shells around the origin; the number of answers that it took."""
        count = 0
        for shell in _SHELLS:
            for number in range(max(1, min(4, self.queries // 10))):
                if chase.done:
                    break
                way = 2 * self._numbers(chase, restart, -2 - number, int(shell)) - 1
                size = chase.gauge.distance.length(way).clamp(min=1e-12).unsqueeze(1)
                reach = chase.gauge.reach.clamp(min=1).unsqueeze(1)
                chase.test(chase.gauge.cut(shell * reach * way / size))
                chase.drop()
                chase.park(torch.isfinite(chase.share))  # one is enough
                count += 1
        chase.resume()
        return count

    def _onto_boundary(self, chase: Chase) -> bool:
        """Bisects between the origin and the nearest bad point; whether samples are left."""
        low, high, end = torch.zeros_like(chase.share), torch.ones_like(chase.share), chase.best
        for _ in range(_BISECTIONS):
            if chase.search.expired():
                return False
            middle = (low + high) / 2
            bad = chase.test(middle.unsqueeze(1) * end)
            low, high = torch.where(bad, low, middle), torch.where(bad, middle, high)
            keep = chase.drop()
            if chase.search.done:
                return False
            if keep is not None:
                low, high, end = low[keep], high[keep], end[keep]
        return True

    def _along(self, chase: Chase, restart: int, step: int) -> bool:
        """A step along the estimated normal from the nearest bad point; whether samples are left."""
        u = chase.best
        normal, heard = torch.zeros_like(u), torch.zeros_like(u[:, :1])
        total = torch.zeros_like(u)
        for probe in range(self.probes):
            if chase.search.expired():
                return False
            way = unit(2 * self._numbers(chase, restart, step, probe) - 1)
            size = _PROBE * torch.linalg.vector_norm(u, dim=1, keepdim=True)
            answer = torch.where(chase.test(chase.gauge.cut(u + size * way)), 1.0, -1.0).to(u).unsqueeze(1)
            normal, heard, total = normal + answer * way, heard + answer, total + way
            keep = chase.drop()
            if chase.search.done:
                return False
            if keep is not None:
                u, normal, heard, total = u[keep], normal[keep], heard[keep], total[keep]
        lean = unit(normal - heard / self.probes * total)  # less the mean answer: a lower variance
        size = torch.linalg.vector_norm(u, dim=1, keepdim=True) / (step + 1) ** 0.5
        for _ in range(_HALVINGS):
            if chase.search.expired():
                return False
            bad = chase.test(chase.gauge.cut(u + size * lean))
            keep = chase.drop()
            if chase.search.done:
                return False
            if keep is not None:
                u, lean, size, bad = u[keep], lean[keep], size[keep], bad[keep]
            size = torch.where(bad.unsqueeze(1), size, size / 2)
        return True

    def _numbers(self, chase: Chase, restart: int, step: int, draw: int) -> Tensor:
        return chase.search.uniform(restart=1000 * restart + draw, step=step).flatten(1)


@attack("hopskipjump")
def hopskipjump(query: Query, *, queries: int = 1000, **common: Unpack[Common]) -> AttackResult:
    """HopSkipJump within the sets; sees no output but whether a point is bad. As for `approach`."""
    return approach(query, HopSkipJump(queries=queries), name="hopskipjump", **common)

"""Many small linear and diagonal quadratic programs at once, by an interior point method.

minimise  sum_j w_j z_j^2 / 2 - c_j z_j   over  G z <= h, -1 <= z_j <= 1,   w >= 0.

Predictor and corrector steps after S. Mehrotra, SIAM Journal on Optimization 2 (1992); all problems of
a batch step together, each with its own lengths. Only the m x m matrices G diag(.) G^T are factored, so
many coordinates are cheap and many rows are not. Nothing here is trusted by a bound: callers evaluate
the multipliers safely, or check points exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Program", "Solution", "solve"]

_STEP = 0.9995  # of the way to the nearest wall
_DONE = 1e-13  # complementarity at which rounding takes over


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """P problems in float64: G (P, m, n), h (P, m), w (P, n), c (P, n), of sizes around 1."""

    G: Tensor
    h: Tensor
    w: Tensor
    c: Tensor

    def select(self, index: Tensor) -> Program:
        """The problems at an index."""
        return Program(self.G[index], self.h[index], self.w[index], self.c[index])


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """Points z (P, n) with their slacks h - G z (P, m), z + 1 and 1 - z (P, n), and a multiplier of each.

    The slacks are unknowns of their own: computed from z they would lose their digits near the walls.
    """

    z: Tensor
    slacks: tuple[Tensor, Tensor, Tensor]  # of the rows, of z >= -1, of z <= 1
    duals: tuple[Tensor, Tensor, Tensor]

    def select(self, index: Tensor) -> Solution:
        """The solutions at an index."""
        return self._map(lambda t: t[index])

    def put(self, index: Tensor, part: Solution) -> Solution:
        """These solutions with those at an index replaced."""
        return self._map(lambda t, new: t.index_copy(0, index, new), part)

    def moved(self, step: Solution, length: Tensor) -> Solution:
        """self + length (P,) * step."""
        return self._map(lambda t, d: t + length.unsqueeze(1) * d, step)

    def _map(self, change: Callable[..., Tensor], *others: Solution) -> Solution:
        rows = [change(*ts) for ts in zip(*(s._all for s in (self, *others)), strict=True)]
        return Solution(rows[0], (rows[1], rows[2], rows[3]), (rows[4], rows[5], rows[6]))

    @property
    def _all(self) -> tuple[Tensor, ...]:
        return self.z, *self.slacks, *self.duals


def solve(program: Program, iterations: int = 40) -> Solution:
    """Nearly optimal points and multipliers (>= 0); where a problem has no point they are of no use."""
    now = result = _start(program)
    size, rows = now.duals[0][:, 0], torch.arange(len(now.z), device=now.z.device)
    for _ in range(iterations):
        gap, step, length = _iterate(program, now)
        fine = (gap > _DONE * size) & (length > 1e-9)  # NaN fails
        if bool(fine.all()):
            now = now.moved(step, length)
            continue
        result, keep = result.put(rows, now), fine.nonzero().flatten()
        if keep.numel() == 0:
            return result
        rows, size, program = rows[keep], size[keep], program.select(keep)
        now = now.select(keep).moved(step.select(keep), length[keep])
    return result.put(rows, now)


def _start(program: Program) -> Solution:
    size = torch.maximum(program.c.abs().amax(1), program.w.amax(1)).clamp(min=1e-100).unsqueeze(1)
    z, walls = torch.zeros_like(program.c), torch.ones_like(program.c)
    price = size * walls
    return Solution(z, (program.h.clamp(min=1.0), walls, walls), (size + 0 * program.h, price, price))


def _iterate(program: Program, now: Solution) -> tuple[Tensor, Solution, Tensor]:
    """Complementarity (P,), Newton step and its length (P,)."""
    G, (slack, below, above), (rows, low, high) = program.G, now.slacks, now.duals
    products = rows * slack, low * below, high * above
    gap = _mean(products)
    dual = program.c - program.w * now.z - _into(G, rows) + low - high
    primal = program.h - _onto(G, now.z) - slack
    theta = 1 / (program.w + low / below + high / above)
    matrix = (G * theta.unsqueeze(1)) @ G.mT
    matrix.diagonal(dim1=1, dim2=2).add_(slack / rows)

    def step(r_rows: Tensor, r_low: Tensor, r_high: Tensor) -> Solution:
        pull = dual + r_low / below - r_high / above
        right = _onto(G, theta * pull) - primal + r_rows / rows
        d_rows = torch.linalg.solve_ex(matrix, right.unsqueeze(2))[0].squeeze(2)
        dz = theta * (pull - _into(G, d_rows))
        d_low, d_high = (r_low - low * dz) / below, (r_high + high * dz) / above
        return Solution(dz, ((r_rows - slack * d_rows) / rows, dz, -dz), (d_rows, d_low, d_high))

    affine = step(*(-p for p in products))
    ahead = now.moved(affine, _length(now, affine, 1.0))
    rest = _mean(tuple(s * d for s, d in zip(ahead.slacks, ahead.duals, strict=True)))
    aim = ((rest / gap).clamp(0, 1) ** 3 * gap).unsqueeze(1)
    bends = (s * d for s, d in zip(affine.slacks, affine.duals, strict=True))
    corrected = step(*(aim - p - bend for p, bend in zip(products, bends, strict=True)))
    return gap, corrected, _length(now, corrected, _STEP)


def _mean(products: tuple[Tensor, ...]) -> Tensor:
    """The mean (P,) over the columns of all."""
    return torch.cat(products, 1).mean(1)


def _length(now: Solution, step: Solution, share: float) -> Tensor:
    """The longest step (P,), at most 1, that keeps all slacks and multipliers positive; NaN if one is."""
    values, steps = torch.cat([*now.slacks, *now.duals], 1), torch.cat([*step.slacks, *step.duals], 1)
    limits = torch.where(steps < 0, -values / steps, torch.inf) + 0 * steps
    return (share * limits.amin(1)).clamp(max=1.0)


def _into(G: Tensor, rows: Tensor) -> Tensor:
    """G^T rows, (P, n)."""
    return (rows.unsqueeze(1) @ G).squeeze(1)


def _onto(G: Tensor, z: Tensor) -> Tensor:
    """G z, (P, m)."""
    return (G @ z.unsqueeze(2)).squeeze(2)

"""Points of a polytope {x : A x <= b, low <= x <= high}: one well inside, the nearest one, the best one.

All in float64 and up to rounding; the polytope tests exactly what it hands out.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .halfspaces import Halfspaces
from .programs import Program, Solution, solve

__all__ = ["deepest", "maximiser", "nearest"]

_Pair = tuple[Tensor, Tensor]
_KEEP_OFF = (0.1, 1e-3, 0.0)  # of the half widths: how far from the box's faces a deep point should lie
_ELEMENTS = 1 << 22  # of the largest matrix of a batch of programs


def deepest(rows: Halfspaces, faces: _Pair) -> tuple[Tensor, Tensor]:
    """Points (B, n) that are far inside all rows, and their depth (B,); below 0 where none was found.

    The depth of a point is its least slack, in units of the largest change of the row over the box (so 0.5
    at most); a linear program with one more unknown, for as large a distance from the box's faces as
    leaves a depth.
    """
    middle, half, G, h = _scaled(rows, faces)
    size = torch.where(G.abs().amax(2) > 0, G.abs().sum(2), 1.0)
    worst = ((size - h) / size).amax(1).clamp(min=1.0).unsqueeze(1)  # as if all of z were against the row
    best, depth = torch.zeros_like(middle), torch.full_like(worst[:, 0], -math.inf)
    for keep_off in _KEEP_OFF:
        left = (depth <= 0.5 * keep_off) if keep_off else (depth <= 0)
        index = left.nonzero().flatten()
        if index.numel() == 0:
            break
        part, column = G[index] * (1 - keep_off), (size * worst)[index].unsqueeze(2)
        grown = torch.cat([part, column], 2)
        c = torch.zeros_like(grown[:, 0])
        c[:, -1] = 1.0
        z = solve(Program(grown, h[index], torch.zeros_like(c), c)).z
        point = z[:, :-1].clamp(-1, 1) * (1 - keep_off)
        found = ((h[index] - (G[index] * point.unsqueeze(1)).sum(2)) / size[index]).amin(1)
        better = found > depth[index]
        best[index[better]], depth[index[better]] = point[better], found[better]
    return middle + half * best, depth


def nearest(x: Tensor, rows: Halfspaces, faces: _Pair) -> Tensor:
    """The nearest points (B, n) to x (B, n), at most by rounding outside of the rows, inside the faces."""
    middle, half, G, h = _scaled(rows, faces)
    away = half * (x - middle)
    scale = torch.maximum(away.abs().amax(1), half.square().amax(1)).clamp(min=1e-300).unsqueeze(1)
    solution = solve(Program(G, h, half.square() / scale, away / scale))
    rough = (middle + half * solution.z).clamp(*faces)
    exact = _polished(x, solution, rows, faces)
    allowed = 1e-12 * (
        (rows.A.abs() * torch.maximum(*(f.abs() for f in faces)).unsqueeze(1)).sum(2) + rows.b.abs()
    )
    near = (exact - x).norm(dim=1) <= (rough - x).norm(dim=1) + 1e-6 * half.norm(dim=1)
    good = (rows.values(exact) <= allowed).all(1) & near
    return torch.where(good.unsqueeze(1), exact, rough)


def maximiser(a: Tensor, rows: Halfspaces, faces: _Pair, iterations: int) -> tuple[Tensor, Tensor]:
    """Maximisers (B, K, n) of <a_k, x>, up to rounding, and multipliers (B, K, m) >= 0 of the rows."""
    middle, half, G, h = _scaled(rows, faces)
    batch, count, n = a.shape
    gain = (a * half.unsqueeze(1)).reshape(-1, n)
    z = gain.sign()  # the box's own best corner: where it satisfies the rows, all is said
    owner = torch.arange(batch, device=a.device).repeat_interleave(count)
    multipliers = torch.zeros(len(z), h.shape[1], dtype=a.dtype, device=a.device)
    open_ = ((G @ z.unflatten(0, (batch, count)).mT).mT > h.unsqueeze(1)).any(2).flatten()
    scale = gain.abs().amax(1, keepdim=True).clamp(min=1e-300)
    norms = _norms(rows, half)
    for index in open_.nonzero().flatten().split(max(1, _ELEMENTS // (h.shape[1] * n))):
        mine = owner[index]
        program = Program(G[mine], h[mine], torch.zeros_like(gain[index]), gain[index] / scale[index])
        solution = solve(program, iterations)
        z[index] = solution.z.clamp(-1, 1)
        multipliers[index] = _sharpened(program, solution) * scale[index] / norms[mine]
    points = middle.unsqueeze(1) + half.unsqueeze(1) * z.unflatten(0, (batch, count))
    return points, multipliers.unflatten(0, (batch, count))


def _sharpened(program: Program, solution: Solution) -> Tensor:
    """Multipliers (P, m) of linear programs, with the digits that the interior point method leaves open.

    At an optimum the gains of coordinates between their walls are zero: linear equations for the prices of
    the tight rows. The change is the smallest one that solves them, so that it keeps prices positive.
    """
    (slack, below, above), (rough, low, high) = solution.slacks, solution.duals
    tight, free = rough > slack, (low < below) & (high < above)
    G = torch.where(tight.unsqueeze(2) & free.unsqueeze(1), program.G, 0.0)
    inverse = torch.linalg.pinv(G @ G.mT, hermitian=True, rtol=1e-11)
    sharp = torch.where(tight, rough, 0.0)
    for _ in range(2):
        gain = torch.where(free, _gain(program, sharp), 0.0)
        sharp = sharp + (inverse @ (G @ gain.unsqueeze(2))).squeeze(2)
    sharp, rough = sharp.clamp(min=0), rough.clamp(min=0)

    def bound(rows: Tensor) -> Tensor:
        return (rows * program.h).sum(1) + _gain(program, rows).abs().sum(1)

    return torch.where((bound(sharp) <= bound(rough)).unsqueeze(1), sharp, rough)


def _gain(program: Program, rows: Tensor) -> Tensor:
    """c - G^T rows, (P, n): what is left of the objective at prices `rows` (P, m)."""
    return program.c - (rows.unsqueeze(1) @ program.G).squeeze(1)


def _scaled(rows: Halfspaces, faces: _Pair) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Middle and half width (B, n), and the rows as G z <= h for x = middle + half z, of norm 1."""
    middle, half = 0.5 * faces[0] + 0.5 * faces[1], 0.5 * faces[1] - 0.5 * faces[0]
    norms = _norms(rows, half)
    G = rows.A * half.unsqueeze(1) / norms.unsqueeze(2)
    # a row that is constant on the box says nothing about where to go: exact tests decide it
    h = torch.where(G.abs().amax(2) > 0, -rows.values(middle) / norms, 1.0)
    return middle, half, G, h


def _norms(rows: Halfspaces, half: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(rows.A * half.unsqueeze(1), dim=2)
    return torch.where(norms > 0, norms, 1.0)


def _polished(x: Tensor, solution: Solution, rows: Halfspaces, faces: _Pair) -> Tensor:
    """The nearest point to x on the faces and rows that a rough solution touches, by least squares."""
    slack, below, above = solution.slacks
    price, low, high = solution.duals
    tight, at_low, at_high = price > slack, low > below, high > above
    at_low = at_low | (faces[0] == faces[1])
    free = ~(at_low | at_high)
    A = torch.where(tight.unsqueeze(2), rows.A, 0.0)
    loose = A * free.unsqueeze(1)
    scale = torch.linalg.vector_norm(loose, dim=2, keepdim=True)
    scale = torch.where(scale > 0, scale, 1.0)
    unit = loose / scale
    inverse = torch.linalg.pinv(unit @ unit.mT, hermitian=True, rtol=1e-11)
    ends = torch.where(at_low, faces[0], torch.where(at_high, faces[1], x))
    y = ends
    for _ in range(3):  # the later rounds take the rounding of the first one out
        wrong = torch.where(tight, rows.values(y), 0.0) / scale.squeeze(2)
        step = (inverse @ wrong.unsqueeze(2)).squeeze(2)
        y = y - (unit * step.unsqueeze(2)).sum(1)
    return y.clamp(*faces)

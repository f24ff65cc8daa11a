"""Bounds of linear functions over a polytope: its support and its hull, safe against rounding."""

from __future__ import annotations

import torch
from torch import Tensor

from .halfspaces import Halfspaces
from .polytope_points import maximiser

__all__ = ["affordable", "bounds", "hull_faces"]

_WORK = 3e8  # operations that one call may cost: about a second
_ITERATIONS = 40
_FEWEST = 8  # iterations below which multipliers are hardly better than none
_SWEEPS = 3
_ELEMENTS = 1 << 22

_Pair = tuple[Tensor, Tensor]


def affordable(rows: Halfspaces, faces: _Pair, count: int) -> int:
    """How many iterations `count` linear programs per sample may take; 0 where too few for any use."""
    (batch, n), m = faces[0].shape, rows.b.shape[1]
    price = batch * count * (n * (m * m + 60) + m**3)
    iterations = min(_ITERATIONS, int(_WORK / max(price, 1)))
    return iterations if iterations >= _FEWEST else 0


@torch.no_grad()
def bounds(a: Tensor, rows: Halfspaces, faces: _Pair, iterations: int) -> tuple[Tensor, Tensor]:
    """Upper bounds (B, K) of <a_k, x> for a (B, K, n), and where they are nearly attained (B, K, n)."""
    values, points = [], []
    for part in a.split(max(1, _ELEMENTS // max(a.shape[0] * a.shape[2], 1)), 1):
        best, multipliers = maximiser(part, rows, faces, iterations)
        alone = rows.dual_bound(part, torch.zeros_like(multipliers), faces)
        values.append(torch.minimum(alone, rows.dual_bound(part, multipliers, faces)))
        points.append(best)
    return torch.cat(values, 1), torch.cat(points, 1)


@torch.no_grad()
def hull_faces(rows: Halfspaces, faces: _Pair) -> _Pair:
    """The smallest box (B, n) found that holds the set: linear programs, or where these cost too much
    what each row says by itself.
    """
    for _ in range(_SWEEPS):
        faces = rows.tighten(faces)
    batch, n = faces[0].shape
    iterations = affordable(rows, faces, 2 * n)
    if not iterations:
        return faces
    one = torch.eye(n, dtype=torch.float64, device=faces[0].device)
    ends, _ = bounds(torch.cat([one, -one]).expand(batch, -1, -1), rows, faces, iterations)
    return torch.maximum(faces[0], -ends[:, n:]), torch.minimum(faces[1], ends[:, :n])

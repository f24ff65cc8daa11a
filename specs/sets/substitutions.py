"""What a set of substitutions is made of, checked; and all substitutions of few positions."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

import torch
from torch import Tensor

from robustbench_local.errors import LabelError, RadiusError, ShapeError

from .input_set import first_index

__all__ = ["checked_counts", "checked_indices", "checked_mask", "count_substitutions", "substitutions"]


def count_substitutions(others: Sequence[int], swaps: int) -> int:
    """In how many ways at most `swaps` positions change, position t having others[t] alternatives."""
    ways = [1] + [0] * min(swaps, len(others))
    for alternatives in others:
        for k in range(len(ways) - 1, 0, -1):
            ways[k] += alternatives * ways[k - 1]
    return sum(ways)


def substitutions(mask: Tensor, original: Tensor, swaps: Tensor, most: int) -> tuple[Tensor, Tensor] | None:
    """Candidates (N, T) of all substitutions of all samples, and the sample (N,) of each; None beyond `most`.

    mask (B, T, S) bool, original (B, T), swaps (B,), as in a `TokenSet`.
    """
    others = mask.scatter(2, original.unsqueeze(2), False)
    sizes, limits = others.sum(2).tolist(), swaps.tolist()
    counts = [count_substitutions(size, limit) for size, limit in zip(sizes, limits, strict=True)]
    if sum(counts) > most:
        return None
    rows: list[list[int]] = []
    for b, limit in enumerate(limits):
        plain = original[b].tolist()
        choices = [others[b, t].nonzero().flatten().tolist() for t in range(len(plain))]
        rows.extend(_rows(plain, choices, limit))
    device = mask.device
    owner = torch.arange(len(counts), device=device).repeat_interleave(torch.tensor(counts, device=device))
    return torch.tensor(rows, dtype=torch.int64, device=device).reshape(-1, original.shape[1]), owner


def checked_indices(original: Tensor, candidates: Tensor) -> Tensor:
    """Indices (B, T) into S of candidates (B, T, S, D); ShapeError or LabelError."""
    size = candidates.shape[:2]
    if tuple(original.shape) != tuple(size) or original.is_floating_point() or original.dtype == torch.bool:
        raise ShapeError(
            f"original has shape {tuple(original.shape)} and dtype {original.dtype}",
            cure=f"give an integer for each of {tuple(size)}",
        )
    index = original.detach().to(candidates.device, torch.int64, copy=True)
    bad = (index < 0) | (index >= candidates.shape[2])
    if bool(bad.any()):
        where = first_index(bad)
        raise LabelError(
            f"original is {int(index[where])} at sample {where[0]}, position {where[1]}, of "
            f"{candidates.shape[2]} candidates"
        )
    return index


def checked_counts(swaps: Tensor | int, candidates: Tensor) -> Tensor:
    """Numbers of positions (B,) int64, at most T, for candidates (B, T, S, D); ShapeError or RadiusError."""
    counts = torch.as_tensor(swaps, device=candidates.device).detach().to(torch.float64)
    if counts.ndim > 1 or (counts.ndim == 1 and counts.shape[0] != candidates.shape[0]):
        raise ShapeError(f"swaps has shape {tuple(counts.shape)}, candidates {tuple(candidates.shape)}")
    bad = ~((counts >= 0) & (counts == counts.floor()))
    if bool(bad.any()):
        raise RadiusError(f"swaps is {float(counts[bad][0])}", cure="give a whole number >= 0")
    return counts.clamp(max=candidates.shape[1]).to(torch.int64).expand(candidates.shape[0]).clone()


def checked_mask(mask: Tensor | None, candidates: Tensor) -> Tensor:
    """Which of the candidates (B, T, S, D) there are, (B, T, S) bool; ShapeError."""
    size = tuple(candidates.shape[:3])
    if mask is None:
        return torch.ones(size, dtype=torch.bool, device=candidates.device)
    if tuple(mask.shape) != size or mask.dtype != torch.bool:
        raise ShapeError(
            f"mask has shape {tuple(mask.shape)} and dtype {mask.dtype}",
            cure=f"give a bool for each of {size}",
        )
    return mask.detach().to(candidates.device, copy=True)


def _rows(plain: list[int], choices: list[list[int]], limit: int) -> list[list[int]]:
    """The substitutions of one sample, fewest changes first."""
    found = []
    open_ = [t for t, alternatives in enumerate(choices) if alternatives]
    for k in range(min(limit, len(open_)) + 1):
        for positions in combinations(open_, k):
            for values in product(*(choices[t] for t in positions)):
                row = list(plain)
                for t, value in zip(positions, values, strict=True):
                    row[t] = value
                found.append(row)
    return found

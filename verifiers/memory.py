"""How much is bounded at once: batches of samples and rows that fit the memory budget."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .verifier import Budget

__all__ = ["row_chunks"]


def row_chunks(mask: Tensor, row_bytes: int, budget: Budget) -> Iterator[tuple[Tensor, Tensor]]:
    """Sample indices (b,) and their parts of the mask (b, n): together every True of mask (B, n) once.

    `row_bytes` is the memory of one row; each part stays within the budget (both signs of a row count).
    Samples with like counts go together, so that padding to the largest count wastes little; a sample
    that is over the budget by itself is cut into several parts.
    """
    counts = mask.sum(1)
    limit = max(1, budget.memory(mask.device) // (2 * row_bytes))
    if int(counts.max()) * mask.shape[0] <= limit:  # everything at once, in place
        yield torch.arange(mask.shape[0], device=mask.device), mask
        return
    order = torch.argsort(counts, descending=True, stable=True)
    sizes = counts[order].tolist()
    start = 0
    while start < len(sizes) and sizes[start] > 0:
        if sizes[start] > limit:
            sample = order[start : start + 1]
            for places in mask[sample[0]].nonzero().squeeze(1).split(limit):
                part = torch.zeros_like(mask[sample])
                part[0, places] = True
                yield sample, part
            start += 1
            continue
        stop = min(start + limit // sizes[start], len(sizes))
        yield order[start:stop], mask[order[start:stop]]
        start = stop

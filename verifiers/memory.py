"""How much is bounded at once: batches of samples and rows that fit the memory budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from .verifier import Budget

__all__ = ["in_parts", "is_out_of_memory", "row_chunks"]

Chunk = tuple[Tensor, Tensor]
"""Samples (b,) and their part of a mask (b, n)."""

Result = TypeVar("Result")


def in_parts(
    chunks: Iterable[Chunk | None], work: Callable[[Tensor, Tensor], Result]
) -> Iterator[tuple[Tensor, Tensor, Result] | None]:
    """The results of `work` on every chunk; a chunk that runs out of memory is halved and tried again.

    A None among the chunks is passed on. Raises whatever else `work` raises, and the memory error where a
    single row of a single sample is too large.
    """
    for chunk in chunks:
        waiting = [chunk]
        while waiting:
            piece = waiting.pop()
            if piece is None:
                yield None
                continue
            try:
                result = work(*piece)
            except (RuntimeError, MemoryError) as error:
                halves = _halves(*piece)
                if not is_out_of_memory(error) or not halves:
                    raise
                waiting += halves
                continue
            yield (*piece, result)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error, or one that it was raised from, says that the CPU's or the device's memory did not
    suffice: tracing and reading wrap what stopped them in errors of their own.
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if _tells_of_memory(cause):
            return True
        seen.add(id(cause))
        cause = cause.__cause__
    return False


def _tells_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    words = ("out of memory", "can't allocate memory", "not enough memory")  # the last: torch on Windows
    return isinstance(error, RuntimeError) and any(word in text for word in words)


def _halves(samples: Tensor, part: Tensor) -> list[Chunk]:
    """Two chunks with half of the samples each, or half of the one sample's rows; none for a single row."""
    if samples.shape[0] > 1:
        middle = samples.shape[0] // 2
        return [(samples[:middle], part[:middle]), (samples[middle:], part[middle:])]
    places = part[0].nonzero().squeeze(1)
    if places.shape[0] < 2:
        return []
    first = torch.zeros_like(part)
    first[0, places[: places.shape[0] // 2]] = True
    return [(samples, first), (samples, part & ~first)]


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

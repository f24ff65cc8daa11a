"""Batches cut by a memory budget, and cut again when the memory runs out all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from robustbench_local.verifiers import is_out_of_memory

__all__ = ["activation_bytes", "in_chunks", "is_out_of_memory"]

Part = TypeVar("Part")


def in_chunks(run: Callable[[Tensor], Part], batch: int, size: int) -> list[Part]:
    """The results of `run(index)` over consecutive chunks of at most `size` of the `batch` problems.

    A chunk that runs out of memory is halved and tried again; the smaller size is kept for the rest.
    Raises whatever `run` raises otherwise, and the memory error if a single problem is too large.
    """
    parts: list[Part] = []
    start, size = 0, max(1, size)
    while start < batch:
        index = torch.arange(start, min(start + size, batch))
        try:
            parts.append(run(index))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or len(index) == 1:
                raise
            size = (len(index) + 1) // 2
            continue
        start += len(index)
    return parts


def activation_bytes(network: nn.Module, example: Tensor) -> int:
    """Bytes of all layer outputs of one forward pass of `example` (1, *in), the unit of memory planning."""
    total = 0

    def count(_module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal total
        if isinstance(output, Tensor):
            total += output.numel() * output.element_size()

    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    handles = [module.register_forward_hook(count) for module in leaves]
    try:
        with torch.inference_mode():
            network(example)
    finally:
        for handle in handles:
            handle.remove()
    return max(total, example.numel() * example.element_size())

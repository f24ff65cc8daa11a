"""Operators whose operands all need the batch axis, with constants copied for every sample.

`x.gather(1, index)` with a constant index, or `torch.zeros(1, 4).scatter(1, index, x)`: torch wants operands
of one batch size, but a constant of the graph has a batch of one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["Batched"]


@dataclass(frozen=True, slots=True)
class Batched:
    """`op` with the arguments at `positions` expanded to one batch size; equal where `op` and these are."""

    op: Callable[..., Any]
    positions: tuple[int, ...]

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """The operator's result for a batch: arguments (B, ...) and (1, ...)."""
        chosen = [p for p in self.positions if p < len(args) and isinstance(args[p], Tensor)]
        batch = max(args[p].shape[0] for p in chosen)
        full = list(args)
        for p in chosen:
            full[p] = args[p].expand(batch, *args[p].shape[1:])
        result: Tensor = self.op(*full, **kwargs)
        return result

    def __str__(self) -> str:
        return f"{self.op} of constants"

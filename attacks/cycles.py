"""Walks that repeat themselves: a walk that is back at a point where it was goes round for ever.

Most walks of projected gradient ascent with a constant step end in a cycle (arXiv 2503.19347). Whatever such
a walk could still find it has already found, so that leaving it early changes no result.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["Visited"]

_INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}
_GOLDEN = -0x61C8864680B583EB  # 2**64 over the golden ratio, as a signed number


class Visited:
    """The points at which b walks of at most `steps` steps have been, as 64-bit sums of points and losses.

    Where the loss at a point is random, a walk is not back before both are as they were. Two different points
    share a sum with a chance of about 2**-64.
    """

    def __init__(self, batch: int, steps: int, device: torch.device) -> None:
        """No walk has been anywhere."""
        self._sums = torch.zeros((batch, steps), dtype=torch.int64, device=device)
        self._count = 0

    def again(self, x: Tensor, value: Tensor) -> Tensor:
        """Whether walks (b,) have been at x (b, *shape), with loss value (b,), before; now they have."""
        now = _sums(x) + _sums(value.unsqueeze(1).to(torch.float64)) * 3
        seen = (self._sums[:, : self._count] == now.unsqueeze(1)).any(1)
        self._sums[:, self._count] = now
        self._count += 1
        return seen

    def select(self, keep: Tensor) -> Visited:
        """The walks at a mask or index (b,), to go on with."""
        self._sums = self._sums[keep]
        return self


def _sums(x: Tensor) -> Tensor:
    """Sums (b,) of the bits of x (b, *shape) with odd weights, in integers that wrap around."""
    bits = x.flatten(1).contiguous().view(_INTEGERS[x.element_size()])
    return (bits * _weights(bits.shape[1], bits.device)).sum(1)


@lru_cache(maxsize=8)
def _weights(count: int, device: torch.device) -> Tensor:
    z = torch.arange(1, count + 1, dtype=torch.int64, device=device) * _GOLDEN
    z = (z ^ (z >> 30)) * -0x40A7B892E31B1A47
    return (z ^ (z >> 27)) | 1

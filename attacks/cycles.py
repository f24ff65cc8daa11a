"""Walks that repeat themselves: a walk that is back at a point where it was goes round for ever.

Most walks of projected gradient ascent with a constant step end in a cycle (arXiv 2503.19347). Whatever such
a walk could still find it has already found, so that leaving it early changes no result. That a walk is back
is seen as in Brent's algorithm (R. Brent, "An improved Monte Carlo factorization algorithm", BIT 1980): by
comparison with one point of its past, which moves on from time to time.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Visited"]

_SHORTEST = 4  # steps after which the point moves on; longer the longer walks are


class Visited:
    """A point x (b, *shape) at which b walks have been, and their loss value (b,) there.

    Where the loss at a point is random, a walk is not back before both are as they were. Cycles of up to four
    steps, or of a quarter of the steps so far, are seen within two rounds.
    """

    def __init__(self, x: Tensor, value: Tensor) -> None:
        """The walks have been at their starts only."""
        self._count, self._next = 0, _SHORTEST
        self._x, self._value = x, value
        self._rows = torch.arange(len(x), device=x.device)  # of these, the walks that go on

    def again(self, x: Tensor, value: Tensor) -> Tensor:
        """Whether walks (b,) that have moved on to x (b, *shape), with loss value (b,), were there before."""
        self._count += 1
        back = value == self._value[self._rows]
        rows = back.nonzero().flatten()
        if rows.numel():
            back[rows] = (x[rows] == self._x[self._rows[rows]]).flatten(1).all(1)
        if self._count == self._next:
            self._next += max(_SHORTEST, self._count // 4)
            self._x, self._value = x, value
            self._rows = torch.arange(len(x), device=x.device)
        return back

    def select(self, keep: Tensor) -> Visited:
        """The walks at a mask or index (b,), to go on with."""
        self._rows = self._rows[keep]
        return self

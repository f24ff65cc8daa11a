"""Along which input a cut pays: tried on a few parts and kept for the others, as the engine's search does."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_local.specs import Box

from ..input_splitting.directions import Directions, halves
from ..input_splitting.leaves import Leaves, Whole
from .claim import Claim
from .input_bounds import InputBounds

__all__ = ["TrialCuts"]

_AT_ONCE = 64  # parts that trials bound together at most

Array = NDArray[Any]


class TrialCuts:
    """What cuts along the inputs of a claim's problems gain, by `Directions`."""

    def __init__(self, claim: Claim, bounds: InputBounds) -> None:
        box = Box(torch.from_numpy(claim.lower), torch.from_numpy(claim.upper))
        self.whole = Whole.of(box, claim.lower.shape[1], torch.device("cpu"))
        self.bounds, self.count = bounds, torch.zeros(claim.batch, dtype=torch.int64)
        self.directions = Directions(self.whole, torch.zeros(self.whole.axes.shape).double(), self.count)

    def learn(self, problem: Array, box: tuple[Array, Array], value: Array, open_: Array) -> None:
        """Cuts some of the parts in `box` (L, n) along every input; value (L,): how far the worst of their
        clauses `open_` (L, c) is from being refuted.

        Raises the checker's `Rejected` where time is over.
        """
        leaves = self._leaves(problem, box, value)
        self.count = self.count + torch.bincount(leaves.owner, minlength=len(self.count))
        due = self.directions.due(leaves, self.count, _AT_ONCE)
        some, dims = leaves.select(due), leaves.lower.shape[1]
        if len(some) == 0 or dims == 1:
            return
        parts = halves(some)
        lower, upper = (self._whole(parts, end).numpy() for end in ("lower", "upper"))
        best = self.bounds.tried(parts.owner.numpy(), lower, upper)
        wanted = np.tile(np.repeat(open_[due.numpy()], dims, 0), (2, 1))
        left = torch.from_numpy(np.where(wanted, -best, -np.inf).max(1)).clamp(min=0.0)
        left = torch.minimum(left, parts.value).reshape(2, len(some), dims).mean(0)
        self.directions.learn(some, left)

    def score(self, problem: Array, box: tuple[Array, Array]) -> Array:
        """What cuts of parts along every input promise, (L, n); zero where nothing is known yet."""
        leaves = self.directions.scored(self._leaves(problem, box, np.zeros(len(problem))))
        found = torch.zeros(len(problem), self.whole.lower.shape[1], dtype=torch.float64)
        return np.asarray(found.scatter(1, self.whole.axes[leaves.owner], leaves.score).numpy())

    def _leaves(self, problem: Array, box: tuple[Array, Array], value: Array) -> Leaves:
        owner = torch.from_numpy(problem)
        axes = self.whole.axes[owner]
        lower, upper = (torch.from_numpy(end).gather(1, axes) for end in box)
        values = torch.from_numpy(np.maximum(value, 0.0))
        return Leaves(owner, lower, upper, values[:, None], values, torch.zeros_like(lower))

    def _whole(self, leaves: Leaves, end: str) -> torch.Tensor:
        whole: torch.Tensor = getattr(self.whole, end)[leaves.owner]
        return whole.scatter(1, self.whole.axes[leaves.owner], getattr(leaves, end))

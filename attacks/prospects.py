"""Whether a walk can still get there: far from being broken, walks that hardly gain any more end."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError

__all__ = ["PATIENCE", "Prospects", "checked_patience"]

PATIENCE = 3.0
"""The default: windows to come may gain three times as much as the last one, before hope is given up."""


@dataclass(frozen=True, slots=True, eq=False)
class Prospects:
    """The largest violations of b walks so far, and at their last checkpoint, each (b,) float64."""

    best: Tensor
    before: Tensor

    @classmethod
    def begin(cls, x: Tensor) -> Prospects:
        """Nothing is known of walks that begin at x (b, *shape)."""
        low = torch.full((x.shape[0],), -torch.inf, dtype=torch.float64, device=x.device)
        return cls(low, low)

    def saw(self, violation: Tensor) -> Prospects:
        """The walks have met violations (b,)."""
        return replace(self, best=torch.maximum(self.best, violation))

    def hopeless(self, windows: int, patience: float) -> Tensor:
        """Walks (b,) whose violation stays negative if each of the windows to come raises it by `patience`
        times as much as the last one did."""
        if math.isinf(patience):
            return torch.zeros_like(self.best, dtype=torch.bool)
        gain = (self.best - self.before).nan_to_num(nan=torch.inf, posinf=torch.inf)
        return self.best + patience * windows * gain < 0 if windows else self.best < -torch.inf

    def checkpoint(self) -> Prospects:
        """A new window begins."""
        return replace(self, before=self.best)

    def select(self, keep: Tensor) -> Prospects:
        """The walks at a mask (b,)."""
        return Prospects(self.best[keep], self.before[keep])


def checked_patience(patience: float, early_stop: bool) -> float:
    """The patience, or inf where walks go on after success anyway; RobustBenchError unless it is above 0."""
    if not patience > 0:
        raise RobustBenchError(f"patience is {patience}", where="patience", cure="give a number above 0")
    return patience if early_stop else math.inf

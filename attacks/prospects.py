"""Whether a walk can still get there: walks that are far from it and have little more to gain end."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import InputSet

__all__ = ["PATIENCE", "Prospects", "Way", "checked_patience", "hopeless"]

PATIENCE = 3.0
"""The default: the rest of the way may gain three times as much as it seems, before hope is given up."""


class Way(NamedTuple):
    """What b walks of steepest ascent see of the rest of their ways."""

    x: Tensor  # (b, *shape)
    gradient: Tensor  # (b, *shape) at x
    direction: Tensor  # (b, *shape) the gradient at a scale that does not overflow
    value: Tensor  # (b,) below zero without success


def hopeless(inputs: InputSet, way: Way, patience: float) -> Tensor:
    """Walks (b,) whose value stays negative if the rest gains `patience` times what the tangent plane says.

    That is the gradient times the way to the far end of the set, the gap of M. Frank and P. Wolfe, "An
    algorithm for quadratic programming", 1956. Of a concave function it bounds all that can be gained, so
    that patience 1 costs nothing; networks are not concave, and 3 has cost hardly anything (docs/attacks.md).
    """
    if math.isinf(patience):
        return torch.zeros_like(way.value, dtype=torch.bool)
    far = inputs.project(way.x + 2 * inputs.steepest(way.direction))  # two radii reach it from everywhere
    gain = (way.gradient * (far - way.x)).flatten(1).sum(1)
    return way.value + patience * gain < 0


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

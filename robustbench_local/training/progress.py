"""How a training run reports: a small protocol that a command line can turn into progress bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from .recipe import Recipe

__all__ = ["EpochRecord", "Progress", "Silent"]


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One finished epoch: its number from 1, the mean `loss` over its samples, and where schedules stood.

    `learning_rate` and `shown` (for instance eps and kappa) are those of the last step; `seconds` is
    the CPU time of this process.
    """

    epoch: int
    loss: float
    learning_rate: float
    shown: Mapping[str, float]
    seconds: float


class Progress(Protocol):
    """Called by `train` as it goes; an exception raised here (a cancelled run) ends the training.

    The checkpoint of an epoch is on disk before `epoch` is called for it.
    """

    def begin(self, recipe: Recipe, *, epochs_done: int, steps_per_epoch: int) -> None:
        """The run starts, or resumes after `epochs_done` epochs."""
        ...

    def step(self) -> None:
        """One minibatch is done."""
        ...

    def epoch(self, record: EpochRecord) -> None:
        """One epoch is done."""
        ...

    def measuring(self) -> None:
        """Training is done; the weights are being measured on the test split."""
        ...


class Silent:
    """The progress that shows nothing."""

    def begin(self, recipe: Recipe, *, epochs_done: int, steps_per_epoch: int) -> None:
        """Nothing."""

    def step(self) -> None:
        """Nothing."""

    def epoch(self, record: EpochRecord) -> None:
        """Nothing."""

    def measuring(self) -> None:
        """Nothing."""

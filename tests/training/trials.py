"""Small recipes for tests, and progress objects that count or cancel."""

from __future__ import annotations

from typing import Any

from robustbench_local.training import EpochRecord, Recipe, Silent, recipe_from


def trial(**changes: Any) -> Recipe:
    """A short run of the smallest model; `changes` replace top-level fields."""
    table: dict[str, Any] = {
        "name": "trial",
        "summary": "A short run for tests.",
        "model": "digits-mlp",
        "weights": "trial",
        "dataset": "digits",
        "epochs": 1,
        "batch_size": 256,
        "seed": 7,
        "initialiser": "uniform",
        "learning_rate": [[0, 2e-3], [4, 0.0]],
        "clip_norm": 10.0,
        "radii": [],
        "optimizer": {"kind": "adam"},
        "loss": {"kind": "standard"},
    }
    return recipe_from(table | changes)


class Counting(Silent):
    """Counts what it is told."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, int]] = []
        self.steps = 0
        self.epochs: list[int] = []
        self.measured = 0

    def begin(self, recipe: Recipe, *, epochs_done: int, steps_per_epoch: int) -> None:
        self.begun.append((epochs_done, steps_per_epoch))

    def step(self) -> None:
        self.steps += 1

    def epoch(self, record: EpochRecord) -> None:
        self.epochs.append(record.epoch)

    def measuring(self) -> None:
        self.measured += 1


class Cancelled(Exception):
    """What a user's interrupt looks like here."""


class CancelAfter(Silent):
    """Ends the run in the middle of the epoch after `epochs`."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs
        self.armed = False

    def epoch(self, record: EpochRecord) -> None:
        self.armed = record.epoch == self.left

    def step(self) -> None:
        if self.armed:
            raise Cancelled

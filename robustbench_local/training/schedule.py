"""A number that changes over training, as data: corner points joined by straight lines."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from robustbench_local.errors import DataError

__all__ = ["Schedule"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """The piecewise linear curve through `points`, pairs (epoch, value); constant before and after them.

    Epochs may be fractions and must not fall; two points at one epoch are a jump, the later value counting
    from that epoch on. One type serves the eps ramp, the kappa and beta weights and the learning rate.
    Raises `DataError` for no points, falling epochs, or numbers that are not finite.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise DataError("a schedule without points", cure="give a number or [[epoch, value], ...]")
        if not all(math.isfinite(number) for point in self.points for number in point):
            raise DataError(f"a schedule with a number that is not finite: {self.points}")
        if any(after[0] < before[0] for before, after in pairwise(self.points)):
            raise DataError(f"a schedule whose epochs fall: {self.points}", cure="sort the points by epoch")

    @classmethod
    def constant(cls, value: float) -> Schedule:
        """The same `value` at every epoch."""
        return cls(((0.0, float(value)),))

    @classmethod
    def through(cls, points: Iterable[Iterable[float]]) -> Schedule:
        """The schedule through (epoch, value) pairs; `DataError` where one is not a pair of numbers."""
        pairs = [tuple(float(number) for number in point) for point in points]
        if any(len(pair) != 2 for pair in pairs):
            raise DataError("a schedule point that is no pair", cure="write [[epoch, value], ...]")
        return cls(tuple((pair[0], pair[1]) for pair in pairs))

    def __call__(self, epoch: float) -> float:
        """The value at `epoch` >= 0, a fraction inside an epoch."""
        before = [point for point in self.points if point[0] <= epoch]
        if not before:
            return self.points[0][1]
        if len(before) == len(self.points):
            return self.points[-1][1]
        (start, low), (end, high) = before[-1], self.points[len(before)]
        return low + (high - low) * (epoch - start) / (end - start)

    @property
    def largest(self) -> float:
        """The largest value the schedule ever takes."""
        return max(value for _, value in self.points)

    @property
    def smallest(self) -> float:
        """The smallest value the schedule ever takes."""
        return min(value for _, value in self.points)

"""Rows counted by benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .rows import Row

__all__ = ["Tally", "tallies", "total"]


@dataclass(slots=True)
class Tally:
    """Counts of the rows of one benchmark.

    Every row is in exactly one of holds, violated, wrong, timeouts, unknown and failed; `seconds` is their
    sum, over all rows.
    """

    name: str
    rows: int = 0
    holds: int = 0
    violated: int = 0
    wrong: int = 0
    timeouts: int = 0
    unknown: int = 0
    failed: int = 0
    late: int = 0
    seconds: float = 0.0

    @property
    def solved(self) -> int:
        """Rows with a verdict that is not known to be wrong."""
        return self.holds + self.violated

    def add(self, row: Row) -> None:
        """Counts a row in."""
        self.rows += 1
        self.seconds += row.seconds
        self.late += row.late
        if row.wrong:
            self.wrong += 1
        elif row.verdict == "HOLDS":
            self.holds += 1
        elif row.verdict == "VIOLATED":
            self.violated += 1
        elif row.failed:
            self.failed += 1
        elif row.reason == "timeout":
            self.timeouts += 1
        else:
            self.unknown += 1


def tallies(rows: Iterable[Row]) -> list[Tally]:
    """One tally per benchmark, in the order of their first rows."""
    found: dict[str, Tally] = {}
    for row in rows:
        found.setdefault(row.benchmark, Tally(row.benchmark)).add(row)
    return list(found.values())


def total(rows: Iterable[Row]) -> Tally:
    """The tally of all rows."""
    found = Tally("all")
    for row in rows:
        found.add(row)
    return found

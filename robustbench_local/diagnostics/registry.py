"""The registry of diagnostics: a function of an `Examination` under `@diagnostic(...)` is one.

To add one, drop a file into this folder: it is imported, and `DIAGNOSTICS["D15"]` finds it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.errors import RobustBenchError

from .examination import Examination
from .finding import Finding

__all__ = ["DIAGNOSTICS", "Diagnostic", "Measured", "NotApplicable", "diagnostic", "share"]


class NotApplicable(Exception):
    """Raised by a diagnostic that cannot say anything of these problems; its text says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What a diagnostic measured: a number, the examined cases (b,) bool behind it, and details."""

    value: float
    where: Tensor
    note: str = ""


Measure = Callable[[Examination], Measured]


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One check: it raises an alarm where what it measures is above `threshold`; texts as in `Finding`."""

    code: str
    name: str
    meaning: str
    threshold: float
    remedy: str
    source: str
    measure: Measure

    def run(self, examination: Examination) -> Finding:
        """The finding about the examined cases; errors of the network are the caller's to see."""
        before = examination.spent
        try:
            found = self.measure(examination)
        except NotApplicable as reason:
            nothing = torch.zeros(examination.query.batch, dtype=torch.bool)
            found = Measured(math.nan, nothing, f"not applicable: {reason}")
        fired = found.value > self.threshold  # False for NaN
        names = examination.names
        forwards, backwards = examination.spent
        count = max(1, len(names))
        return Finding(
            code=self.code,
            name=self.name,
            value=found.value,
            threshold=self.threshold,
            meaning=self.meaning,
            fired=fired,
            cases=tuple(n for n, bad in zip(names, found.where.tolist(), strict=True) if bad and fired),
            remedy=self.remedy,
            source=self.source,
            note=found.note,
            forwards=(forwards - before[0]) / count,
            backwards=(backwards - before[1]) / count,
        )


DIAGNOSTICS: dict[str, Diagnostic] = {}
"""Every diagnostic by its code; in the order of `ordered` when they run."""


def diagnostic(
    code: str, name: str, *, meaning: str, threshold: float, remedy: str, source: str
) -> Callable[[Measure], Measure]:
    """Decorator that registers a function as the diagnostic `code`; a code that is taken raises."""

    def register(measure: Measure) -> Measure:
        if code in DIAGNOSTICS:
            raise RobustBenchError(
                f"two diagnostics have the code {code!r}", where=measure.__module__, cure="choose another"
            )
        DIAGNOSTICS[code] = Diagnostic(code, name, meaning, threshold, remedy, source, measure)
        return measure

    return register


def share(where: Tensor) -> float:
    """The share of True in a mask (b,), 0 for an empty one."""
    return float(where.double().mean()) if where.numel() else 0.0

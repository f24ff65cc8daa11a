"""What a diagnostic says of an attack's result: the number it measured, and whether that raises an alarm."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["Curves", "Diagnosis", "Finding"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer of one diagnostic.

    Attributes:
        code: "D1" to "D14".
        name: in words.
        value: the measured number; NaN where the diagnostic does not apply.
        threshold: the alarm is raised where `value` is above it.
        meaning: what `value` counts.
        fired: whether the alarm was raised.
        cases: ids of the cases that raised it, all of them where it is about the network as a whole.
        remedy: what to do about it.
        source: the publication that the check is from.
        note: details, or "not applicable: .." with the reason.
        forwards, backwards: passes spent on it per case, those of runs that later diagnostics share included.
    """

    code: str
    name: str
    value: float
    threshold: float
    meaning: str
    fired: bool
    cases: tuple[str, ...]
    remedy: str
    source: str
    note: str = ""
    forwards: float = 0.0
    backwards: float = 0.0

    @property
    def applies(self) -> bool:
        """Whether the diagnostic could be computed."""
        return not math.isnan(self.value)

    @property
    def word(self) -> str:
        """ "fired", "quiet" or "not applicable"."""
        return "fired" if self.fired else "quiet" if self.applies else "not applicable"

    def as_dict(self) -> dict[str, object]:
        """Plain JSON-ready fields; a value that there is not is None."""
        return {
            "code": self.code,
            "name": self.name,
            "state": self.word,
            "value": self.value if self.applies else None,
            "threshold": self.threshold,
            "meaning": self.meaning,
            "fired": self.fired,
            "cases": list(self.cases),
            "remedy": self.remedy,
            "source": self.source,
            "note": self.note,
            "forwards": self.forwards,
            "backwards": self.backwards,
        }


@dataclass(frozen=True, slots=True)
class Curves:
    """What the two plots of the report show, as plain numbers.

    Attributes:
        case: the id of the case whose surroundings are drawn.
        offsets: the k positions along either direction, in sizes of the set.
        surface: k rows of k violations; row i lies at offset i of the second direction.
        steps: id of a case -> the violation at each point that its walk met.
    """

    case: str = ""
    offsets: tuple[float, ...] = ()
    surface: tuple[tuple[float, ...], ...] = ()
    steps: dict[str, tuple[float, ...]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON-ready fields."""
        return {
            "case": self.case,
            "offsets": list(self.offsets),
            "surface": [list(row) for row in self.surface],
            "steps": {name: list(values) for name, values in self.steps.items()},
        }


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings about one batch of cases.

    Attributes:
        model, spec, norm, eps: what was examined, as in the results table.
        cases: ids of all cases; examined: those that nothing breaks at their start already.
        findings: one for every diagnostic, in their order.
        curves: the numbers of the plots.
        seconds: wall-clock time.
    """

    model: str
    spec: str
    norm: str
    eps: float
    cases: tuple[str, ...]
    examined: tuple[str, ...]
    findings: tuple[Finding, ...]
    curves: Curves
    seconds: float

    @property
    def fired(self) -> tuple[str, ...]:
        """The codes of the diagnostics that raised an alarm."""
        return tuple(finding.code for finding in self.findings if finding.fired)

    def against(self, case: str) -> tuple[str, ...]:
        """The codes of the diagnostics that raised an alarm about one case."""
        return tuple(finding.code for finding in self.findings if finding.fired and case in finding.cases)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON-ready fields."""
        return {
            "model": self.model,
            "spec": self.spec,
            "norm": self.norm,
            "eps": None if math.isnan(self.eps) else self.eps,
            "cases": list(self.cases),
            "examined": list(self.examined),
            "fired": list(self.fired),
            "believable": not self.fired,
            "findings": [finding.as_dict() for finding in self.findings],
            "curves": self.curves.as_dict(),
            "seconds": self.seconds,
        }

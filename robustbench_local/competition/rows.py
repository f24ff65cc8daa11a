"""What is known of one instance, as tables and files hold it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from robustbench_local.errors import ResultsError

from .instances import EXPECTED, Instance

__all__ = ["REPEATABLE", "Row", "late"]

REPEATABLE = frozenset({"input", "device", "error", "resources"})
"""Reasons that may be gone the next time: a resumed run tries these rows again."""

_GRACE, _SHARE = 1.0, 0.05


def late(seconds: float, timeout: float) -> bool:
    """Whether a row took more than its limit, 5 % of it and a second."""
    return seconds > (1 + _SHARE) * timeout + _GRACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One instance's result.

    Attributes:
        id, benchmark, expected: as in the list; expected is sat, unsat or open.
        verdict: HOLDS (unsat), VIOLATED (sat) or UNKNOWN.
        seconds: wall clock from the first look at the files to the verdict, the network's loading included
            where this row was the first to use it (`seconds_load`).
        lower, upper: the bracket of the worst violation, -inf and inf where there is none.
        stage: the method that decided, or the last one that ran.
        reason: why UNKNOWN: timeout, bound, search, boundary, non-finite, op, resources; input (a row,
            network or property that cannot be read), device, alarm (two methods contradict each other) or
            error (of the program); "" for a verdict.
        wrong: the verdict contradicts the expected one, or reason is alarm.
        error: the message, where there is one.
        timeout: the limit in seconds that held for this row.
        replays: what the counterexample was replayed with, and the violation there.
        key: what the row depends on (files' contents, limit, settings), as one hash.
    """

    id: str
    benchmark: str
    expected: str
    verdict: str
    seconds: float
    lower: float = -math.inf
    upper: float = math.inf
    stage: str = ""
    reason: str = ""
    wrong: bool = False
    error: str = ""
    timeout: float = math.nan
    seconds_load: float = 0.0
    late: bool = False
    replays: Mapping[str, float] = field(default_factory=dict)
    key: str = ""

    @classmethod
    def of(cls, instance: Instance, verdict: str, seconds: float, **more: Any) -> Row:
        """The row of an instance; `wrong` and `late` follow from the rest."""
        known = EXPECTED.get(instance.expected, "")
        wrong = (verdict != "UNKNOWN" and known not in ("", verdict)) or more.get("reason") == "alarm"
        return cls(
            id=instance.id,
            benchmark=instance.benchmark,
            expected=instance.expected,
            verdict=verdict,
            seconds=seconds,
            wrong=wrong,
            late=late(seconds, more.get("timeout", math.nan)),
            **more,
        )

    @property
    def solved(self) -> bool:
        """A verdict that is not known to be wrong."""
        return self.verdict != "UNKNOWN" and not self.wrong

    @property
    def failed(self) -> bool:
        """Nothing was computed: a row, file or device that cannot be used."""
        return self.reason in ("input", "device", "error")

    def as_dict(self) -> dict[str, object]:
        """Plain JSON-ready fields, in order; what is infinite or NaN becomes None."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values["replays"] = {name: _number(value) for name, value in self.replays.items()}
        return {key: _number(v) if isinstance(v, float) else v for key, v in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Row:
        """The row that `as_dict` wrote; ResultsError where the fields are not those."""
        names = {one.name for one in fields(cls)}
        if set(values) != names:
            different = ", ".join(sorted(set(values) ^ names))
            raise ResultsError(f"a row has other fields: {different}", cure="write to another file")
        absent = {"lower": -math.inf, "upper": math.inf, "timeout": math.nan}
        restored: dict[str, Any] = {
            key: absent[key] if value is None and key in absent else value for key, value in values.items()
        }
        return cls(**restored)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None

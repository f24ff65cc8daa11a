"""How far a row is, computed from its stored evaluation; never declared."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .records import RowRecord, code_hash

__all__ = ["STATUSES", "counted_claims", "released", "status_of"]

STATUSES = ("planned", "built", "gated", "attacked", "bounded", "bracketed")
"""From nothing to done: each includes those before it."""


def status_of(record: RowRecord | None, weights: Mapping[str, str]) -> tuple[str, str]:
    """(status, what is missing for the next one) of a row with shipped weights {weight set: sha256}.

    built: weights are there. gated: all reach the row's gate. attacked: every claim of every weight set has
    a finite lower bound. bounded: and a finite upper bound. bracketed: no bound lies below what was found,
    and some claim that its control violates is decided. An evaluation of other code or weights counts for
    nothing.
    """
    if record is None:
        return "built", "not evaluated: run `rbl zoo evaluate`"
    if stale := _stale(record, weights):
        return "built", f"{stale} changed since the evaluation: run `rbl zoo evaluate {record.row}`"
    failed = [name for name, met in record.gate_met.items() if not met]
    if failed:
        return "built", f"{failed[0]}: {record.gate[failed[0]]:.4g}, wanted {record.gate_text}"
    for status, next_one, broken in (
        ("gated", "lower bound", [c for c in record.claims if not _finite(c.lower)]),
        ("attacked", "upper bound", [c for c in record.claims if not _finite(c.upper)]),
        ("bounded", "consistent bracket", [c for c in record.claims if c.crossed]),
    ):
        if broken:
            return status, f"no finite {next_one} of {broken[0].name} ({broken[0].weights})"
    counted = counted_claims(record)
    if not any(claim.decided for claim in record.claims if claim.name in counted):
        return "bounded", "no claim with a violated control is decided"
    return "bracketed", ""


def released(status: str) -> bool:
    """Whether the weights of a row may go out: it is bracketed (a row without a complete card is none)."""
    return status == STATUSES[-1]


def counted_claims(record: RowRecord) -> tuple[str, ...]:
    """The claims whose control violates them, in order."""
    names: dict[str, None] = dict.fromkeys(c.name for c in record.claims)
    return tuple(name for name in names if record.controls.get(name, False))


def _stale(record: RowRecord, weights: Mapping[str, str]) -> str:
    changed = [name for name, found in code_hash(tuple(record.code)).items() if record.code[name] != found]
    if changed:
        return changed[0]
    different = [
        name for name in {*weights, *record.weights} if weights.get(name) != record.weights.get(name)
    ]
    return f"weights {sorted(different)[0]}" if different else ""


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)

"""What a verification says: the verdict, the bracket of the worst violation, and how far it got."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from torch import Tensor

from robustbench_local.specs import Verdict

__all__ = ["Result", "together"]


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What is known about a property: the verdict and the bracket [lower, upper] of its worst violation.

    Of a property of `exists`: the bracket of the best margin by which a point satisfies it.

    A result over several problems (images of a data set, say) is about all of them together: HOLDS if
    every one holds, VIOLATED if one is violated, bounds of the largest violation; `cases` has them one by
    one.

    Attributes:
        verdict: HOLDS, VIOLATED or UNKNOWN.
        lower: violation at the worst point found, -inf if there is none.
        upper: upper bound of the violation, +inf if there is none. Violation > 0 is bad.
        seconds: wall-clock time; of a single problem, its share of the batches it was part of.
        stage: the method that decided, or the last one that ran.
        reason: why the verdict is UNKNOWN: bound, timeout, op, resources, boundary or non-finite; else "".
        witness: the input (*in) that breaks the property, for VIOLATED; for HOLDS of `exists`, proves it.
        certificate: file that proves HOLDS to the separate checker, where one was asked for; else None.
        state: file from which the run can go on, where one was asked for; else None.
        error: message of the last method that failed, "" if none did.
        proved: the part of the input set, in 0..1, on which a search has proved the property; the least over
            the cases. Cutting inputs measures it, splitting neurons estimates it from points: at least this,
            but for a chance of 0.001. 0 where no search tells.
        arithmetic: what HOLDS is about: real, float64-outward, fp32, fp16 or bf16 (docs/arithmetic.md).
        margin_over_rounding: how many times the errors of rounding fit into the bound's margin, more than one
            for HOLDS; the least over the cases. NaN where they are not accounted for.
        audit: what stands behind HOLDS: "outward" for a bound that accounts for every rounding error, else
            "float64 with slack" and why; behind a witness, what ran it again. "" for UNKNOWN.
        cases: the results of the single problems, in order; empty in those themselves.
    """

    verdict: Verdict
    lower: float
    upper: float
    seconds: float
    stage: str
    reason: str = ""
    witness: Tensor | None = field(default=None, repr=False)
    certificate: str | None = None
    state: str | None = None
    error: str = ""
    proved: float = 0.0
    arithmetic: str = "real"
    margin_over_rounding: float = math.nan
    audit: str = ""
    cases: tuple[Result, ...] = field(default=(), repr=False)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON-ready fields; an infinite bound is None, the witness nested lists."""
        return {
            "verdict": self.verdict.value,
            "lower": _finite(self.lower),
            "upper": _finite(self.upper),
            "seconds": self.seconds,
            "stage": self.stage,
            "reason": self.reason,
            "witness": None if self.witness is None else self.witness.tolist(),
            "certificate": self.certificate,
            "state": self.state,
            "error": self.error,
            "proved": self.proved,
            "arithmetic": self.arithmetic,
            "margin_over_rounding": _finite(self.margin_over_rounding),
            "audit": self.audit,
        }


def together(cases: tuple[Result, ...]) -> Result:
    """One result that is about every case: the first violated or undecided one speaks for all."""
    worst = next((c for c in cases if c.verdict is Verdict.VIOLATED), None)
    worst = worst or next((c for c in cases if c.verdict is Verdict.UNKNOWN), cases[-1])
    return replace(
        worst,
        lower=max(c.lower for c in cases),
        upper=max(c.upper for c in cases),
        seconds=sum(c.seconds for c in cases),
        proved=min(c.proved for c in cases),
        margin_over_rounding=min((c.margin_over_rounding for c in cases), key=_unknown_last),
        audit="; ".join(dict.fromkeys(c.audit for c in cases if c.audit)),
        cases=cases,
    )


def _unknown_last(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None

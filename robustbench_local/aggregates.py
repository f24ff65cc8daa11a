"""Verdicts on what is said of many problems: every spec, a share of the rows, a probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from robustbench_local.specs import ChanceClaim, RateClaim, Verdict

from .chances import ChanceBracket
from .results import Result

__all__ = ["chance_result", "every_result", "parity_result", "rate_bounds", "rate_result"]


def every_result(results: Sequence[Result]) -> Result:
    """All of some results: HOLDS if every one holds, VIOLATED if one is violated (strong Kleene logic)."""
    worst = next((r for r in results if r.verdict is Verdict.VIOLATED), None)
    worst = worst or next((r for r in results if r.verdict is Verdict.UNKNOWN), results[-1])
    return replace(
        worst,
        lower=max(r.lower for r in results),
        upper=max(r.upper for r in results),
        seconds=sum(r.seconds for r in results),
        cases=tuple(case for r in results for case in (r.cases or (r,))),
    )


def rate_bounds(result: Result) -> tuple[float, float]:
    """The share of the cases that hold: at least those proved, at most those not refuted."""
    n = len(result.cases)
    held = sum(case.verdict is Verdict.HOLDS for case in result.cases)
    broken = sum(case.verdict is Verdict.VIOLATED for case in result.cases)
    return held / n, 1 - broken / n


def rate_result(claim: RateClaim, result: Result) -> Result:
    """The verdict on a claim about the share; its violation is how far the share misses the threshold."""
    lower, upper = rate_bounds(result)
    return _against(claim.threshold, claim.at_least, lower, upper, replace(result, witness=None), "bound")


def parity_result(first: Result, second: Result, tolerance: float) -> Result:
    """The verdict on two groups being served alike: the shares of their cases that hold differ by at most
    `tolerance`, in [0, 1].

    Each share lies between what is proved and what is not refuted, so that their distance does too; the
    violation is the distance minus the tolerance. J. Buolamwini and T. Gebru, "Gender shades", PMLR 81, 2018.
    """
    (low, high), (other_low, other_high) = rate_bounds(first), rate_bounds(second)
    least = max(0.0, low - other_high, other_low - high)
    most = max(high - other_low, other_high - low)
    whole = every_result((first, second))
    return _against(tolerance, False, least, most, replace(whole, witness=None), "bound")


def chance_result(claim: ChanceClaim, brackets: Sequence[ChanceBracket], seconds: float) -> Result:
    """The verdict on a claim about a probability, by the proved bounds; UNKNOWN where only samples speak."""
    cases = []
    for bracket in brackets:
        plain = Result(Verdict.UNKNOWN, 0.0, 0.0, seconds / len(brackets), "chance")
        cases.append(_against(claim.threshold, claim.at_least, bracket.lower, bracket.upper, plain, "bound"))
    return every_result(cases)


def _against(
    threshold: float, at_least: bool, lower: float, upper: float, result: Result, reason: str
) -> Result:
    """The result of a number in [lower, upper] that should be at least, or at most, the threshold."""
    bracket = (threshold - upper, threshold - lower) if at_least else (lower - threshold, upper - threshold)
    verdict = Verdict.HOLDS if bracket[1] <= 0 else Verdict.VIOLATED if bracket[0] > 0 else Verdict.UNKNOWN
    reason = reason if verdict is Verdict.UNKNOWN else ""
    return replace(result, verdict=verdict, lower=bracket[0], upper=bracket[1], reason=reason)

"""Verdicts on what is said of many problems: every spec, a share of the rows, groups of rows, a
probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from robustbench_local.specs import ChanceClaim, GroupClaim, RateClaim, Verdict

from .chances import ChanceBracket
from .results import Result

__all__ = ["chance_result", "every_result", "group_result", "rate_bounds", "rate_result"]


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


def group_result(claim: GroupClaim, result: Result, groups: Tensor) -> Result:
    """The verdict on groups of problems being served alike; `result` has one case per problem.

    groups (B,): the group of every problem. A problem counts for its group's share where it is proved,
    against it where it is refuted; the open ones may go either way. Raises what `GroupClaim.violation` does.
    """
    words = [case.verdict for case in result.cases or (result,)]
    holds = torch.tensor([word is Verdict.HOLDS for word in words])
    undecided = torch.tensor([word is Verdict.UNKNOWN for word in words])
    lower, upper = claim.violation(holds, undecided, groups.cpu())
    return _bracketed(lower, upper, replace(result, witness=None), "bound")


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
    ends = (threshold - upper, threshold - lower) if at_least else (lower - threshold, upper - threshold)
    return _bracketed(*ends, result, reason)


def _bracketed(lower: float, upper: float, result: Result, reason: str) -> Result:
    """The result of a violation in [lower, upper], 0 being none; where that decides nothing, the reason."""
    verdict = Verdict.HOLDS if upper <= 0 else Verdict.VIOLATED if lower > 0 else Verdict.UNKNOWN
    reason = reason if verdict is Verdict.UNKNOWN else ""
    return replace(result, verdict=verdict, lower=lower, upper=upper, reason=reason)

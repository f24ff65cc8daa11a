"""Verdicts for a chosen arithmetic: which stages can give them, and results that say what they are about."""

from __future__ import annotations

from dataclasses import replace

from robustbench_local.errors import SpecError
from robustbench_local.verifiers import Verifier, find_arithmetic

from .cascade import Method, find_methods
from .results import Result

__all__ = ["arithmetic_stages", "labelled", "only_real"]

_STAGES = ("pgd", "ibp", "crown-ibp", "crown", "alpha-crown")
"""For other arithmetics than real numbers: those with bounds that account for rounding."""


def arithmetic_stages(method: str | None, arithmetic: str) -> dict[str, Method] | None:
    """The stages that decide: `method` alone, or None for a plan of real arithmetic.

    For another arithmetic the verifiers' counterparts. UnknownNameError for an unknown name, SpecError for a
    verifier without a counterpart.
    """
    chosen = find_arithmetic(arithmetic)
    if method is None and arithmetic == "real":
        return None
    stages = find_methods(_STAGES if method is None else (method,))
    return {
        name: chosen.verifier(stage) if isinstance(stage, Verifier) else stage
        for name, stage in stages.items()
    }


def labelled(result: Result, arithmetic: str) -> Result:
    """The result and those of its cases, marked with their arithmetic."""
    cases = tuple(replace(case, arithmetic=arithmetic) for case in result.cases)
    return replace(result, arithmetic=arithmetic, cases=cases)


def only_real(arithmetic: str, what: str = "probabilities") -> None:
    """Raise SpecError for another arithmetic than real numbers: for `what` speaks of those only."""
    if arithmetic != "real":
        raise SpecError(
            f"{what} have no arithmetic={arithmetic!r}", where="arithmetic", cure="leave it at 'real'"
        )

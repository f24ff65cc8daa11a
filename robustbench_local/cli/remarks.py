"""What users should know of a model beside the numbers, on the error stream."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .output import message

if TYPE_CHECKING:
    from robustbench_local.evaluation import Cases
    from robustbench_local.suite import Suite

__all__ = ["warn_of_probabilities", "warn_of_suite"]


def warn_of_probabilities(cases: Cases) -> bool:
    """Says so where a classifier gives probabilities: near 0 and 1 no gradient is left to follow, and an
    attack that finds nothing says little. True where it does."""
    from robustbench_local.diagnostics import gives_probabilities
    from robustbench_local.evaluation import Subject

    if not gives_probabilities(cases.query, cases.starts().to(Subject.of(cases).dtype)):
        return False
    message(
        f"note: {cases.model} returns probabilities, which hide gradients from attacks; attack its logits "
        "(leave the softmax out), and see `rbl diagnose` (D4)"
    )
    return True


def warn_of_suite(suite: Suite) -> None:
    """The same for every model of a suite, on two images."""
    for cases in replace(suite, limit=2, eps=suite.eps[:1]).cases():
        warn_of_probabilities(cases)

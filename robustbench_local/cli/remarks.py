"""What users should know of a model beside the numbers, on the error stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .output import message

if TYPE_CHECKING:
    from robustbench_local.evaluation import Cases

__all__ = ["warn_of_probabilities"]


def warn_of_probabilities(cases: Cases) -> bool:
    """Says so where a classifier gives probabilities: near 0 and 1 no gradient is left to follow, and an
    attack that finds nothing says little. True where it does."""
    from robustbench_local.diagnostics import gives_probabilities

    if not gives_probabilities(cases.query, cases.starts()):
        return False
    message(
        f"note: {cases.model} returns probabilities, which hide gradients from attacks; attack its logits "
        "(leave the softmax out), and see `rbl diagnose` (D4)"
    )
    return True

"""Too little memory is an answer, not a crash: UNKNOWN (resources)."""

from __future__ import annotations

from collections.abc import Callable

from robustbench_local.specs import Verdict
from robustbench_local.verifiers import is_out_of_memory

from .results import Result, together

__all__ = ["sparing", "words_of"]


def sparing(work: Callable[[], Result], problems: Callable[[], int]) -> Result:
    """What `work` returns, or UNKNOWN (resources) for every one of the `problems` where memory ran out.

    Nothing is allocated by torch for that answer. Raises whatever else `work` raises.
    """
    try:
        return work()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        text = words_of(error)
    infinity = float("inf")
    one = Result(Verdict.UNKNOWN, -infinity, infinity, 0.0, "", "resources", error=text)
    return together((one,) * max(1, problems()))


def words_of(error: Exception) -> str:
    """The error's message in one line, its kind where it has none."""
    return " ".join(str(error).split())[:500] or type(error).__name__

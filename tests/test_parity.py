"""Parity of two groups: the bracket of the distance between shares holds whatever the open cases are."""

from __future__ import annotations

from itertools import product

import pytest

from robustbench_local.aggregates import parity_result
from robustbench_local.results import Result
from robustbench_local.specs import Verdict


def group(holds: int, violated: int, undecided: int) -> Result:
    words = [Verdict.HOLDS] * holds + [Verdict.VIOLATED] * violated + [Verdict.UNKNOWN] * undecided
    cases = tuple(Result(word, -1.0, 1.0, 0.0, "test") for word in words)
    return Result(Verdict.UNKNOWN, -1.0, 1.0, 0.0, "test", cases=cases)


@pytest.mark.parametrize("tolerance", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("first", [(3, 1, 0), (2, 1, 1), (0, 0, 4), (0, 4, 0)])
@pytest.mark.parametrize("second", [(4, 0, 0), (1, 2, 1), (0, 3, 1)])
def test_every_completion_lies_in_the_bracket(
    first: tuple[int, int, int], second: tuple[int, int, int], tolerance: float
) -> None:
    found = parity_result(group(*first), group(*second), tolerance)
    gaps = [
        abs((first[0] + more) / 4 - (second[0] + other) / 4) - tolerance
        for more, other in product(range(first[2] + 1), range(second[2] + 1))
    ]
    assert all(found.lower - 1e-12 <= gap <= found.upper + 1e-12 for gap in gaps)
    assert found.upper == pytest.approx(max(gaps))
    if found.verdict is Verdict.HOLDS:
        assert max(gaps) <= 1e-12
    if found.verdict is Verdict.VIOLATED:
        assert min(gaps) > 0
    if first[2] == second[2] == 0:
        assert found.verdict is not Verdict.UNKNOWN


def test_the_verdict_follows_the_tolerance() -> None:
    high, low = group(4, 0, 0), group(1, 3, 0)
    assert parity_result(high, low, 0.5).verdict is Verdict.VIOLATED
    assert parity_result(high, low, 0.75).verdict is Verdict.HOLDS
    assert parity_result(group(4, 0, 0), group(1, 0, 3), 0.5).verdict is Verdict.UNKNOWN

"""Random small problems whose worst violation is known: no wrong verdict, with attacks on or off."""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy

import pytest
import torch
from torch import nn

import robustbench_local as rbl
from robustbench_local.random_oracles import milp_points
from robustbench_local.random_problems import FAMILIES, SAMPLES, Problem, random_problem
from robustbench_local.specs import Atom, Box, Query, Verdict

from .blind import attacks_off

METHODS = (None, "bab", "split", "milp")


@pytest.mark.parametrize("number", range(len(FAMILIES)), ids=FAMILIES)
def test_no_verdict_is_wrong(number: int) -> None:
    problem = random_problem(number)
    chosen = METHODS[number % len(METHODS)]
    for method, blind in ((None, True), (chosen, False)):
        with attacks_off() if blind else nullcontext():
            result = rbl.verify(problem.query.network, problem.query, timeout=0.25, method=method)
        verdicts = [case.verdict for case in result.cases]
        assert problem.faults(verdicts, [case.witness for case in result.cases]) == [], (method, blind)


def test_a_problem_is_the_same_each_time_and_both_truths_occur() -> None:
    one, two = random_problem(2), random_problem(2)
    assert torch.equal(one.query.d, two.query.d) and torch.equal(one.points, two.points)
    assert 0 < int(one.broken.sum()) < SAMPLES
    assert {random_problem(n).family for n in range(len(FAMILIES))} == {*FAMILIES}


def planted() -> tuple[Problem, int, int]:
    """A problem with a broken sample and one that is not."""
    problem = random_problem(2)
    return problem, int(problem.broken.nonzero()[0]), int((problem.gaps < -1e-3).nonzero()[0])


def test_wrong_verdicts_are_found() -> None:
    problem, broken, whole = planted()
    verdicts, none = [Verdict.UNKNOWN] * SAMPLES, [None] * SAMPLES
    assert problem.faults(verdicts, none) == []
    assert "HOLDS, but" in problem.faults([Verdict.HOLDS] * SAMPLES, none)[0]
    assert len(problem.faults([Verdict.VIOLATED] * SAMPLES, none)) == SAMPLES
    at = [problem.points[b] for b in range(SAMPLES)]
    found = problem.faults([Verdict.VIOLATED] * SAMPLES, at)
    assert any(f"sample {whole}:" in line for line in found)
    assert not any(f"sample {broken}:" in line for line in found if float(problem.gaps[broken]) > 1e-4)


class Doubtful(nn.Module):
    """A value whose last bit depends on whether the point comes alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + (1e-7 if x.shape[0] > 1 else -1e-7)


def test_a_witness_that_replays_in_a_batch_only_does_not_count() -> None:
    point = torch.zeros(2, 1)
    query = Query(
        Doubtful(), Box(point, point), torch.ones(2, 1, 1).double(), torch.zeros(2, 1).double(), Atom(0, True)
    )
    assert bool(query.violated(point).all())
    result = rbl.attack(query.network, query)
    assert [case.verdict for case in result.cases] == ["UNKNOWN", "UNKNOWN"]
    assert {case.reason for case in result.cases} == {"boundary"}


def test_a_float64_bound_as_small_as_rounding_proves_nothing() -> None:
    problem = random_problem(5)  # its sixth sample reaches 0 exactly, and a bound of -2e-16 comes out
    zero = int((problem.gaps == 0).nonzero()[0])
    with attacks_off():
        result = rbl.verify(problem.query.network, problem.query, timeout=3)
    found = result.cases[zero]  # a search may come across the point where 0 is reached
    assert found.verdict != Verdict.HOLDS
    assert found.verdict == Verdict.VIOLATED or (found.reason == "boundary" and found.upper > -1e-12)


def test_the_program_finds_the_worst_points_of_piecewise_linear_problems() -> None:
    for number in (3, 16):  # abs on a box, a convolution on an l1 ball
        plain = random_problem(number)
        wide = plain.query.with_network(deepcopy(plain.query.network).double())
        points = torch.stack(milp_points(wide))
        inside = torch.stack([plain.query.inputs.contains(x) for x in points])
        values = torch.stack([wide.violation(x.double()) for x in points]).where(inside, -torch.inf)
        assert bool((values.amax(0) >= plain.gaps - 1e-6).all()), number
    assert float((values.amax(0) - plain.gaps).max()) > 1e-4, "the search alone stays below it here"
    assert milp_points(random_problem(5).query) == [], "a sigmoid is no piecewise linear function"

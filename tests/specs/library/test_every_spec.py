"""What holds of every ready property, on worked examples: signs, brackets, verdicts; and the catalogue."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections import Counter
from pathlib import Path

import pytest
import torch
from robustbench_local.specs.sets import InputSet
from torch import Tensor

import robustbench_local as rbl
from robustbench_local.attacks import pgd
from robustbench_local.specs import Quantifier, Query, library
from robustbench_local.verifiers import find_verifier, from_torch

from .worked import DRAWS, Worked

FILES = sorted(path.stem for path in Path(__file__).parent.glob("*_cases.py"))
WORKED: list[Worked] = [
    case for file in FILES for case in importlib.import_module(f".{file}", __package__).CASES
]
IDS = [f"{case}-{k}" for k, case in enumerate(WORKED)]


def test_every_name_of_the_registry_has_worked_examples_with_both_verdicts() -> None:
    seen = Counter((case.name, letter) for case in WORKED for letter in case.verdicts)
    missing = [(name, letter) for name in library.SPECS for letter in "HV" if not seen[name, letter]]
    assert missing == []


@pytest.mark.parametrize("case", WORKED, ids=IDS)
def test_a_property_prints_itself(case: Worked) -> None:
    text = case.spec.text
    assert case.spec.id == hashlib.sha256(text.encode()).hexdigest()
    assert text.splitlines()[-1].startswith(
        f"{case.spec.quantifier.value} {case.spec.variables[0].name}: real"
    )


@pytest.mark.parametrize("case", WORKED, ids=IDS)
def test_the_sign_of_the_violation_is_the_truth(case: Worked) -> None:
    query = case.query()
    rows, x = drawn(query)
    part = query.select(rows)
    with torch.no_grad():
        violation, violated = part.violation(x), part.violated(x)
    bad = case.truth(query, rows, x) == (query.quantifier is Quantifier.EXISTS)
    clear = violation.abs() > 1e-9  # nearer to zero the order of rounding decides
    assert clear.float().mean() > 0.5
    assert torch.equal((violation > 0)[clear], bad[clear])
    assert torch.equal(violated[clear], bad[clear])


@pytest.mark.parametrize("case", WORKED, ids=IDS)
def test_the_bracket_encloses_the_truth_and_decides(case: Worked) -> None:
    query = case.query()
    found = pgd(query, restarts=5, seed=0)
    rows, x = drawn(query)
    with torch.no_grad():
        samples = query.select(rows).violation(x).reshape(query.batch, -1).amax(1)
    lower = torch.maximum(found.violation, samples)
    upper = torch.full_like(lower, torch.inf)
    if case.methods:
        graph = from_torch(query.network, query.inputs.centre())
        for method in case.methods:
            with torch.no_grad():
                upper = torch.minimum(upper, find_verifier(method).bound(graph, query).upper)
            if bool((query.holds(upper) | found.violated).all()):
                break
    else:
        result = rbl.verify(query.network, query)
        upper = torch.tensor([one.upper for one in result.cases], dtype=torch.float64)
    assert bool((lower <= upper + 1e-9).all()), (lower, upper)
    if case.worst is not None:
        worst = torch.tensor(case.worst, dtype=torch.float64)
        assert bool((lower <= worst + 1e-9).all() and (worst <= upper + 1e-9).all()), (lower, worst, upper)
    assert query.inputs.contains(found.points).all()
    witnessed = case.truth(query, torch.arange(query.batch), found.points)
    exists = query.quantifier is Quantifier.EXISTS
    assert torch.equal(witnessed[found.violated], torch.full_like(witnessed[found.violated], exists))
    letters = {True: "H" if exists else "V", False: "V" if exists else "H"}
    verdicts = [
        letters[True] if bool(hit) else letters[False] if bool(proved) else "?"
        for hit, proved in zip(found.violated, query.holds(upper), strict=True)
    ]
    assert "".join(verdicts) == case.verdicts, (lower, upper)


@pytest.mark.parametrize("name", sorted(library.SPECS))
def test_every_function_says_what_it_states_and_where_that_is_from(name: str) -> None:
    first, *rest = (inspect.getdoc(library.SPECS[name]) or "").split("\n\n")
    text = " ".join(" ".join(rest).split())
    assert text.count("Source: ") == 1 and "Bind " in text and "Violation: " in text
    assert first.startswith(("forall ", "exists ")) and first.rstrip().endswith(".")


def test_every_kind_of_the_catalogue_has_a_function_or_a_reason() -> None:
    assert [entry.number for entry in library.CATALOGUE] == list(range(1, len(library.CATALOGUE) + 1))
    stated = {number for kind in library.KINDS.values() for number in kind.numbers}
    for entry in library.CATALOGUE:
        assert (entry.number in stated) != bool(entry.reason), entry
    assert stated <= {entry.number for entry in library.CATALOGUE}
    assert set(library.KINDS) == set(library.SPECS) and all(library.KINDS[n].numbers for n in library.SPECS)


def drawn(query: Query) -> tuple[Tensor, Tensor]:
    """Problems (N,) and points (N, *in) of their sets, N about a thousand."""
    rows = torch.arange(query.batch).repeat_interleave(-(-DRAWS // query.batch))
    inputs: InputSet = query.inputs.select(rows)
    source = torch.Generator().manual_seed(7)
    uniform = torch.rand(len(rows), *inputs.shape, generator=source, dtype=torch.float64)
    return rows, inputs.sample(uniform, torch.rand(len(rows), generator=source, dtype=torch.float64))

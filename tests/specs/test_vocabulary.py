"""Every function of the language is known to its texts."""

from __future__ import annotations

import inspect
import typing

import pytest
from robustbench_local.specs.expressions.comparisons import ArgMax, Rank
from robustbench_local.specs.vocabulary import FUNCTIONS, function

import robustbench_local.specs as specs
from robustbench_local.errors import SpecError

EXPRESSIONS = (specs.Term, specs.Formula, specs.Domain, specs.Distribution, ArgMax, Rank)
DECLARED = {"Const", "Data", "Label", "Net", "Param", "Var", "let"}  # texts have declarations for these
EXPANDED = {"always", "eventually", "until"}  # take functions of Python; texts show what they make of them


def functions_of_the_language() -> list[str]:
    """Public names of what takes parts of expressions and returns an expression."""
    found = []
    for name in specs.__all__:
        value = getattr(specs, name)
        if inspect.isclass(value) or not callable(value) or name in DECLARED | EXPANDED:
            continue
        result = typing.get_type_hints(value if inspect.isfunction(value) else type(value).__call__)["return"]
        kinds = typing.get_args(result) or (result,)  # of a union, its members
        if all(inspect.isclass(kind) and issubclass(kind, EXPRESSIONS) for kind in kinds):
            found.append(name)
    return found


@pytest.mark.parametrize("name", functions_of_the_language())
def test_texts_may_call_every_public_function(name: str) -> None:
    assert FUNCTIONS.get(name) is getattr(specs, name), f"put @function({name!r}) on it"


def test_nothing_else_can_be_called() -> None:
    synonyms = {"abs", "max", "min", "sum", "any", "all"}
    assert set(FUNCTIONS) - set(functions_of_the_language()) == synonyms


def test_a_name_has_one_meaning() -> None:
    with pytest.raises(SpecError, match="has a function 'norm' already"):
        function("norm")(lambda: None)

"""The functions of the language by the names that texts call them; `@function` enters one.

A text is read without running any of it: it can only call what is entered here. A function takes terms,
formulas, domains, numbers, strings and lists of them, and must print itself as a call of its own name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from robustbench_local.errors import SpecError

__all__ = ["FUNCTIONS", "function"]

_Build = TypeVar("_Build", bound=Callable[..., object])
_FUNCTIONS: dict[str, Callable[..., object]] = {}

FUNCTIONS: Mapping[str, Callable[..., object]] = MappingProxyType(_FUNCTIONS)
"""Functions by name; several names may mean one function."""


def function(*names: str) -> Callable[[_Build], _Build]:
    """Enter a function under the name that its expressions print, and under synonyms after it."""

    def register(build: _Build) -> _Build:
        for name in names:
            if name in _FUNCTIONS:
                raise SpecError(f"the language has a function {name!r} already", cure="choose another name")
            _FUNCTIONS[name] = build
        return build

    return register

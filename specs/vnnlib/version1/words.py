"""The words of VNN-LIB 1.0: numbers, declared variables X_i and Y_i, and its relations.

The position of X_i in formulas is 2 i while a file is read, that of Y_i is 2 i + 1: declarations may come
anywhere, so that the number of variables is known at the end only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType

from robustbench_local.errors import SpecError

from ..source import Source, coded
from ..stream import ASSERTED, LITERALS, WORD, Token, brief, offset_of
from ..terms import Element, Number
from .tokens import ASSERTED_LITERAL, LITERAL, NUMBER, VARIABLE

__all__ = ["WHAT_1_0_HAS", "Words"]

WHAT_1_0_HAS = "VNN-LIB 1.0 has `(declare-const X_0 Real)` and `(assert ...)`"
"""The cure for text that is something else."""

_LETTERS = ("X", "Y")


class Words:
    """The variables that have been declared so far, and how formulas are written."""

    relations: Mapping[str, str] = MappingProxyType({"<=": "<=", ">=": ">=", "<": "<", ">": ">", "=": "=="})
    literals: Mapping[int, re.Pattern[str]] = MappingProxyType(
        {ASSERTED: ASSERTED_LITERAL, LITERALS: LITERAL}
    )
    careful = False

    def __init__(self, source: Source) -> None:
        self.source = source
        self.positions: dict[str, int] = {}

    def declare(self, name: str, offset: int) -> None:
        """Takes up one more variable; an error where it is known, or no variable."""
        variable = VARIABLE.fullmatch(name)
        if variable is None:
            cure = "variables are X_0, X_1, ... and Y_0, ..."
            raise self.source.error(f"`{brief(name)}` is no variable", offset, cure)
        if name in self.positions:
            raise self.source.error(f"{name} is declared twice", offset, "declare every variable once")
        self.positions[name] = 2 * int(variable[2]) + _LETTERS.index(variable[1])

    def sizes(self) -> tuple[int, int]:
        """The numbers of inputs and outputs; an error unless 0 .. n - 1 are declared, n >= 1."""
        found = [0, 0]
        for parity, kind in enumerate(("input", "output")):
            letter = _LETTERS[parity]
            known = [p // 2 for p in self.positions.values() if p % 2 == parity]
            if not known:
                raise self._incomplete(f"no {kind} {letter}_i is declared", WHAT_1_0_HAS)
            if max(known) + 1 != len(known):
                indices = set(known)
                missing = next(i for i in range(len(known)) if i not in indices)
                what = f"{letter}_{missing} is not declared, but {letter}_{max(known)} is"
                raise self._incomplete(what, f"{kind}s are numbered from 0 without gaps")
            found[parity] = len(known)
        return found[0], found[1]

    def leaf(self, token: Token) -> Number | Element | None:
        """The number or variable; None for a token that is no word."""
        if token[0].lastindex != WORD:
            return None
        word, at = token[0][WORD], offset_of(token)
        if NUMBER.fullmatch(word):
            self._check_number(word, at)
            return Number(float(word) + 0.0)
        if VARIABLE.fullmatch(word) is None:
            what = f"expected a number, X_i or Y_i, found `{brief(word)}`"
            raise self.source.error(what, at, "numbers are written as 0.5 or 1e-3, variables as X_0 or Y_0")
        self._check_variable(word, at)
        return Element(self.positions[word])

    def check(self, element: str, at: int, number: str, at_number: int) -> None:
        """An error for a variable that is not declared, or a number beyond float64."""
        self._check_variable(element, at)
        self._check_number(number, at_number)

    def end_comparison(self, offset: int) -> None:
        """Nothing: everything is a real number."""

    def _check_variable(self, name: str, at: int) -> None:
        if name not in self.positions:
            cure = f"write `(declare-const {name} Real)` before its first use"
            raise self.source.error(f"{name} is not declared", at, cure)

    def _check_number(self, word: str, at: int) -> None:
        if not math.isfinite(float(word)):
            what, cure = f"{brief(word)} is too large for float64", "the largest number is 1.79e308"
            raise self.source.error(what, at, cure)

    def _incomplete(self, what: str, cure: str) -> SpecError:
        return coded(SpecError(what, where=self.source.name, cure=cure), "E-PARSE")

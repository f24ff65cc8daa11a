"""Variables that are declared, and terms over them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from robustbench_local.errors import SpecError

from .arithmetic import Fail, Linear, product
from .source import Source
from .stream import DEEPEST, Stream, brief
from .tokens import NUMBER, OPEN, VARIABLE, WORD, Token

__all__ = ["WHAT_1_0_HAS", "Terms", "Variables"]

WHAT_1_0_HAS = "VNN-LIB 1.0 has `(declare-const X_0 Real)` and `(assert ...)`"
"""The cure for text that is something else."""


class Variables:
    """The declared variables; `indices`: letter -> indices so far."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.indices: dict[str, set[int]] = {"X": set(), "Y": set()}

    def declare(self, letter: str, index: int, offset: int) -> None:
        """Takes up one more; an error where it is known."""
        known = self.indices[letter]
        if index in known:
            raise self.source.error(f"{letter}_{index} is declared twice", offset)
        known.add(index)

    def undeclared(self, letter: str, index: int, offset: int) -> SpecError:
        """The error for the use of one that is not declared."""
        cure = f"write `(declare-const {letter}_{index} Real)` before its first use"
        return self.source.error(f"{letter}_{index} is not declared", offset, cure)

    def check_complete(self, letter: str, kind: str) -> None:
        """Whether 0 .. n - 1 are declared, n >= 1; else an error."""
        known = self.indices[letter]
        if not known:
            error = SpecError(f"no {kind} {letter}_i is declared", where=self.source.name, cure=WHAT_1_0_HAS)
        elif max(known) + 1 != len(known):
            missing = next(i for i in range(len(known)) if i not in known)
            error = SpecError(
                f"{letter}_{missing} is not declared, but {letter}_{max(known)} is",
                where=self.source.name,
                cure=f"{kind}s are numbered from 0 without gaps",
            )
        else:
            return
        error.code = "E-PARSE"
        raise error


class Terms:
    """Reads terms from a stream."""

    def __init__(self, stream: Stream, declared: Variables) -> None:
        self.stream, self.declared = stream, declared

    def term(self, token: Token, depth: int) -> Linear:
        """The term that begins with the token; `depth` brackets are open."""
        match, base = token
        offset = base + match.start(match.lastindex or 0)
        if match.lastindex == WORD:
            return self._leaf(match[WORD], offset)
        if match.lastindex != OPEN:
            raise self.stream.unexpected(token, "a term: a number, a variable or `(+`, `(-`, `(*`")
        if depth > DEEPEST:
            raise self.stream.source.error(f"terms are nested deeper than {DEEPEST}", offset)
        head, at = self.stream.word("an operator: + - *", offset)
        if head not in _OPERATORS:
            what = "a list begins with an operator" if NUMBER.fullmatch(head) else "no operator"
            raise self.stream.source.error(f"expected + - or *, found `{head}` ({what})", at)
        operands = [self.term(part, depth + 1) for part in self.stream.operands(head, offset)]
        return _OPERATORS[head](operands, self.stream.fail_at(offset))

    def _leaf(self, word: str, offset: int) -> Linear:
        if NUMBER.fullmatch(word):
            value = float(word)
            if not math.isfinite(value):
                raise self.stream.source.error(f"{word} is too large for float64", offset)
            return Linear.number(value)
        variable = VARIABLE.fullmatch(word)
        if variable is None:
            raise self.stream.source.error(f"expected a number, X_i or Y_i, found `{brief(word)}`", offset)
        letter, index = variable[1], int(variable[2])
        if index not in self.declared.indices[letter]:
            raise self.declared.undeclared(letter, index, offset)
        return Linear.variable(letter, index)


def _sum(operands: list[Linear], fail: Fail) -> Linear:
    total = Linear.number(0.0)
    for part in operands:
        total = total.plus(part)
    return total


def _difference(operands: list[Linear], fail: Fail) -> Linear:
    first, *rest = operands
    return first.plus(_sum(rest, fail), -1) if rest else _sum([], fail).plus(first, -1)


def _product(operands: list[Linear], fail: Fail) -> Linear:
    result = operands[0]
    for part in operands[1:]:
        result = product(result, part, fail)
    return result


_OPERATORS: Mapping[str, Callable[[list[Linear], Fail], Linear]] = MappingProxyType(
    {"+": _sum, "-": _difference, "*": _product}
)

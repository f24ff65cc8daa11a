"""The tokens of one source, taken one after the other, with errors that say what was expected instead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from robustbench_local.errors import SpecError

from .source import Source

__all__ = [
    "ASSERTED",
    "CLOSE",
    "DECLARED",
    "DEEPEST",
    "ELEMENT",
    "LITERALS",
    "MARK",
    "OPEN",
    "STRING",
    "WORD",
    "Stream",
    "Token",
    "brief",
    "offset_of",
]

Token = tuple[re.Match[str], int]
"""A match of a token expression, and the offset of the text in which it was found."""

ASSERTED, LITERALS, DECLARED, OPEN, CLOSE, ELEMENT, WORD, STRING, MARK = range(1, 10)
"""Kinds of token: the group of the token expression that matched, the only one that did. The first three
are runs of many statements: assertions of one literal each, literals, declarations."""

DEEPEST = 100
"""How deep formulas and terms may be nested."""

_BLANKS = " \t\n\r\f\v"
_NAMES: Mapping[int, str] = MappingProxyType(
    {
        ASSERTED: "an assertion",
        LITERALS: "a comparison",
        DECLARED: "a declaration",
        OPEN: "`(`",
        CLOSE: "`)`",
        STRING: "a string",
    }
)


class Stream:
    """A source as tokens. `offset`, `opened` are offsets in it, for the place in messages."""

    def __init__(self, source: Source, expression: re.Pattern[str]) -> None:
        self.source = source
        self.tokens = _tokens(source, expression)

    def operands(self, head: str, offset: int) -> Iterator[Token]:
        """The first tokens of the operands up to the closing bracket, at least one; the caller reads on."""
        found = False
        for token in self.tokens:
            if token[0].lastindex == CLOSE:
                break
            yield token
            found = True
        else:
            raise self._ended(f" inside `({head}`", offset)
        if not found:
            cure = f"give `{head}` at least one operand"
            raise self.source.error(f"`({head})` holds nothing", offset, cure)

    def take(self, head: str, offset: int) -> Token:
        """The next token; an error where the text ends inside `(head`, opened at the offset."""
        token = next(self.tokens, None)
        if token is None:
            raise self._ended(f" inside `({head}`", offset)
        return token

    def word(self, expected: str, opened: int) -> tuple[str, int]:
        """The next token, which must be a word, and its offset."""
        token = next(self.tokens, None)
        if token is None:
            raise self._ended(" after a bracket,", opened)
        match, base = token
        if match.lastindex != WORD:
            raise self.unexpected(token, expected)
        return match[WORD], base + match.start(WORD)

    def close(self, head: str, opened: int) -> None:
        """Takes the bracket that ends `(head`."""
        token = self.take(head, opened)
        if token[0].lastindex != CLOSE:
            raise self.unexpected(token, f"`)` to end `({head}`")

    def unexpected(self, token: Token, expected: str) -> SpecError:
        """The error for a token that is not what was expected."""
        match, _ = token
        found = _NAMES.get(match.lastindex or 0) or f"`{brief(match[0].strip(_BLANKS))}`"
        what, cure = f"expected {expected}, found {found}", "check the brackets before this place"
        return self.source.error(what, offset_of(token), cure)

    def _ended(self, place: str, offset: int) -> SpecError:
        what, cure = f"the file ends{place} before its bracket is closed", "close every bracket"
        return self.source.error(what, offset, cure)


def offset_of(token: Token) -> int:
    """Where the token begins."""
    match, base = token
    return base + match.start(match.lastindex or 0)


def brief(word: str) -> str:
    """The word for a message: short, and in ASCII."""
    return re.sub(r"[^ -~]", "?", word if len(word) <= 40 else f"{word[:40]}...")


def _tokens(source: Source, expression: re.Pattern[str]) -> Iterator[Token]:
    """The tokens of the text in order, comments left out."""
    for offset, text in source.chunks():
        for match in expression.finditer(text):
            if match.lastindex is not None:
                yield match, offset

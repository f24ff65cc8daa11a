"""The tokens of one source, taken one after the other, with errors that say what was expected instead."""

from __future__ import annotations

import re
from collections.abc import Iterator

from robustbench_local.errors import SpecError

from .arithmetic import Fail
from .source import Source
from .tokens import CLOSE, DECLARATION, LITERAL, OPEN, WORD, Token, tokens

__all__ = ["DEEPEST", "Stream", "brief", "offset_of"]

DEEPEST = 100
"""How deep formulas and terms may be nested."""

_NAMES = {LITERAL: "a comparison", DECLARATION: "a declaration", OPEN: "`(`", CLOSE: "`)`"}


class Stream:
    """A source as tokens. `offset`, `opened` are offsets in it, for the place in messages."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.tokens = tokens(source)

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
        match, base = token
        kind = match.lastindex or 0
        found = _NAMES.get(kind) or f"`{brief(match[kind])}`"
        whole = kind in (LITERAL, DECLARATION)
        start = match.start() + len(match[0]) - len(match[0].lstrip()) if whole else match.start(kind)
        return self.source.error(f"expected {expected}, found {found}", base + start)

    def fail_at(self, offset: int) -> Fail:
        """What makes errors at the offset."""
        return lambda what, cure, code: self.source.error(what, offset, cure, code=code)

    def _ended(self, place: str, offset: int) -> SpecError:
        return self.source.error(f"the file ends{place} before its bracket is closed", offset)


def offset_of(token: Token) -> int:
    """Where the token begins; for a whole literal or declaration, a place inside."""
    match, base = token
    return base + match.start(match.lastindex or 0)


def brief(word: str) -> str:
    """The word for a message: short, and in ASCII."""
    return re.sub(r"[^ -~]", "?", word if len(word) <= 40 else f"{word[:40]}...")

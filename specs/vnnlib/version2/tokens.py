"""The tokens of VNN-LIB 2 text; runs of comparisons of elements with numbers are single tokens, for speed."""

from __future__ import annotations

import re

from ..stream import MARK, WORD, Stream, Token

__all__ = ["ASSERTED_LITERAL", "LITERAL", "NAME", "NUMBER", "TOKEN", "bracket", "opens_bracket"]

_NAME = r"[A-Za-z][A-Za-z0-9_]*"
_NUMBER = r"-?\d+(?:\.\d+)?"
_RELATION = r"<=|>=|==|!=|<|>"
_ELEMENT = rf"{_NAME}(?:\[[\d,]*\])?"

NAME = re.compile(_NAME)
"""A name of a network or a tensor."""

NUMBER = re.compile(_NUMBER, re.ASCII)
"""A number: decimal, without an exponent."""

# an element and a number next to each other need no blank where the element ends with `]`
LITERAL = re.compile(rf"(\(\s*({_RELATION})\s*({_ELEMENT})\s*(?<=[\s\]])({_NUMBER})\s*\)\s*)", re.ASCII)
"""One of a run of literals: the whole with the blanks behind it, relation, element, number."""

ASSERTED_LITERAL = re.compile(rf"(\(\s*assert\s*{LITERAL.pattern[1:-1]}\)\s*)", re.ASCII)
"""The same of a run of assertions with one literal each."""

_PLAIN = rf"\(\s*(?:{_RELATION})\s*{_ELEMENT}\s*(?<=[\s\]]){_NUMBER}\s*\)\s*"

# As for version 1: every character that is no blank begins an alternative, quantifiers next to each other
# are over different characters, so that matching takes linear time, and runs are bounded.
TOKEN = re.compile(
    rf"""\s*(?:
      ((?:\(\s*assert\s*{_PLAIN}\)\s*){{1,256}})
    | ((?:{_PLAIN}){{1,256}})
    | (?!)()
    | (\()
    | (\))
    | ({_NAME}\[[\d,]*\])
    | ([^\s();"\[\],]+)
    | ("(?:[^"\\\r\n]|\\["\\nt])*")
    | ([\[\],"])
    | ;[^\r\n]*
    )""",
    re.ASCII | re.VERBOSE,
)
"""The kinds of token of `stream`, in its order of groups; there are no runs of declarations."""


def opens_bracket(token: Token | None) -> bool:
    """Whether the token is `[`."""
    return token is not None and _is_mark(token, "[")


def bracket(stream: Stream, head: str, opened: int) -> list[str]:
    """The words from behind a `[` up to its `]`, with commas between them; `(head` was opened before."""
    words: list[str] = []
    while True:
        token = stream.take(head, opened)
        if not words and _is_mark(token, "]"):
            return words
        if token[0].lastindex != WORD:
            raise stream.unexpected(token, "a number")
        words.append(token[0][WORD])
        token = stream.take(head, opened)
        if _is_mark(token, "]"):
            return words
        if not _is_mark(token, ","):
            raise stream.unexpected(token, "`,` or `]`")


def _is_mark(token: Token, mark: str) -> bool:
    return token[0].lastindex == MARK and token[0][MARK] == mark

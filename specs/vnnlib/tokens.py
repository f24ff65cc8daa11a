"""The tokens of VNN-LIB 1.0 text; the most frequent statements are single tokens, for speed.

A file of 17 MB has 450,000 statements of two forms, `(declare-const X_0 Real)` and
`(assert (<= X_0 0.5))`. Each is one match of one regular expression. Text that is not of these forms (a
comment inside, say) comes as brackets and words instead and means the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .source import Source

__all__ = [
    "CLOSE",
    "DECLARATION",
    "LITERAL",
    "NUMBER",
    "OPEN",
    "VARIABLE",
    "WORD",
    "Token",
    "tokens",
]

Token = tuple[re.Match[str], int]
"""A match of the token expression, and the offset of the text in which it was found."""

LITERAL, DECLARATION, OPEN, CLOSE, WORD = 5, 7, 8, 9, 10
"""Kinds of token: the `lastindex` of the match. A literal's group 1 is set where the assert is part of it."""

_INDEX = r"(?:0|[1-9]\d{0,8})"
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"

NUMBER = re.compile(_NUMBER, re.ASCII)
"""A number: decimal, with or without an exponent."""

VARIABLE = re.compile(rf"([XY])_({_INDEX})", re.ASCII)
"""A variable: X_0, Y_12."""

# Every character that is no blank begins one of the alternatives, so that no text is ever skipped; the
# only quantifiers next to each other are over different characters, so that matching takes linear time.
_TOKEN = re.compile(
    rf"""\s*(?:
      (\(\s*assert\s*)? \(\s*(<=|>=|<|>|=)\s+([XY])_({_INDEX})\s+({_NUMBER})\s*\) (?(1)\s*\))
    | \(\s*declare-const\s+([XY])_({_INDEX})\s+Real\s*\)
    | (\()
    | (\))
    | ([^\s();]+)
    | ;[^\r\n]*
    )""",
    re.ASCII | re.VERBOSE,
)


def tokens(source: Source) -> Iterator[Token]:
    """The tokens of the text in order, comments left out."""
    for offset, text in source.chunks():
        for match in _TOKEN.finditer(text):
            if match.lastindex is not None:
                yield match, offset

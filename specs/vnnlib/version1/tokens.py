"""The tokens of VNN-LIB 1.0 text; runs of the most frequent statements are single tokens, for speed.

A file of 17 MB has 450,000 statements of two forms, `(declare-const X_0 Real)` and
`(assert (<= X_0 0.5))`. Hundreds of them are one match of one regular expression. Text that is not of these
forms (a comment inside, say) comes as brackets and words instead and means the same.
"""

from __future__ import annotations

import re

__all__ = ["ASSERTED_LITERAL", "LITERAL", "NUMBER", "TOKEN", "VARIABLE"]

_INDEX = r"(?:0|[1-9]\d{0,8})"
_NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_RELATION = r"<=|>=|<|>|="

NUMBER = re.compile(_NUMBER, re.ASCII)
"""A number: decimal, with or without an exponent."""

VARIABLE = re.compile(rf"([XY])_({_INDEX})", re.ASCII)
"""A variable: X_0, Y_12."""

LITERAL = re.compile(rf"(\(\s*({_RELATION})\s+([XY]_{_INDEX})\s+({_NUMBER})\s*\)\s*)", re.ASCII)
"""One of a run of literals: the whole with the blanks behind it, relation, variable, number."""

ASSERTED_LITERAL = re.compile(rf"(\(\s*assert\s*{LITERAL.pattern[1:-1]}\)\s*)", re.ASCII)
"""The same of a run of assertions with one literal each."""

_PLAIN = rf"\(\s*(?:{_RELATION})\s+[XY]_{_INDEX}\s+{_NUMBER}\s*\)\s*"

# Every character that is no blank begins one of the alternatives, so that no text is ever skipped; the
# only quantifiers next to each other are over different characters, so that matching takes linear time.
# Runs are bounded, for the memory that matching them takes.
TOKEN = re.compile(
    rf"""\s*(?:
      ((?:\(\s*assert\s*{_PLAIN}\)\s*){{1,256}})
    | ((?:{_PLAIN}){{1,256}})
    | ((?:\(\s*declare-const\s+[XY]_{_INDEX}\s+Real\s*\)\s*){{1,256}})
    | (\()
    | (\))
    | (?!)()
    | ([^\s();]+)
    | ;[^\r\n]*
    )""",
    re.ASCII | re.VERBOSE,
)
"""The kinds of token of `stream`, in its order of groups; elements are words here."""

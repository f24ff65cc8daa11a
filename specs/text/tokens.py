"""A text cut into declarations, and these into tokens.

A declaration begins at the start of a line. It goes on over the lines below that begin with a blank, and
while a bracket is open. `#` begins a comment.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from .report import Report

__all__ = ["HASH", "KEYWORDS", "NAME", "NUMBER", "PREFIXES", "SIGN", "STRING", "Line", "Token", "lines_of"]

KEYWORDS = ("spec", "net", "tap", "data", "label", "param", "const", "let", "prop")
"""What a declaration begins with; a property without a name begins with one of `PREFIXES`."""

PREFIXES = ("forall", "exists", "each", "rate", "gap", "ratio", "chance")

NAME, NUMBER, STRING, HASH, SIGN, END = "name", "number", "string", "hash", "sign", "end"

_DEEPEST = 60  # open brackets
_ESCAPE = r"\\(?:[\\\"'nrt]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U00(?:0[0-9a-fA-F]{5}|10[0-9a-fA-F]{4}))"
_INSIDE = r"\\\n\x00-\x1f\x7f\ud800-\udfff"
_TOKEN = re.compile(
    r"(?P<hash>@sha256:[0-9a-fA-F]{64}(?![0-9a-zA-Z]))"
    r"|(?P<number>(?:[0-9]+(?:\.(?!\.)[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[^\W\d][\w\u0300-\u036f]*)"
    rf"|(?P<string>\"(?:[^\"{_INSIDE}]|{_ESCAPE})*\"|'(?:[^'{_INSIDE}]|{_ESCAPE})*')"
    r"|(?P<sign>\.\.\.|->|\*\*|//|<<|>>|<=|>=|==|!=|:=|=>|&&|\|\||[-+*/%@&|^~<>()\[\]{},:.=;!?])"
    r"|(?P<blank>[ \t\f]+|\#[^\n]*)"
)
_CLOSING = {")": "(", "]": "[", "}": "{"}


class Token(NamedTuple):
    """A piece of the text at a place (line and column, from 1)."""

    kind: str
    text: str
    line: int
    column: int

    @property
    def shown(self) -> str:
        """The token as messages name it."""
        if self.kind == END:
            return "the end of the declaration"
        return f"`{self.text if len(self.text) <= 40 else self.text[:40] + '...'}`"


@dataclass(slots=True)
class Line:
    """The tokens of one declaration; `broken` if a fault was reported already, `end` is behind the last."""

    tokens: list[Token] = field(default_factory=list)
    broken: bool = False
    open: list[Token] = field(default_factory=list)

    @property
    def end(self) -> Token:
        """A token for the place behind the last one."""
        last = self.tokens[-1]
        return Token(END, "", last.line, last.column + len(last.text))


def lines_of(report: Report) -> list[Line]:
    """The declarations of the report's text; faults of single tokens go to the report."""
    found: list[Line] = []
    for number, text in enumerate(report.lines, 1):
        _read(text, number, found, report)
    if found:
        _unclosed(found[-1], report)
    return found


def _read(text: str, number: int, found: list[Line], report: Report) -> None:
    """Add the tokens of one line of the text to the declaration before, or to a new one."""
    position, first = 0, True
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            if first:
                _begin(text, number, position, found, report)
            token = Token(SIGN, text[position], number, position + 1)
            found[-1].tokens.append(token)
            found[-1].broken = True
            _strange(token, report)
            return  # what follows cannot be told apart
        kind = match.lastgroup or ""
        if kind != "blank":
            token = Token(kind, match[0], number, position + 1)
            if first:
                _begin(text, number, position, found, report)
                first = False
            found[-1].tokens.append(token)
            if token.text in "()[]{}" and _bracket(token, found[-1], report):
                return
        position = match.end()


def _begin(text: str, number: int, position: int, found: list[Line], report: Report) -> None:
    """Start a declaration, unless the line goes on with the one before."""
    if found and found[-1].open and position == 0 and _declares(text):
        _unclosed(found[-1], report)
    elif found and (found[-1].open or position > 0):
        return
    found.append(Line())


def _declares(text: str) -> bool:
    """Whether a line looks like the start of a declaration, within brackets that are still open."""
    return re.match(rf"(?:{'|'.join(KEYWORDS + PREFIXES)})[ \t]+[^\W\d]", text) is not None


def _bracket(token: Token, line: Line, report: Report) -> bool:
    """Count a bracket; whether the rest of the line is to be left out."""
    if token.text not in _CLOSING:
        line.open.append(token)
        if len(line.open) > _DEEPEST:
            if not line.broken:
                report.error(f"more than {_DEEPEST} brackets are open", token, "use `let` for parts")
            line.broken = True
            return True
    elif line.open and line.open[-1].text == _CLOSING[token.text]:
        line.open.pop()
    else:
        line.broken = True
        opened = f"`{line.open[-1].text}` is open" if line.open else "no bracket is open"
        report.error(f"{token.shown} where {opened}", token)
        if line.open:
            line.open.pop()
    return False


def _unclosed(line: Line, report: Report) -> None:
    if line.open:
        line.broken = True
        report.error(f"`{line.open[-1].text}` is never closed", line.open[-1])
        line.open.clear()


def _strange(token: Token, report: Report) -> None:
    if token.text in ("'", '"'):
        report.error(
            "a string without end, or with an unknown escape",
            token,
            "escapes: \\\\ \\' \\\" \\n \\r \\t \\x \\u \\U",
        )
    else:
        report.error(f"unexpected character {token.text!a}", token)

"""The names that a text declares, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TypeVar

from robustbench_local.errors import RobustBenchError

from ..vocabulary import FUNCTIONS
from .report import Report
from .syntax import Code
from .tokens import Token

__all__ = ["BROKEN", "Broken", "Declared", "Let", "attempt"]

T = TypeVar("T")


class Broken:
    """What stands for a value that has an error; everything that is made of it is broken, too."""


BROKEN = Broken()


def attempt(report: Report, token: Token, build: Callable[[], T]) -> T | Broken:
    """What `build` returns; BROKEN, and a note in the report, where that is an error of the language."""
    try:
        return build()
    except RobustBenchError as error:
        report.take(error, token)
        return BROKEN


@dataclass(frozen=True, slots=True)
class Let:
    """What the text defines. With parameters it is read anew at every call; without any, once per property,
    in which it may speak of the variables.
    """

    parameters: tuple[str, ...]
    code: Code


@dataclass(slots=True)
class _Entry:
    value: object
    token: Token
    used: bool = False


@dataclass(slots=True)
class Declared:
    """Names with their values, in the order of the text. `later`: names that are declared further down."""

    report: Report
    later: dict[str, Token] = field(default_factory=dict)
    taps: dict[str, dict[str, str]] = field(default_factory=dict)  # network -> name in this text -> node
    _entries: dict[str, _Entry] = field(default_factory=dict)

    def add(self, token: Token, value: object) -> None:
        """Declare a name; an error if it is declared already."""
        known = self._entries.get(token.text)
        if known is not None:
            self.report.error(
                f"`{token.text}` is declared twice, first in line {known.token.line}",
                token,
                "choose another name",
                code="E-PARAM",
            )
        else:
            self._entries[token.text] = _Entry(value, token)

    def replace(self, name: str, value: object) -> None:
        """Give a declared name another value."""
        self._entries[name].value = value

    def place(self, name: str) -> Token | None:
        """Where a name is declared."""
        return self._entries[name].token if name in self._entries else None

    def use(self, name: str) -> object | None:
        """The value of a name, which counts as used from now on; None if there is no such name."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        entry.used = True
        return entry.value

    def peek(self, name: str) -> object | None:
        """The value of a name, which this does not count as used."""
        return self._entries[name].value if name in self._entries else None

    def unused(self) -> Iterator[Token]:
        """The names that nothing has used."""
        return (e.token for e in self._entries.values() if not e.used and not isinstance(e.value, Broken))

    def unknown(self, token: Token, local: list[str], kind: str = "name") -> None:
        """Report a name that nobody declares, with the nearest ones."""
        own = [*local, *self._entries]
        near = get_close_matches(token.text, own, n=2)
        if kind == "function" or not near:
            near = get_close_matches(token.text, [*own, *FUNCTIONS], n=2)
        if token.text in self.later:
            cure = f"it is declared in line {self.later[token.text].line}: move that up"
        elif near:
            cure = f"did you mean {' or '.join(f'`{name}`' for name in near)}?"
        else:
            cure = f"known here: {', '.join(own) or 'nothing'}, and the functions of the language"
        self.report.error(f"unknown {kind} `{token.text}`", token, cure, code="E-NAME")

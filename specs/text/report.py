"""What is found wrong with a text: every error and warning, with its place."""

from __future__ import annotations

from typing import Protocol

from robustbench_local.errors import LocatedError, RobustBenchError, SpecErrors

__all__ = ["Place", "Report"]

_MOST = 100  # errors that are kept


class Place(Protocol):
    """Where something stands: a token."""

    @property
    def line(self) -> int:
        """Line, from 1."""
        ...

    @property
    def column(self) -> int:
        """Column, from 1."""
        ...

    @property
    def text(self) -> str:
        """What stands there."""
        ...


class Report:
    """A text under reading, and what was found wrong with it."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        self.lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self._errors: dict[tuple[int, int, str], LocatedError] = {}
        self._warnings: dict[tuple[int, int, str], LocatedError] = {}

    def error(self, what: str, place: Place, cure: str | None = None, *, code: str = "E-PARSE") -> None:
        """Note an error; a second one that says the same of the same place is left out."""
        self._note(self._errors, self._located(what, place, cure, code))

    def take(self, error: RobustBenchError, place: Place) -> None:
        """Note an error of the language itself, at the place of the text that it comes from."""
        self.error(error.what, place, error.cure, code=error.code)

    def warn(self, what: str, place: Place, cure: str | None = None, *, code: str) -> None:
        """Note something that is no error."""
        self._note(self._warnings, self._located(what, place, cure, code))

    def raise_errors(self) -> None:
        """Raise SpecErrors with what was noted, in the order of the text, if there is anything."""
        if self._errors:
            raise SpecErrors(self._sorted(self._errors))

    @property
    def warnings(self) -> tuple[LocatedError, ...]:
        """The warnings, in the order of the text."""
        return tuple(self._sorted(self._warnings))

    def _located(self, what: str, place: Place, cure: str | None, code: str) -> LocatedError:
        source = self.lines[place.line - 1] if place.line <= len(self.lines) else ""
        spot = (place.line, place.column)
        length = max(1, len(place.text))
        return LocatedError(
            what, code=code, name=self.name, place=spot, source=source, length=length, cure=cure
        )

    @staticmethod
    def _note(kept: dict[tuple[int, int, str], LocatedError], found: LocatedError) -> None:
        if len(kept) < _MOST:
            kept.setdefault((found.line, found.column, found.what), found)

    @staticmethod
    def _sorted(kept: dict[tuple[int, int, str], LocatedError]) -> list[LocatedError]:
        return [kept[key] for key in sorted(kept)]

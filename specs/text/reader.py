"""The declarations of a text, one handler per keyword; errors are collected, and reading goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path

from torch import Tensor

from ..printing import VERSION
from .cursor import Cursor, Stop
from .declared import BROKEN, Declared
from .evaluator import Evaluator, Exhausted
from .networks import Networks
from .properties import Properties
from .report import Report
from .spec_file import SpecFile
from .tokens import KEYWORDS, NAME, PREFIXES, Line, Token, lines_of
from .values import Values

__all__ = ["Reader"]

_LONGEST = 1_000_000  # characters


class Reader:
    """A text under reading; `folder` and `arrays` are where arrays are looked up by their sha256."""

    def __init__(self, report: Report, folder: Path | None, arrays: Mapping[str, Tensor]) -> None:
        self._report = report
        self._declared = Declared(report)
        self._evaluator = Evaluator(self._declared, report)
        self._properties = Properties(self._evaluator)
        self._name: str | None = None
        networks, values = Networks(self._declared), Values(self._evaluator, folder, arrays)
        self._handlers: Mapping[str, Callable[[Cursor], None]] = {
            "spec": self._spec,
            "net": networks.net,
            "tap": networks.tap,
            "data": values.data,
            "label": values.label,
            "param": values.param,
            "const": values.const,
            "let": values.let,
            "prop": self._properties.read,
        }

    def read(self) -> SpecFile:
        """The properties. Raises SpecErrors with everything that is wrong."""
        start = Token(NAME, "", 1, 1)
        if sum(map(len, self._report.lines)) > _LONGEST:
            self._report.error(f"more than {_LONGEST} characters", start, "arrays belong into files")
            self._report.raise_errors()
        lines = lines_of(self._report)
        self._look_ahead(lines)
        for line in lines:
            self._line(line, first=line is lines[0])
        if not lines:
            self._report.error("the text is empty", start, "the first line is: spec NAME v1")
        props = self._properties.finish()
        if lines and not self._properties.seen:
            end = lines[-1].end
            self._report.error(
                "the text has no property", end, "add: prop NAME: forall x: real[..] in ..: .."
            )
        self._report.raise_errors()
        for token in self._declared.unused():
            self._report.warn(f"`{token.text}` is never used", token, code="W-UNUSED")
        return SpecFile(self._name or "", props, self._report.warnings)

    def _look_ahead(self, lines: list[Line]) -> None:
        """Note what is declared where, for errors about names that are used too early."""
        for line in lines:
            if len(line.tokens) > 1 and line.tokens[0].text in KEYWORDS and line.tokens[1].kind == NAME:
                self._declared.later.setdefault(line.tokens[1].text, line.tokens[1])

    def _line(self, line: Line, *, first: bool) -> None:
        token = line.tokens[0]
        if first and token.text != "spec":
            self._report.error(
                f"the text begins with {token.shown}", token, "the first line is: spec NAME v1"
            )
        if line.broken:  # the fault is known; what it declares is known to be broken
            self._broken(line)
            return
        cursor = Cursor(line, self._report)
        self._evaluator.restart()
        try:
            if token.text in PREFIXES:
                self._properties.read_claim(cursor)
            elif token.text in self._handlers and token.kind == NAME:
                cursor.expect(token.text)
                if token.text == "spec" and not first:
                    raise cursor.fail("a declaration", token, "`spec` stands in the first line only")
                self._handlers[token.text](cursor)
            else:
                near = get_close_matches(token.text, KEYWORDS, n=1)
                cure = f"did you mean `{near[0]}`?" if near else f"one of: {', '.join(KEYWORDS)}"
                raise cursor.fail("a declaration", cure=cure)
        except Stop:
            self._broken(line)
        except Exhausted:
            self._properties.seen = True

    def _broken(self, line: Line) -> None:
        keyword = line.tokens[0].text
        self._properties.seen |= keyword in ("prop", *PREFIXES)
        if len(line.tokens) > 1 and line.tokens[1].kind == NAME and keyword in KEYWORDS[1:8]:
            name = line.tokens[1]
            if self._declared.place(name.text) is None:
                self._declared.add(name, BROKEN)

    def _spec(self, cursor: Cursor) -> None:
        named = cursor.ahead(1).kind == NAME
        self._name = cursor.name("the name of the spec").text if named else ""
        token = cursor.token
        if token.text != f"v{VERSION}":
            known = token.text[:1] == "v" and token.text[1:].isdigit()
            cure = f"this program reads version {VERSION}" if known else "the first line is: spec NAME v1"
            raise cursor.fail(f"`v{VERSION}`", cure=cure)
        cursor.expect(token.text)
        cursor.finish()

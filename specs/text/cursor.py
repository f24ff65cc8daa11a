"""Reading the tokens of one declaration from left to right."""

from __future__ import annotations

import math
from fractions import Fraction

from robustbench_local.errors import RobustBenchError

from ..expressions.names import checked_name
from .numbers import number
from .report import Report
from .syntax import Code, parse_expression
from .tokens import HASH, NAME, NUMBER, SIGN, STRING, Line, Token

__all__ = ["Cursor", "Stop"]

TYPES = ("real", "f16", "bf16", "f32", "f64", "float16", "bfloat16", "float32", "float64")
"""Names of the type of numbers; all of them mean real numbers."""

_LARGEST = 2**31  # elements of a tensor
_LONGEST = 50_000  # tokens of an expression


class Stop(Exception):
    """The declaration cannot be read on; the error is in the report."""


class Cursor:
    """The next token of a declaration, and the steps of the grammar; each raises Stop after an error."""

    def __init__(self, line: Line, report: Report) -> None:
        self._tokens, self._end, self._report = line.tokens, line.end, report
        self._next = 0

    @property
    def token(self) -> Token:
        """The next token, or the one that stands for the end."""
        return self._tokens[self._next] if self._next < len(self._tokens) else self._end

    def ahead(self, count: int) -> Token:
        """The token that many places further on."""
        position = self._next + count
        return self._tokens[position] if position < len(self._tokens) else self._end

    def fail(self, expected: str, token: Token | None = None, cure: str | None = None) -> Stop:
        """Note that something else was expected; raise what is returned."""
        found = token or self.token
        self._report.error(f"expected {expected}, found {found.shown}", found, cure)
        return Stop()

    def found(self, *texts: str) -> Token | None:
        """Take the next token if it is one of these words or signs."""
        token = self.token
        if token.text in texts and token.kind in (SIGN, NAME):
            self._next += 1
            return token
        return None

    def expect(self, *texts: str) -> Token:
        """Take the next token, which must be one of these."""
        found = self.found(*texts)
        if found is None:
            raise self.fail(" or ".join(f"`{text}`" for text in texts))
        return found

    def finish(self) -> None:
        """Make sure that nothing follows."""
        if self.token is not self._end and self._next < len(self._tokens):
            raise self.fail("the end of the declaration")

    def name(self, what: str) -> Token:
        """Take a name, in the form in which names are compared."""
        token = self.token
        if token.kind != NAME:
            raise self.fail(what)
        try:
            plain = checked_name(token.text)
        except RobustBenchError as error:
            self._report.error(f"{token.shown} is no name", token, error.cure)
            raise Stop from None
        self._next += 1
        return Token(NAME, plain, token.line, token.column)

    def string(self) -> Token:
        """Take a string with its quotes."""
        if self.token.kind != STRING:
            raise self.fail("a string in quotes")
        self._next += 1
        return self.ahead(-1)

    def hash(self) -> Token | None:
        """Take the hash of an array, if one comes next."""
        if self.token.kind != HASH:
            return None
        self._next += 1
        return self.ahead(-1)

    def integer(self) -> int:
        """Take a whole number."""
        token = self.token
        if token.kind != NUMBER or not token.text.isdigit():
            raise self.fail("a whole number")
        self._next += 1
        return int(token.text[:30])  # longer ones are too large for anything

    def fraction(self) -> Fraction:
        """Take a number, or one divided by another: 0.99, 2/3."""
        parts: list[Fraction] = []
        while not parts or (len(parts) == 1 and self.found("/")):
            token = self.token
            if token.kind != NUMBER:
                raise self.fail("a number")
            self._next += 1
            try:
                parts.append(number(token.text))
            except RobustBenchError as error:
                self._report.take(error, token)
                raise Stop from None
            if len(parts) == 2 and parts[1] == 0:
                self._report.error("division by zero", token, code="E-DIV")
                raise Stop
        return parts[0] / parts[1] if len(parts) == 2 else parts[0]

    def type(self) -> tuple[int, ...]:
        """Take a type, `real` or `real[3,32,32]`, and return its shape."""
        if self.found(*TYPES) is None:
            raise self.fail("a type", cure="types: real, real[3,32,32]")
        opened = self.found("[")
        if opened is None:
            return ()
        dims: list[int] = []
        while not self.found("]"):
            if dims:
                self.expect(",")
            at = self.token
            dims.append(self.integer())
            if dims[-1] < 1 or math.prod(dims) > _LARGEST:
                few = dims[-1] < 1
                what = "an axis of length 0" if few else f"a shape of more than {_LARGEST} elements"
                self._report.error(what, at, code="E-SHAPE")
                raise Stop
        return tuple(dims)

    def classes(self) -> int:
        """Take `class[10]` and return the number of classes."""
        self.expect("class")
        self.expect("[")
        at = self.token
        count = self.integer()
        self.expect("]")
        if not 1 <= count <= _LARGEST:
            self._report.error(f"{count} classes", at, f"give a number from 1 to {_LARGEST}", code="E-INDEX")
            raise Stop
        return count

    def expression(self, *stops: str) -> Code | None:
        """Take the expression up to a stop outside of brackets, or up to the end; None if it has an error."""
        first, depth = self._next, 0
        while self._next < len(self._tokens):
            token = self.token
            if depth == 0 and token.text in stops and token.kind in (SIGN, NAME):
                break
            depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token.text, 0)
            self._next += 1
        if self._next - first > _LONGEST:
            cure = "arrays belong into files: const NAME: real[..] = @sha256:.."
            self._report.error("the expression is too long", self._tokens[first], cure)
            return None
        return parse_expression(self._tokens[first : self._next], self.token, self._report)

"""Expressions: a subset of Python's, checked token by token for readable errors, then parsed by `ast`.

Of Python's syntax there are names, numbers, strings, True, False, None, calls with keywords, lists, tuples,
indices and slices, attributes, + - * / @ ** & | ~, comparisons and their chains, `and`, `or`, `not`.
Nothing is evaluated.
"""

from __future__ import annotations

import ast
import keyword
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from .report import Report
from .tokens import NAME, NUMBER, SIGN, STRING, Token

__all__ = ["DEEPEST", "Code", "parse_expression"]

DEEPEST = 150
"""How deep an expression may be nested; in a chain, a + b + c, every operator counts."""

_PREFIX = frozenset({"-", "+", "~", "not"})
_INFIX = frozenset(["+", "-", "*", "/", "@", "**", "&", "|", "<=", ">=", "<", ">", "==", "!=", "and", "or"])
_VALUES = frozenset({"True", "False", "None"})
_INSTEAD = {
    "=": "write `==` to compare",
    "^": "write `**` for powers",
    "!": "write `not` or `~`",
    "&&": "write `and` or `&`",
    "||": "write `or` or `|`",
    "=>": "write implies(a, b)",
    "->": "write implies(a, b)",
    "//": "write `/`",
    "%": "there is no remainder in the language",
    "if": "write implies(a, b), or vmax and vmin",
    "in": "write between(low, x, high), or a comparison",
    "is": "write `==` to compare",
    "lambda": "write `let NAME(x) = ..`",
    "for": "write `each NAME in range(..):` before the quantifier",
    "{": "use [ ] for lists, ( ) for groups",
}


@dataclass(frozen=True, slots=True)
class Code:
    """A parsed expression, and its tokens by their offset in what `ast` was given."""

    tree: ast.expr
    offsets: tuple[int, ...]
    tokens: tuple[Token, ...]

    def token(self, node: ast.AST) -> Token:
        """The token that a node begins with."""
        return self.at(getattr(node, "col_offset", 0))

    def at(self, offset: int) -> Token:
        """The token at an offset, or the next one."""
        return self.tokens[min(bisect_left(self.offsets, offset), len(self.tokens) - 1)]

    def sign_after(self, node: ast.expr) -> Token:
        """The operator behind an operand, whose brackets are passed over."""
        index = bisect_left(self.offsets, node.end_col_offset or 0)
        while index < len(self.tokens) - 1 and self.tokens[index].text == ")":
            index += 1
        return self.tokens[min(index, len(self.tokens) - 1)]


def parse_expression(tokens: Sequence[Token], end: Token, report: Report) -> Code | None:
    """The expression that the tokens write, up to `end`; None after an error, which is in the report."""
    if not _Checked(report).run(tokens, end):
        return None
    offsets, parts, size = [], [], 0
    for token in tokens:
        # numbers are read from their tokens, exactly; the parser must not round or refuse them
        text = "1" if token.kind == NUMBER else token.text
        offsets.append(size)
        parts.append(text)
        size += len(text.encode()) + 1
    try:
        tree = ast.parse(" ".join(parts), mode="eval").body
    except (SyntaxError, ValueError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        offset = (error.offset or 1) - 1 if isinstance(error, SyntaxError) else 0
        report.error(f"no expression: {reason}", tokens[min(bisect_left(offsets, offset), len(tokens) - 1)])
        return None
    return Code(tree, tuple(offsets), tuple(tokens))


@dataclass(slots=True)
class _Level:
    """An open bracket: its token, what it is, and how deep its present item nests, at most."""

    token: Token | None
    kind: str  # "": whole expression; group, list, call, index
    operators: int = 0
    suffixes: int = 0  # calls, indices and attributes of the present operand
    longest: int = 0  # the most that an operand has

    @property
    def depth(self) -> int:
        """Every operator may nest what stands before it, and any operand may stand at the bottom."""
        return self.operators + self.longest

    def suffix(self) -> None:
        """Count a call, index or attribute."""
        self.suffixes += 1
        self.longest = max(self.longest, self.suffixes)


class _Checked:
    """One pass over an expression that knows whether an operand or an operator comes next."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._levels = [_Level(None, "")]

    def run(self, tokens: Sequence[Token], end: Token) -> bool:
        """Whether the tokens are well-formed; the first fault goes to the report."""
        operand = True  # what is expected
        previous = end
        for index, token in enumerate(tokens):
            follows = tokens[index + 1] if index + 1 < len(tokens) else end
            step = self._operand(token, previous) if operand else self._operator(token, previous, follows)
            if step is None:
                return False
            operand, previous = step, token
        if operand:
            self._report.error(f"expected a term, found {end.shown}", end)
            return False
        return True

    def _operand(self, token: Token, previous: Token) -> bool | None:
        """Whether an operand is still expected behind the token; None after an error."""
        level = self._levels[-1]
        if token.kind in (NUMBER, STRING):
            return False
        if token.kind == NAME and token.text != "not":
            if not keyword.iskeyword(token.text) or token.text in _VALUES:
                return False
            return self._fail(token, "a term")
        if token.text in _PREFIX:
            level.operators += 1
            return self._shallow(token)
        if token.text in ("(", "["):
            self._levels.append(_Level(token, "group" if token.text == "(" else "list", operators=1))
            return self._shallow(token)
        empty = previous is level.token
        if token.text in (")", "]") and level.kind and (previous.text == "," or empty):
            if not (empty and level.kind == "index"):
                return self._close()
        if level.kind == "index":
            if token.text == "...":
                return False
            if token.text == ":":
                return True
            if token.text == "]" and previous.text == ":":
                return self._close()
            if token.text == "," and previous.text == ":":
                return True
        return self._fail(token, "a term")

    def _operator(self, token: Token, previous: Token, follows: Token) -> bool | None:
        """Whether an operand is expected behind the token; None after an error."""
        level = self._levels[-1]
        if token.text in _INFIX and token.kind in (SIGN, NAME):
            level.operators += 1
            level.suffixes = 0
            return self._shallow(token)
        if token.text in ("(", "["):
            level.suffix()
            self._levels.append(_Level(token, "call" if token.text == "(" else "index"))
            return self._shallow(token)
        if token.text == ".":
            if follows.kind != NAME or keyword.iskeyword(follows.text):
                return self._fail(follows, "a name behind `.`")
            level.suffix()
            return None if self._shallow(token) is None else False
        if token.kind == NAME and previous.text == "." and previous.kind == SIGN:
            return False
        if token.text == "," and level.kind:
            level.operators = level.suffixes = level.longest = 0
            return True
        if token.text in (")", "]") and level.kind:
            return self._close()
        if token.text == ":" and level.kind == "index":
            return True
        if token.text == "=" and level.kind == "call" and previous.kind == NAME:
            return True
        return self._fail(token, "an operator" if not level.kind else f"an operator or {self._closing()}")

    def _close(self) -> bool:
        self._levels.pop()
        return False

    def _closing(self) -> str:
        return "`]`" if self._levels[-1].kind in ("list", "index") else "`)`"

    def _shallow(self, token: Token) -> bool | None:
        """True, for an operand that is expected next; None where the expression nests too deep."""
        if sum(level.depth for level in self._levels) > DEEPEST:
            cure = "name parts of it by `let`, or use vsum, vmax, vmin"
            self._report.error(f"the expression is nested deeper than {DEEPEST}", token, cure)
            return None
        return True

    def _fail(self, token: Token, expected: str) -> bool | None:
        self._report.error(f"expected {expected}, found {token.shown}", token, _INSTEAD.get(token.text))
        return None

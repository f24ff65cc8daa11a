"""From tokens to one conjunction: the statements, formulas and terms of VNN-LIB 1.0.

    file    := { (declare-const VAR Real) | (assert FORMULA) }      ; comments run to the end of the line
    FORMULA := (and FORMULA+) | (or FORMULA+) | (<=|>=|<|>|= TERM TERM)
    TERM    := number | X_i | Y_i | (+ TERM+) | (- TERM+) | (* TERM+)

The standard has no grammar of its own; this is a superset of what the competition's parser accepts
(https://github.com/ChristopherBrix/vnncomp2024_results, SCORING/vnnlib_v1.py).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType

from robustbench_local.errors import SpecError

from .arithmetic import Fail, Linear, compare, product
from .formula import Conjunction
from .source import Source
from .tokens import CLOSE, DECLARATION, LITERAL, NUMBER, OPEN, VARIABLE, WORD, Token, tokens

__all__ = ["Reader"]

_DEEPEST = 100
_RELATIONS = ("<=", ">=", "<", ">", "=")
_WHAT_1_0_HAS = "VNN-LIB 1.0 has `(declare-const X_0 Real)` and `(assert ...)`"
_CURE_2_0 = "write the property as VNN-LIB 1.0: one network, inputs X_i and outputs Y_i, declare-const"
_NAMES = {LITERAL: "a comparison", DECLARATION: "a declaration", OPEN: "`(`", CLOSE: "`)`"}


class Reader:
    """Reads one source once; `read` returns all its assertions as one conjunction.

    Attributes:
        declared: letter -> indices that have been declared so far.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.declared: dict[str, set[int]] = {"X": set(), "Y": set()}
        self._tokens = tokens(source)

    def read(self) -> Conjunction:
        """Everything the file asserts. Raises SpecError (E-PARSE, E-NONLIN, E-OP) with the place."""
        whole = Conjunction(0)
        for token in self._tokens:
            match, base = token
            kind = match.lastindex
            if kind == LITERAL and match[1] is not None:
                self._literal(whole, token)
            elif kind == DECLARATION:
                self._declare(match[6], int(match[7]), base + match.start(6))
            elif kind == OPEN:
                self._statement(whole, base + match.start(OPEN))
            else:
                raise self._unexpected(token, "`(declare-const` or `(assert`")
        for letter, kind_of in (("X", "input"), ("Y", "output")):
            self._check_complete(letter, kind_of)
        return whole

    def _literal(self, into: Conjunction, token: Token) -> None:
        # millions of calls for the largest files: no helper for what nearly every literal is
        match, base = token
        relation, letter, digits, number = match.group(2, 3, 4, 5)
        index, value = int(digits), float(number) + 0.0  # + 0.0: no negative zero
        if index not in self.declared[letter]:
            raise self._undeclared(letter, index, base + match.start(3))
        if value - value != 0.0:
            raise self.source.error(f"{_brief(number)} is too large for float64", base + match.start(5))
        if letter == "Y":
            into.row(relation, (index,), (1.0,), -value)
        elif relation == "<=":
            into.upper.add(index, value, base + match.start(2))
        elif relation == ">=":
            into.lower.add(index, value, base + match.start(2))
        else:
            into.bound(relation, index, value, base + match.start(2))

    def _declare(self, letter: str, index: int, offset: int) -> None:
        known = self.declared[letter]
        if index in known:
            raise self.source.error(f"{letter}_{index} is declared twice", offset)
        known.add(index)

    def _statement(self, whole: Conjunction, offset: int) -> None:
        head, at = self._word("`declare-const` or `assert`", offset)
        if head == "assert":
            self._formula(whole, self._take(head, offset), 1)
            self._close("assert", offset)
        elif head == "declare-const":
            self._slow_declaration(offset)
        elif head == "vnnlib-version":
            self._version(offset)
        elif head.startswith("declare-"):
            what = f"`{head}` belongs to VNN-LIB 2.0, which is not read by this version"
            raise self.source.error(f"{what}; the file has no header that says 2.0", at, _CURE_2_0)
        else:
            raise self.source.error(f"unknown statement `{head}`", at, _WHAT_1_0_HAS)

    def _slow_declaration(self, offset: int) -> None:
        name, at = self._word("a variable", offset)
        variable = VARIABLE.fullmatch(name)
        if variable is None:
            raise self.source.error(
                f"`{name}` is no variable", at, "variables are X_0, X_1, ... and Y_0, ..."
            )
        kind, at_kind = self._word("`Real`", offset)
        if kind != "Real":
            raise self.source.error(f"expected `Real`, found `{kind}`", at_kind)
        self._close("declare-const", offset)
        self._declare(variable[1], int(variable[2]), at)

    def _version(self, offset: int) -> None:
        version, at = self._word("a version, e.g. <1.0>", offset)
        self._close("vnnlib-version", offset)
        number = version.strip("<>")
        if number == "1.0":
            return
        body = ""
        for match, _ in self._tokens:
            if match.lastindex == DECLARATION or match[WORD] in ("declare-const", "declare-network"):
                own = match.lastindex == DECLARATION or match[WORD] == "declare-const"
                body = ", but the body uses declare-const, which is 1.0" if own else ""
                break
        what = f"the header says VNN-LIB {number}, which is not read by this version{body}"
        cure = "remove the header if the file is VNN-LIB 1.0" if body else _CURE_2_0
        raise self.source.error(what, at, cure)

    def _formula(self, into: Conjunction, token: Token, depth: int) -> None:
        """Adds the formula that begins with the token."""
        match, base = token
        if match.lastindex == LITERAL and match[1] is None:
            return self._literal(into, token)
        if match.lastindex != OPEN:
            raise self._unexpected(token, "a formula: `(and`, `(or` or a comparison")
        offset = base + match.start(OPEN)
        if depth > _DEEPEST:
            raise self.source.error(f"formulas are nested deeper than {_DEEPEST}", offset)
        head, at = self._word("`and`, `or` or a comparison", offset)
        if head == "and":
            for part in self._operands(head, offset):
                self._formula(into, part, depth + 1)
        elif head == "or":
            into.choices.append([self._choice(part, depth + 1) for part in self._operands(head, offset)])
        elif head in _RELATIONS:
            left, right = (self._term(self._take(head, offset), depth + 1) for _ in range(2))
            self._close(head, offset)
            compare(into, head, left, right, offset, self._fail_at(offset))
        else:
            known = "expected `and`, `or` or one of <= >= < > ="
            raise self.source.error(f"`{head}` begins no formula", at, known)

    def _choice(self, token: Token, depth: int) -> Conjunction:
        conjunction = Conjunction(token[1] + token[0].start(token[0].lastindex or 0))
        self._formula(conjunction, token, depth)
        return conjunction

    def _operands(self, head: str, offset: int) -> Iterator[Token]:
        """The first tokens of the operands up to the closing bracket, at least one; the caller reads on."""
        found = False
        for token in self._tokens:
            if token[0].lastindex == CLOSE:
                break
            yield token
            found = True
        else:
            raise self._ended(f" inside `({head}`", offset)
        if not found:
            cure = f"give `{head}` at least one operand"
            raise self.source.error(f"`({head})` holds nothing", offset, cure)

    def _term(self, token: Token, depth: int) -> Linear:
        match, base = token
        offset = base + match.start(match.lastindex or 0)
        if match.lastindex == WORD:
            return self._leaf(match[WORD], offset)
        if match.lastindex != OPEN:
            raise self._unexpected(token, "a term: a number, a variable or `(+`, `(-`, `(*`")
        if depth > _DEEPEST:
            raise self.source.error(f"terms are nested deeper than {_DEEPEST}", offset)
        head, at = self._word("an operator: + - *", offset)
        if head not in _OPERATORS:
            what = "a list begins with an operator" if NUMBER.fullmatch(head) else "no operator"
            raise self.source.error(f"expected + - or *, found `{head}` ({what})", at)
        operands = [self._term(part, depth + 1) for part in self._operands(head, offset)]
        return _OPERATORS[head](operands, self._fail_at(offset))

    def _leaf(self, word: str, offset: int) -> Linear:
        if NUMBER.fullmatch(word):
            value = float(word)
            if not math.isfinite(value):
                raise self.source.error(f"{word} is too large for float64", offset)
            return Linear.number(value)
        variable = VARIABLE.fullmatch(word)
        if variable is None:
            raise self.source.error(f"expected a number, X_i or Y_i, found `{_brief(word)}`", offset)
        letter, index = variable[1], int(variable[2])
        if index not in self.declared[letter]:
            raise self._undeclared(letter, index, offset)
        return Linear.variable(letter, index)

    def _take(self, head: str, offset: int) -> Token:
        token = next(self._tokens, None)
        if token is None:
            raise self._ended(f" inside `({head}`", offset)
        return token

    def _ended(self, place: str, offset: int) -> SpecError:
        return self.source.error(f"the file ends{place} before its bracket is closed", offset)

    def _word(self, expected: str, opened: int) -> tuple[str, int]:
        token = next(self._tokens, None)
        if token is None:
            raise self._ended(" after a bracket,", opened)
        match, base = token
        if match.lastindex != WORD:
            raise self._unexpected(token, expected)
        return match[WORD], base + match.start(WORD)

    def _close(self, head: str, opened: int) -> None:
        token = self._take(head, opened)
        if token[0].lastindex != CLOSE:
            raise self._unexpected(token, f"`)` to end `({head}`")

    def _unexpected(self, token: Token, expected: str) -> SpecError:
        match, base = token
        kind = match.lastindex or 0
        found = _NAMES.get(kind) or f"`{_brief(match[kind])}`"
        whole = kind in (LITERAL, DECLARATION)
        start = match.start() + len(match[0]) - len(match[0].lstrip()) if whole else match.start(kind)
        return self.source.error(f"expected {expected}, found {found}", base + start)

    def _undeclared(self, letter: str, index: int, offset: int) -> SpecError:
        cure = f"write `(declare-const {letter}_{index} Real)` before its first use"
        return self.source.error(f"{letter}_{index} is not declared", offset, cure)

    def _fail_at(self, offset: int) -> Fail:
        return lambda what, cure, code: self.source.error(what, offset, cure, code=code)

    def _check_complete(self, letter: str, kind: str) -> None:
        known = self.declared[letter]
        if not known:
            error = SpecError(f"no {kind} {letter}_i is declared", where=self.source.name, cure=_WHAT_1_0_HAS)
        elif max(known) + 1 != len(known):
            missing = next(i for i in range(len(known)) if i not in known)
            error = SpecError(
                f"{letter}_{missing} is not declared, but {letter}_{max(known)} is",
                where=self.source.name,
                cure=f"{kind}s are numbered from 0 without gaps",
            )
        else:
            return
        error.code = "E-PARSE"
        raise error


def _sum(operands: list[Linear], fail: Fail) -> Linear:
    total = Linear.number(0.0)
    for part in operands:
        total = total.plus(part)
    return total


def _difference(operands: list[Linear], fail: Fail) -> Linear:
    first, *rest = operands
    return first.plus(_sum(rest, fail), -1) if rest else _sum([], fail).plus(first, -1)


def _product(operands: list[Linear], fail: Fail) -> Linear:
    result = operands[0]
    for part in operands[1:]:
        result = product(result, part, fail)
    return result


def _brief(word: str) -> str:
    return re.sub(r"[^ -~]", "?", word if len(word) <= 40 else f"{word[:40]}...")


_OPERATORS: Mapping[str, Callable[[list[Linear], Fail], Linear]] = MappingProxyType(
    {"+": _sum, "-": _difference, "*": _product}
)

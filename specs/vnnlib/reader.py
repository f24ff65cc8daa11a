"""From tokens to one conjunction: the statements, formulas and terms of VNN-LIB 1.0.

    file    := { (declare-const VAR Real) | (assert FORMULA) }      ; comments run to the end of the line
    FORMULA := (and FORMULA+) | (or FORMULA+) | (<=|>=|<|>|= TERM TERM)
    TERM    := number | X_i | Y_i | (+ TERM+) | (- TERM+) | (* TERM+)

The standard has no grammar of its own; this is a superset of what the competition's parser accepts
(https://github.com/ChristopherBrix/vnncomp2024_results, SCORING/vnnlib_v1.py).
"""

from __future__ import annotations

from .arithmetic import compare
from .formula import Conjunction
from .source import Source
from .stream import DEEPEST, Stream, brief, offset_of
from .terms import WHAT_1_0_HAS, Terms, Variables
from .tokens import DECLARATION, LITERAL, OPEN, VARIABLE, WORD, Token

__all__ = ["Reader"]

_RELATIONS = ("<=", ">=", "<", ">", "=")
_CURE_2_0 = "write the property as VNN-LIB 1.0: one network, inputs X_i and outputs Y_i, declare-const"


class Reader:
    """Reads one source once; `read` returns all its assertions as one conjunction.

    Attributes:
        declared: the variables that have been declared so far.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.declared = Variables(source)
        self._stream = Stream(source)
        self._terms = Terms(self._stream, self.declared)

    def read(self) -> Conjunction:
        """Everything the file asserts. Raises SpecError (E-PARSE, E-NONLIN, E-OP) with the place."""
        whole = Conjunction(0)
        for token in self._stream.tokens:
            match, base = token
            kind = match.lastindex
            if kind == LITERAL and match[1] is not None:
                self._literal(whole, token)
            elif kind == DECLARATION:
                self.declared.declare(match[6], int(match[7]), base + match.start(6))
            elif kind == OPEN:
                self._statement(whole, base + match.start(OPEN))
            else:
                raise self._stream.unexpected(token, "`(declare-const` or `(assert`")
        for letter, kind_of in (("X", "input"), ("Y", "output")):
            self.declared.check_complete(letter, kind_of)
        return whole

    def _literal(self, into: Conjunction, token: Token) -> None:
        # millions of calls for the largest files: no helper for what nearly every literal is
        match, base = token
        relation, letter, digits, number = match.group(2, 3, 4, 5)
        index, value = int(digits), float(number) + 0.0  # + 0.0: no negative zero
        if index not in self.declared.indices[letter]:
            raise self.declared.undeclared(letter, index, base + match.start(3))
        if value - value != 0.0:
            raise self.source.error(f"{brief(number)} is too large for float64", base + match.start(5))
        if letter == "Y":
            into.row(relation, (index,), (1.0,), -value)
        elif relation == "<=":
            into.upper.add(index, value, base + match.start(2))
        elif relation == ">=":
            into.lower.add(index, value, base + match.start(2))
        else:
            into.bound(relation, index, value, base + match.start(2))

    def _statement(self, whole: Conjunction, offset: int) -> None:
        head, at = self._stream.word("`declare-const` or `assert`", offset)
        if head == "assert":
            self._formula(whole, self._stream.take(head, offset), 1)
            self._stream.close("assert", offset)
        elif head == "declare-const":
            self._slow_declaration(offset)
        elif head == "vnnlib-version":
            self._version(offset)
        elif head.startswith("declare-"):
            what = f"`{head}` belongs to VNN-LIB 2.0, which is not read by this version"
            raise self.source.error(f"{what}; the file has no header that says 2.0", at, _CURE_2_0)
        else:
            raise self.source.error(f"unknown statement `{head}`", at, WHAT_1_0_HAS)

    def _slow_declaration(self, offset: int) -> None:
        name, at = self._stream.word("a variable", offset)
        variable = VARIABLE.fullmatch(name)
        if variable is None:
            raise self.source.error(
                f"`{name}` is no variable", at, "variables are X_0, X_1, ... and Y_0, ..."
            )
        kind, at_kind = self._stream.word("`Real`", offset)
        if kind != "Real":
            raise self.source.error(f"expected `Real`, found `{kind}`", at_kind)
        self._stream.close("declare-const", offset)
        self.declared.declare(variable[1], int(variable[2]), at)

    def _version(self, offset: int) -> None:
        version, at = self._stream.word("a version, e.g. <1.0>", offset)
        self._stream.close("vnnlib-version", offset)
        number = version.strip("<>")
        if number == "1.0":
            return
        body = ""
        for match, _ in self._stream.tokens:
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
            raise self._stream.unexpected(token, "a formula: `(and`, `(or` or a comparison")
        offset = base + match.start(OPEN)
        if depth > DEEPEST:
            raise self.source.error(f"formulas are nested deeper than {DEEPEST}", offset)
        head, at = self._stream.word("`and`, `or` or a comparison", offset)
        if head == "and":
            for part in self._stream.operands(head, offset):
                self._formula(into, part, depth + 1)
        elif head == "or":
            into.choices.append(
                [self._choice(part, depth + 1) for part in self._stream.operands(head, offset)]
            )
        elif head in _RELATIONS:
            left, right = (self._terms.term(self._stream.take(head, offset), depth + 1) for _ in range(2))
            self._stream.close(head, offset)
            compare(into, head, left, right, offset, self._stream.fail_at(offset))
        else:
            known = "expected `and`, `or` or one of <= >= < > ="
            raise self.source.error(f"`{head}` begins no formula", at, known)

    def _choice(self, token: Token, depth: int) -> Conjunction:
        conjunction = Conjunction(offset_of(token))
        self._formula(conjunction, token, depth)
        return conjunction

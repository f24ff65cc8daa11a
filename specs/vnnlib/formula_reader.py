"""Reads formulas and terms, whose structure both versions of VNN-LIB share; their words differ.

formula := (and formula+) | (or formula+) | (relation term term)
term    := number | element | (+ term+) | (- term+) | (* term+)
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Mapping
from itertools import accumulate
from types import MappingProxyType
from typing import Protocol

import numpy as np

from .formula import SIGNS, AnyOf, Builder, Columns, Comparison, Formula, Table
from .stream import DEEPEST, LITERALS, OPEN, Stream, Token, brief, offset_of
from .terms import Difference, Element, Number, Product, Sum, Term

__all__ = ["FormulaReader", "Words"]

_OPERATORS: Mapping[str, Callable[[tuple[Term, ...], int], Term]] = MappingProxyType(
    {"+": Sum, "-": Difference, "*": Product}
)


class Words(Protocol):
    """What is particular to a version.

    Attributes:
        relations: how it writes relations -> their signs in the formula tree.
        positions: elements as written -> positions; raises KeyError for others.
        literals: kind of run -> the expression of one literal in it, with groups for the whole, the relation,
            the element and the number.
        careful: whether `check` must see every literal, not only those with unknown elements or huge numbers.
    """

    @property
    def relations(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def positions(self) -> Mapping[str, int]: ...  # noqa: D102
    @property
    def literals(self) -> Mapping[int, re.Pattern[str]]: ...  # noqa: D102
    @property
    def careful(self) -> bool: ...  # noqa: D102

    def check(self, element: str, at: int, number: str, at_number: int) -> None:
        """An error where one of a literal's parts, as written, at the offsets, is not right."""
        ...

    def leaf(self, token: Token) -> Number | Element | None:
        """The number or element that the token begins; None if it begins something else."""
        ...

    def end_comparison(self, offset: int) -> None:
        """Called when the parts of a comparison at the offset have been read; checks their types."""
        ...


class FormulaReader:
    """Reads from a stream with the words of a version; `table` takes the literals of all formulas."""

    def __init__(self, stream: Stream, words: Words) -> None:
        self.stream, self.words, self.table = stream, words, Table()
        self._codes = {written: SIGNS.index(sign) for written, sign in words.relations.items()}

    def assertion(self, into: Builder, offset: int) -> None:
        """The rest of `(assert`, which was opened at the offset."""
        self._formula(into, self.stream.take("assert", offset), 1, single="assert")
        self.stream.close("assert", offset)

    def run(self, into: Builder, token: Token) -> None:
        """Adds all literals of a run to a conjunction."""
        into.literals(self._columns(token))

    def _formula(self, into: Builder, token: Token, depth: int, single: str = "") -> None:
        """Adds the formula that begins with the token; `single` names a head that has one operand."""
        match, base = token
        if match.lastindex == LITERALS:
            if single:
                self._check_single(token, single)
            return self.run(into, token)
        if match.lastindex != OPEN:
            raise self.stream.unexpected(token, "a formula: `(and`, `(or` or a comparison")
        offset = base + match.start(OPEN)
        if depth > DEEPEST:
            cure = "`and` and `or` take any number of formulas: nest less"
            raise self.stream.source.error(f"formulas are nested deeper than {DEEPEST}", offset, cure)
        head, at = self.stream.word("`and`, `or` or a comparison", offset)
        if head == "and":
            for part in self.stream.operands(head, offset):
                self._formula(into, part, depth + 1)
        elif head == "or":
            into.add(self._choices(offset, depth))
        elif head in self._codes:
            into.add(self._comparison(head, offset, depth + 1))
        else:
            known = f"expected `and`, `or` or one of {' '.join(self._codes)}"
            raise self.stream.source.error(f"`{brief(head)}` begins no formula", at, known)

    def _choices(self, offset: int, depth: int) -> Formula:
        parts: list[Formula] = []
        for token in self.stream.operands("or", offset):
            part = Builder(self.table, offset_of(token))
            if token[0].lastindex == LITERALS:
                self.run(part, token)
                parts.extend(part.whole())
                continue
            self._formula(part, token, depth + 1)
            parts.append(part.formula())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts), offset)

    def _comparison(self, head: str, offset: int, depth: int) -> Comparison:
        left = self._term(self.stream.take(head, offset), depth)
        right = self._term(self.stream.take(head, offset), depth)
        self.stream.close(head, offset)
        self.words.end_comparison(offset)
        return Comparison(self.words.relations[head], left, right, offset)

    def _term(self, token: Token, depth: int) -> Term:
        leaf = self.words.leaf(token)
        if leaf is not None:
            return leaf
        offset = offset_of(token)
        if token[0].lastindex != OPEN:
            raise self.stream.unexpected(token, "a term: a number, a variable or `(+`, `(-`, `(*`")
        if depth > DEEPEST:
            cure = "+ and * take any number of terms: nest less"
            raise self.stream.source.error(f"terms are nested deeper than {DEEPEST}", offset, cure)
        head, at = self.stream.word("an operator: + - *", offset)
        if head not in _OPERATORS:
            number = " (a list begins with an operator)" if head[:1].isdigit() else " (no operator)"
            what = f"expected + - or *, found `{brief(head)}`{number}"
            raise self.stream.source.error(what, at, "VNN-LIB has no other operators than + - *")
        parts = tuple(self._term(part, depth + 1) for part in self.stream.operands(head, offset))
        return _OPERATORS[head](parts, offset)

    def _check_single(self, token: Token, head: str) -> None:
        found = self.words.literals[LITERALS].findall(token[0][LITERALS])
        if len(found) > 1:
            at = offset_of(token) + len(found[0][0])
            what = f"expected `)` to end `({head}`, found a comparison"
            raise self.stream.source.error(what, at, f"`{head}` takes one formula: join several by `and`")

    def _columns(self, token: Token) -> Columns:
        # millions of literals in the largest files: no work here but what a whole run takes at once
        match, base = token
        kind = match.lastindex or 0
        texts, relations, elements, numbers = zip(
            *self.words.literals[kind].findall(match[kind]), strict=True
        )
        offsets = array("q", accumulate(map(len, texts[:-1]), initial=base + match.start(kind)))
        try:
            positions = array("q", map(self.words.positions.__getitem__, elements))
        except KeyError:
            self._check(kind, texts, offsets)
            raise
        values = array("d", map(float, numbers))
        if self.words.careful or not np.isfinite(np.frombuffer(values)).all():
            self._check(kind, texts, offsets)
        return array("b", map(self._codes.__getitem__, relations)), positions, values, offsets

    def _check(self, kind: int, texts: tuple[str, ...], offsets: array[int]) -> None:
        """An error at the first literal of a run that is not right."""
        for text, offset in zip(texts, offsets, strict=True):
            literal = self.words.literals[kind].match(text)
            assert literal is not None  # the run was found with the same expression
            self.words.check(literal[3], offset + literal.start(3), literal[4], offset + literal.start(4))

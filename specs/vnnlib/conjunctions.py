"""Formulas over one network with every comparison resolved: bounds of inputs, rows, and choices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .formula import SIGNS, AllOf, AnyOf, Builder, Comparison, Formula, Literals, Table
from .linear import Fail, compare
from .rows import Row
from .terms import Difference, Element, Product, Sum, Term

__all__ = ["Conjunction", "Renumber", "resolve"]

Renumber = Callable[[NDArray[np.int64]], NDArray[np.int64]]
"""Positions of a declaration -> 2 i for X_i and 2 i + 1 for Y_i."""

_DIFFER = SIGNS.index("!=")


@dataclass(frozen=True, slots=True, eq=False)
class Conjunction:
    """All of: literals, rows, and disjunctions of conjunctions.

    Attributes:
        literals: comparisons of an input (even position 2 i) or output (2 i + 1) with a number, in blocks.
        rows: linear conditions.
        choices: disjunctions, each a list of at least one conjunction.
        false_at: offset of a comparison of numbers that is false; None where there is none.
        offset: of its text.
    """

    literals: tuple[Literals, ...]
    rows: tuple[Row, ...] = ()
    choices: tuple[list[Conjunction], ...] = ()
    false_at: int | None = None
    offset: int = 0


def resolve(formula: Formula, fail: Fail, renumber: Renumber | None) -> Conjunction:
    """The formula with its comparisons resolved. Raises SpecError (E-NONLIN) where one is not linear."""
    return _Resolver(fail, renumber).conjunction(formula)


class _Resolver:
    """Resolves the nodes of one formula; bounds that comparisons give go into one table."""

    def __init__(self, fail: Fail, renumber: Renumber | None) -> None:
        self._fail, self._renumber = fail, renumber
        self._table = Table()
        self._tables: dict[Table, tuple[Table, bool]] = {}  # with other positions; whether != occurs

    def conjunction(self, formula: Formula) -> Conjunction:
        """The formula, resolved."""
        if not isinstance(formula, AllOf):
            return self._of((), [formula], formula.offset)
        literals = formula.literals
        if not len(literals):
            return self._of((), formula.parts, formula.offset)
        table, differs = self._numbered_table(literals.table)
        if differs and (literals.relation == _DIFFER).any():
            return self._of((), [*literals, *formula.parts], formula.offset)
        blocks = (Literals(table, literals.start, literals.stop),)
        if not formula.parts:
            return Conjunction(blocks, offset=formula.offset)
        return self._of(blocks, formula.parts, formula.offset)

    def _of(self, blocks: tuple[Literals, ...], parts: Sequence[Formula], offset: int) -> Conjunction:
        """All of the literals, whose positions are numbered already, and of the parts."""
        found = Builder(self._table)
        rows: list[Row] = []
        choices: list[list[Conjunction]] = []
        false_at: int | None = None
        for part in parts:
            if isinstance(part, AnyOf):
                choices.append([self.conjunction(choice) for choice in part])
            elif isinstance(part, AllOf):
                choices.append([self.conjunction(part)])
            elif part.relation == "!=":
                halves = (replace(part, relation=sign) for sign in "<>")
                choices.append([self._of((), [half], part.offset) for half in halves])
            elif not compare(found, rows, self._numbered(part), self._fail) and false_at is None:
                false_at = part.offset
        more = found.whole().literals
        blocks = (*blocks, more) if len(more) else blocks
        return Conjunction(blocks, tuple(rows), tuple(choices), false_at, offset)

    def _numbered_table(self, table: Table) -> tuple[Table, bool]:
        if table not in self._tables:
            codes, positions, *_ = table.columns
            moved = table if self._renumber is None else table.changed(self._renumber(positions))
            self._tables[table] = (moved, bool((codes == _DIFFER).any()))
        return self._tables[table]

    def _numbered(self, comparison: Comparison) -> Comparison:
        if self._renumber is None:
            return comparison
        left, right = self._numbered_term(comparison.left), self._numbered_term(comparison.right)
        return replace(comparison, left=left, right=right)

    def _numbered_term(self, term: Term) -> Term:
        if isinstance(term, Element) and self._renumber is not None:
            return Element(int(self._renumber(np.asarray([term.position]))[0]))
        if isinstance(term, Sum | Difference | Product):
            return replace(term, parts=tuple(map(self._numbered_term, term.parts)))
        return term

"""Formulas as a tree: comparisons, AND, OR; frequent comparisons are kept in columns."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .terms import Element, Number, Term, Values

__all__ = [
    "FLIPPED",
    "RELATIONS",
    "SIGNS",
    "AllOf",
    "AnyOf",
    "Builder",
    "Columns",
    "Comparison",
    "Formula",
    "Literals",
    "Table",
    "packed",
]

Truth = NDArray[np.bool_]


def _differ(left: Values, right: Values) -> Truth:
    return np.asarray((left < right) | (left > right))  # false for NaN, as every other comparison


RELATIONS: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType(
    {
        "<": operator.lt,
        "<=": operator.le,
        ">": operator.gt,
        ">=": operator.ge,
        "==": operator.eq,
        "!=": _differ,
    }
)
"""The relations in the order of their codes, and what they say of numbers. NaN satisfies none."""

FLIPPED: Mapping[str, str] = MappingProxyType(
    {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
)
"""a r b is b FLIPPED[r] a."""

SIGNS: tuple[str, ...] = tuple(RELATIONS)
"""Code -> relation."""

Columns = tuple["array[int]", "array[int]", "array[float]", "array[int]"]
"""Literals while they are collected: codes of relations (int8), positions, numbers, offsets."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """left relation right; `offset` is that of its text in the file, 0 where there is none."""

    relation: str
    left: Term
    right: Term
    offset: int = 0

    def truth(self, values: Values) -> Truth:
        """Whether it is true of each assignment, (N,) bool."""
        left, right = self.left.numbers(values), self.right.numbers(values)
        return np.asarray(RELATIONS[self.relation](left, right), dtype=bool)


class Table:
    """Comparisons `element relation number` in columns: 25 bytes each instead of hundreds.

    Rows are added while a file is read; from the first use of `columns` on, there are no more.
    """

    __slots__ = ("_columns", "_views")

    def __init__(self) -> None:
        self._columns: Columns = (array("b"), array("q"), array("d"), array("q"))
        self._views: tuple[NDArray[Any], ...] | None = None

    def __len__(self) -> int:
        return len(self._columns[0])

    def extend(self, columns: Columns) -> None:
        """Adds rows: codes of relations, positions of elements, numbers, offsets."""
        for column, more in zip(_arrays(self._columns), _arrays(columns), strict=True):
            column.frombytes(more.tobytes())

    def repeat(self, start: int, stop: int) -> None:
        """Adds the rows from start to stop once more."""
        codes, positions, values, offsets = self._columns
        self.extend((codes[start:stop], positions[start:stop], values[start:stop], offsets[start:stop]))

    def comparison(self, row: int) -> Comparison:
        """One row."""
        code, position, value, offset = (column[row] for column in self._views or _arrays(self._columns))
        return Comparison(SIGNS[int(code)], Element(int(position)), Number(float(value) + 0.0), int(offset))

    def changed(
        self, positions: NDArray[np.int64] | None = None, values: NDArray[np.float64] | None = None
    ) -> Table:
        """The same rows with other positions or numbers."""
        table, (codes, old_positions, old_values, offsets) = Table(), self.columns
        positions = old_positions if positions is None else positions
        table._views = (codes, positions, old_values if values is None else values, offsets)
        return table

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """Codes (int8), positions (int64), numbers (float64) and offsets (int64), not to be changed."""
        if self._views is None:
            views = [
                np.frombuffer(column, dtype=kind) if len(column) else np.zeros(0, dtype=kind)
                for column, kind in zip(_arrays(self._columns), ("i1", "i8", "f8", "i8"), strict=True)
            ]
            views[2] += 0.0  # no negative zero
            self._views = tuple(views)
        return self._views


@dataclass(frozen=True, slots=True, eq=False)
class Literals:
    """All of the comparisons `element relation number` in rows `start` to `stop` of a table."""

    table: Table
    start: int
    stop: int

    @property
    def relation(self) -> NDArray[np.int8]:
        """Codes of the relations: their places in `SIGNS`."""
        return self.columns[0]

    @property
    def position(self) -> NDArray[np.int64]:
        """Positions of the elements."""
        return self.columns[1]

    @property
    def value(self) -> NDArray[np.float64]:
        """The numbers."""
        return self.columns[2]

    @property
    def offset(self) -> NDArray[np.int64]:
        """Offsets of the comparisons in the file, 0 where there is none."""
        return self.columns[3]

    @property
    def columns(self) -> tuple[NDArray[Any], ...]:
        """The four columns."""
        return tuple(column[self.start : self.stop] for column in self.table.columns)

    def chosen(self, which: NDArray[np.bool_]) -> list[Comparison]:
        """Those at which `which` is true."""
        return [self.table.comparison(self.start + k) for k in np.flatnonzero(which).tolist()]

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[Comparison]:
        return map(self.table.comparison, range(self.start, self.stop))

    def truth(self, values: Values) -> Truth:
        """Whether all are true of each assignment, (N,) bool."""
        result = np.ones(len(values), dtype=bool)
        codes, positions, numbers, _ = self.columns
        for code in np.unique(codes):
            chosen = codes == code
            held = RELATIONS[SIGNS[code]](values[:, positions[chosen]], numbers[chosen])
            result &= np.asarray(held, dtype=bool).all(axis=1)
        return result


@dataclass(frozen=True, slots=True, eq=False)
class AllOf:
    """All of the literals and all of the parts; at least one of them in all. `offset` as for comparisons."""

    literals: Literals
    parts: tuple[Formula, ...]
    offset: int = 0

    def __iter__(self) -> Iterator[Formula]:
        yield from self.literals
        yield from self.parts

    def truth(self, values: Values) -> Truth:
        """Whether everything is true of each assignment, (N,) bool."""
        result = self.literals.truth(values)
        for part in self.parts:
            if not result.any():
                break
            result = result & part.truth(values)
        return result


@dataclass(frozen=True, slots=True, eq=False)
class AnyOf:
    """At least one of the parts, of which there is at least one; `offset` as for comparisons."""

    parts: tuple[Formula, ...]
    offset: int = 0

    def __iter__(self) -> Iterator[Formula]:
        yield from self.parts

    def truth(self, values: Values) -> Truth:
        """Whether some part is true of each assignment, (N,) bool."""
        result = np.zeros(len(values), dtype=bool)
        for part in self.parts:
            if result.all():
                break
            result = result | part.truth(values)
        return result


Formula = Comparison | AllOf | AnyOf


class Builder:
    """Collects the parts of a conjunction whose text begins at `offset`; literals go into the table."""

    __slots__ = ("_ranges", "offset", "parts", "table")

    def __init__(self, table: Table, offset: int = 0) -> None:
        self.offset = offset
        self.parts: list[Formula] = []
        self.table = table
        self._ranges: list[tuple[int, int]] = []

    def literals(self, columns: Columns) -> None:
        """Adds literals: codes of relations, positions, numbers, offsets."""
        start = len(self.table)
        self.table.extend(columns)
        self._join(start, len(self.table))

    def literal(self, relation: str, position: int, value: float, offset: int = 0) -> None:
        """Adds `element relation number`."""
        code = SIGNS.index(relation)
        self.literals((array("b", [code]), array("q", [position]), array("d", [value]), array("q", [offset])))

    def add(self, part: Formula) -> None:
        """Adds a formula of the same table; conjunctions and comparisons with a number join the literals."""
        if isinstance(part, AllOf):
            self._join(part.literals.start, part.literals.stop)
            self.parts.extend(part.parts)
            return
        simple = _simple(part) if isinstance(part, Comparison) else None
        if isinstance(part, Comparison) and simple is not None:
            self.literal(*simple, part.offset)
        else:
            self.parts.append(part)

    def whole(self) -> AllOf:
        """The conjunction of everything so far."""
        if len(self._ranges) > 1:  # make them neighbours
            start = len(self.table)
            for begin, end in self._ranges:
                self.table.repeat(begin, end)
            self._ranges = [(start, len(self.table))]
        start, stop = self._ranges[0] if self._ranges else (0, 0)
        return AllOf(Literals(self.table, start, stop), tuple(self.parts), self.offset)

    def formula(self) -> Formula:
        """The same, as small as possible: a single part stands for itself."""
        whole = self.whole()
        return next(iter(whole)) if len(whole.literals) + len(whole.parts) == 1 else whole

    def _join(self, start: int, stop: int) -> None:
        if self._ranges and self._ranges[-1][1] == start:
            self._ranges[-1] = (self._ranges[-1][0], stop)
        elif start < stop:
            self._ranges.append((start, stop))


def packed(codes: NDArray[Any], positions: NDArray[Any], values: NDArray[Any]) -> Columns:
    """Literals that come from no text, row by row, as columns for a builder."""
    columns: Columns = (array("b"), array("q"), array("d"), array("q"))
    offsets = np.zeros(codes.size)
    for column, content, kind in zip(
        _arrays(columns), (codes, positions, values, offsets), ("i1", "i8", "f8", "i8"), strict=True
    ):
        column.frombytes(np.ascontiguousarray(content, dtype=kind).tobytes())
    return columns


def _arrays(columns: Columns) -> tuple[array[Any], ...]:
    return columns


def _simple(part: Comparison) -> tuple[str, int, float] | None:
    """(relation, position, number) of a comparison of an element and a number, in either order."""
    left, right = part.left, part.right
    if isinstance(left, Element) and isinstance(right, Number):
        return part.relation, left.position, right.value
    if isinstance(left, Number) and isinstance(right, Element):
        return FLIPPED[part.relation], right.position, left.value
    return None

"""What assertions say, as it is read: conjunctions of input bounds, output rows and disjunctions."""

from __future__ import annotations

from array import array
from typing import NamedTuple

__all__ = ["Bounds", "Conjunction", "Row"]


class Row(NamedTuple):
    """The condition sum of coefficients * y[columns] + constant > 0 (`strict`) or >= 0 on the outputs y."""

    columns: tuple[int, ...]
    coefficients: tuple[float, ...]
    constant: float
    strict: bool


class Bounds:
    """Bounds of one direction, in columns: input index, value, offset in the file. About 24 bytes each."""

    __slots__ = ("index", "offset", "value")

    def __init__(self) -> None:
        self.index, self.value, self.offset = array("q"), array("d"), array("q")

    def __len__(self) -> int:
        return len(self.index)

    def add(self, index: int, value: float, offset: int) -> None:
        """One more bound."""
        self.index.append(index)
        self.value.append(value)
        self.offset.append(offset)


class Conjunction:
    """All of: bounds of inputs, rows of outputs, and disjunctions of conjunctions.

    Attributes:
        offset: of its text.
        lower, upper: bounds of inputs; a strict one is listed in `open_lower`, `open_upper` too.
        open_lower, open_upper: (index, value) of bounds that exclude the value itself.
        rows: conditions on the outputs.
        choices: disjunctions, each a list of at least one conjunction.
        false_at: offset of a comparison of numbers that is false; None where there is none.
    """

    __slots__ = ("choices", "false_at", "lower", "offset", "open_lower", "open_upper", "rows", "upper")

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.lower, self.upper = Bounds(), Bounds()
        self.open_lower: list[tuple[int, float]] = []
        self.open_upper: list[tuple[int, float]] = []
        self.rows: list[Row] = []
        self.choices: list[list[Conjunction]] = []
        self.false_at: int | None = None

    @property
    def bounds_inputs(self) -> bool:
        """Whether it has a bound of an input outside its disjunctions."""
        return bool(self.lower.index or self.upper.index)

    def bound(self, relation: str, index: int, value: float, offset: int) -> None:
        """Adds `X_index relation value`, the relation one of < <= = >= >."""
        if relation != ">" and relation != ">=":
            self.upper.add(index, value, offset)
            if relation == "<":
                self.open_upper.append((index, value))
        if relation != "<" and relation != "<=":
            self.lower.add(index, value, offset)
            if relation == ">":
                self.open_lower.append((index, value))

    def row(
        self, relation: str, columns: tuple[int, ...], factors: tuple[float, ...], constant: float
    ) -> None:
        """Adds `sum of factors * y[columns] + constant relation 0`."""
        strict = len(relation) == 1 and relation != "="
        if relation[0] != "<":
            self.rows.append(Row(columns, factors, constant + 0.0, strict))
        if relation[0] != ">":
            negated = tuple(-c for c in factors)
            self.rows.append(Row(columns, negated, 0.0 - constant, strict))

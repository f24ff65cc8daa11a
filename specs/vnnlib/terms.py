"""Terms as a tree: numbers, elements of tensors, and + - * of them; `offset` is that of their text, or 0."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Difference", "Element", "Number", "Product", "Sum", "Term", "Values", "elements"]

Values = NDArray[Any]
"""(N, elements): the numbers of N assignments by position; float64, or objects (exact Fractions)."""


@dataclass(frozen=True, slots=True)
class Number:
    """A constant: the float64 nearest to the decimal of the file."""

    value: float

    def numbers(self, values: Values) -> Values:
        """The value once per assignment, (N,)."""
        exact = values.dtype == object
        return np.full(len(values), Fraction(self.value) if exact else self.value, dtype=values.dtype)


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a tensor, by its position among all elements."""

    position: int

    def numbers(self, values: Values) -> Values:
        """Its number in each assignment, (N,)."""
        column: Values = values[:, self.position]
        return column


@dataclass(frozen=True, slots=True)
class Sum:
    """The sum of at least one term."""

    parts: tuple[Term, ...]
    offset: int = field(default=0, compare=False)

    def numbers(self, values: Values) -> Values:
        """The sum in each assignment, added from the left, (N,)."""
        return _fold(operator.add, self.parts, values)


@dataclass(frozen=True, slots=True)
class Product:
    """The product of at least one term."""

    parts: tuple[Term, ...]
    offset: int = field(default=0, compare=False)

    def numbers(self, values: Values) -> Values:
        """The product in each assignment, multiplied from the left, (N,)."""
        return _fold(operator.mul, self.parts, values)


@dataclass(frozen=True, slots=True)
class Difference:
    """The first term less all others; of a single term, its negative."""

    parts: tuple[Term, ...]
    offset: int = field(default=0, compare=False)

    def numbers(self, values: Values) -> Values:
        """The difference in each assignment, from the left, (N,)."""
        if len(self.parts) == 1:
            negative: Values = -self.parts[0].numbers(values)
            return negative
        return _fold(operator.sub, self.parts, values)


Term = Number | Element | Sum | Product | Difference


def elements(term: Term) -> Iterator[int]:
    """The positions of the elements in a term, with repetitions."""
    if isinstance(term, Element):
        yield term.position
    elif not isinstance(term, Number):
        for part in term.parts:
            yield from elements(part)


def _fold(operation: Any, parts: tuple[Term, ...], values: Values) -> Values:
    result: Values = reduce(operation, (part.numbers(values) for part in parts))
    return result

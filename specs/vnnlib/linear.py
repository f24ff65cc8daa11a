"""Linear terms in exact arithmetic, and what a comparison of two of them says."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from robustbench_local.errors import SpecError

from .formula import FLIPPED, RELATIONS, Builder, Comparison
from .rows import Row
from .terms import Difference, Element, Number, Product, Term

__all__ = ["Fail", "Linear", "compare", "linear", "rows_of"]

Fail = Callable[[int], Callable[[str, str, str], SpecError]]
"""Offset -> (what, cure, code) -> the error at this place."""

_MOST_BITS = 1 << 14


class Linear:
    """The sum of coefficient * element plus a constant; elements are positions."""

    __slots__ = ("constant", "terms")

    def __init__(self, terms: dict[int, Fraction], constant: Fraction) -> None:
        self.terms = {position: c for position, c in terms.items() if c}
        self.constant = constant

    def plus(self, other: Linear, sign: int = 1) -> Linear:
        """self + sign * other."""
        terms = dict(self.terms)
        for position, c in other.terms.items():
            terms[position] = terms.get(position, Fraction(0)) + sign * c
        return Linear(terms, self.constant + sign * other.constant)

    def times(self, factor: Fraction) -> Linear:
        """factor * self."""
        return Linear({p: factor * c for p, c in self.terms.items()}, factor * self.constant)


def linear(term: Term, fail: Fail) -> Linear:
    """The term, which must be linear, multiplied out. Raises SpecError (E-NONLIN)."""
    if isinstance(term, Number):
        return Linear({}, Fraction(term.value))
    if isinstance(term, Element):
        return Linear({term.position: Fraction(1)}, Fraction(0))
    first, *rest = (linear(part, fail) for part in term.parts)
    if isinstance(term, Difference) and not rest:
        return first.times(Fraction(-1))
    for part in rest:
        if isinstance(term, Product):
            first = _product(first, part, fail, term.offset)
        else:
            first = first.plus(part, -1 if isinstance(term, Difference) else 1)
    return first


def compare(into: Builder, rows: list[Row], comparison: Comparison, fail: Fail) -> bool:
    """Adds what the comparison says, and returns whether it can be true at all.

    Even positions are inputs, odd ones outputs. A bound of one input becomes a literal in `into`, everything
    else a row in `rows`, each number rounded once to float64. A comparison of numbers is decided here.
    """
    difference = linear(comparison.left, fail).plus(linear(comparison.right, fail), -1)
    relation = comparison.relation
    if not difference.terms:
        return bool(RELATIONS[relation](difference.constant, 0))
    if len(difference.terms) == 1:
        ((position, coefficient),) = difference.terms.items()
        if position % 2 == 0:
            sense = relation if coefficient > 0 else FLIPPED[relation]
            _bound(into, sense, position, -difference.constant / coefficient, comparison.offset, fail)
            return True
    rounded = [(p, _nearest(c, fail, comparison.offset)) for p, c in sorted(difference.terms.items())]
    outputs, inputs = ([(p // 2, c) for p, c in rounded if p % 2 == odd] for odd in (1, 0))
    constant = _nearest(difference.constant, fail, comparison.offset)
    rows.extend(rows_of(relation, outputs, constant, inputs))
    return True


def rows_of(
    relation: str,
    outputs: list[tuple[int, float]],
    constant: float,
    inputs: list[tuple[int, float]] | None = None,
) -> list[Row]:
    """The rows of `sum of factor * y[i] + sum of factor * x[i] + constant relation 0`; not of !=."""
    strict = len(relation) == 1
    columns, factors = tuple(i for i, _ in outputs), tuple(c for _, c in outputs)
    places, weights = tuple(i for i, _ in inputs or ()), tuple(c for _, c in inputs or ())
    found = []
    if relation[0] != "<":
        found.append(Row(columns, factors, constant + 0.0, strict, places, weights))
    if relation[0] != ">":
        negated, turned = tuple(-c for c in factors), tuple(-c for c in weights)
        found.append(Row(columns, negated, 0.0 - constant, strict, places, turned))
    return found


def _product(left: Linear, right: Linear, fail: Fail, offset: int) -> Linear:
    """left * right, of which at most one may hold elements."""
    if left.terms and right.terms:
        raise fail(offset)(
            "a product of variables is not linear", "multiply variables by numbers only", "E-NONLIN"
        )
    result = right.times(left.constant) if not left.terms else left.times(right.constant)
    numbers = [*result.terms.values(), result.constant]
    if any(max(c.numerator.bit_length(), c.denominator.bit_length()) > _MOST_BITS for c in numbers):
        raise fail(offset)("the product has too many digits", "multiply the numbers out", "E-PARSE")
    return result


def _bound(into: Builder, relation: str, position: int, value: Fraction, offset: int, fail: Fail) -> None:
    near = _nearest(value, fail, offset)
    if Fraction(near) == value:
        into.literal(relation, position, near, offset)
        return
    # no float64 number: no float64 point lies on the bound, so that the next number outside, excluded,
    # says the same of every float64 point and loses no real one
    if relation[0] != ">":
        above = near if Fraction(near) > value else math.nextafter(near, math.inf)
        into.literal("<", position, above, offset)
    if relation[0] != "<":
        below = near if Fraction(near) < value else math.nextafter(near, -math.inf)
        into.literal(">", position, below, offset)


def _nearest(value: Fraction, fail: Fail, offset: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise fail(offset)("the number is too large for float64", "scale the condition", "E-PARSE") from None

"""Linear terms over inputs and outputs, in exact arithmetic, and what a comparison of two of them says."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from robustbench_local.errors import SpecError

from .formula import Conjunction

__all__ = ["Fail", "Linear", "compare", "product"]

Fail = Callable[[str, str, str], SpecError]
"""(what, cure, code) -> the error at the place of the term that is being read."""

_MOST_BITS = 1 << 14
_FLIPPED = {"<": ">", "<=": ">=", "=": "=", ">=": "<=", ">": "<"}


class Linear:
    """The sum of coefficient * variable plus a constant; variables are ("X" or "Y", index)."""

    __slots__ = ("constant", "terms")

    def __init__(self, terms: dict[tuple[str, int], Fraction], constant: Fraction) -> None:
        self.terms = {name: c for name, c in terms.items() if c}
        self.constant = constant

    @classmethod
    def number(cls, value: float) -> Linear:
        """A finite number, taken exactly."""
        return cls({}, Fraction(value))

    @classmethod
    def variable(cls, letter: str, index: int) -> Linear:
        """X_index or Y_index."""
        return cls({(letter, index): Fraction(1)}, Fraction(0))

    def plus(self, other: Linear, sign: int = 1) -> Linear:
        """self + sign * other."""
        terms = dict(self.terms)
        for name, c in other.terms.items():
            terms[name] = terms.get(name, Fraction(0)) + sign * c
        return Linear(terms, self.constant + sign * other.constant)

    def times(self, factor: Fraction) -> Linear:
        """factor * self."""
        return Linear({name: factor * c for name, c in self.terms.items()}, factor * self.constant)


def product(left: Linear, right: Linear, fail: Fail) -> Linear:
    """left * right, of which at most one may hold variables."""
    if left.terms and right.terms:
        raise fail("a product of variables is not linear", "multiply variables by numbers only", "E-NONLIN")
    result = right.times(left.constant) if not left.terms else left.times(right.constant)
    numbers = [*result.terms.values(), result.constant]
    if any(max(c.numerator.bit_length(), c.denominator.bit_length()) > _MOST_BITS for c in numbers):
        raise fail("the product has too many digits", "multiply the numbers out", "E-PARSE")
    return result


def compare(into: Conjunction, relation: str, left: Linear, right: Linear, offset: int, fail: Fail) -> None:
    """Adds `left relation right` to the conjunction.

    A bound of one input, or a row over outputs, each rounded once to float64; a comparison of numbers is
    decided here. Everything else is an error: nothing is dropped.
    """
    difference = left.plus(right, -1)
    letters = {letter for letter, _ in difference.terms}
    if not letters:
        if not _true(relation, difference.constant):
            into.false_at = offset if into.false_at is None else into.false_at
    elif letters == {"X"} and len(difference.terms) == 1:
        ((_, index), coefficient), *_ = difference.terms.items()
        sense = relation if coefficient > 0 else _FLIPPED[relation]
        _bound(into, sense, index, -difference.constant / coefficient, offset, fail)
    elif letters == {"Y"}:
        ordered = sorted(difference.terms.items())
        columns = tuple(index for (_, index), _ in ordered)
        coefficients = tuple(_nearest(c, fail) for _, c in ordered)
        into.row(relation, columns, coefficients, _nearest(difference.constant, fail))
    else:
        what = "several inputs" if letters == {"X"} else "inputs and outputs"
        cure = "supported are bounds of one input, and linear conditions on outputs"
        raise fail(f"a condition that couples {what} is not read by this version", cure, "E-OP")


def _true(relation: str, value: Fraction) -> bool:
    return (
        (value == 0 and "=" in relation) or (value < 0 and "<" in relation) or (value > 0 and ">" in relation)
    )


def _bound(into: Conjunction, relation: str, index: int, value: Fraction, offset: int, fail: Fail) -> None:
    near = _nearest(value, fail)
    if Fraction(near) == value:
        into.bound(relation, index, near, offset)
        return
    # no float64 number: no float64 point lies on the bound, so that the next number outside, excluded,
    # says the same of every float64 point and loses no real one
    if relation[0] != ">":
        above = near if Fraction(near) > value else math.nextafter(near, math.inf)
        into.bound("<", index, above, offset)
    if relation[0] != "<":
        below = near if Fraction(near) < value else math.nextafter(near, -math.inf)
        into.bound(">", index, below, offset)


def _nearest(value: Fraction, fail: Fail) -> float:
    try:
        return float(value)
    except OverflowError:
        raise fail("the number is too large for float64", "scale the condition", "E-PARSE") from None

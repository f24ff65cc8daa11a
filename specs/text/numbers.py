"""Numbers of a text: exact fractions, until a term or a function takes them as floating point numbers."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from fractions import Fraction

from robustbench_local.errors import NonFiniteError, RobustBenchError, SpecError

from ..expressions.base import spec_error

__all__ = ["Number", "fold", "number", "numeric", "plain"]

Number = Fraction | float
"""A finite number as a Fraction; infinity as a float."""

_MOST_BITS = 8192  # of numerator and denominator together
_MOST_DIGITS = 1000
_MOST_EXPONENT = 400
_EXACT = 2**53


def number(text: str) -> Fraction:
    """The number that a decimal writes, exactly. Raises NonFiniteError for one that no double comes near."""
    mantissa, _, exponent = text.lower().partition("e")
    if len(text) > _MOST_DIGITS or len(exponent) > 6 or abs(int(exponent or 0)) > _MOST_EXPONENT:
        raise NonFiniteError("the number is too large or too long for double precision")
    value = Fraction(mantissa.rstrip(".") or "0") * Fraction(10) ** int(exponent or 0)
    plain(value)
    return value


def plain(value: Number) -> int | float:
    """The number as an int where it is a whole one, else as the nearest double."""
    if isinstance(value, Fraction) and value.denominator == 1 and abs(value) <= _EXACT:
        return int(value)
    try:
        return float(value)
    except OverflowError:
        raise NonFiniteError("the number is too large for double precision") from None


def numeric(value: object) -> bool:
    """Whether a value is a finite number, or a (nested) list of them."""
    if isinstance(value, list | tuple):
        return all(map(numeric, value))
    return isinstance(value, Fraction)


def fold(sign: str, left: Number, right: Number) -> Number:
    """left sign right, exactly where that is a fraction of moderate size.

    Raises SpecError (E-DIV) or NonFiniteError.
    """
    if sign == "/" and right == 0:
        raise spec_error("E-DIV", "division by zero")
    if sign == "**":
        return _power(left, right)
    operation = _EXACTLY.get(sign)
    if operation is None:
        raise SpecError(f"`{sign}` does not join numbers", cure="it is for formulas, domains and matrices")
    return _checked(operation(left, right))


_EXACTLY: dict[str, Callable[..., Number]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        if base == 0 and exponent < 0:
            raise spec_error("E-DIV", "a negative power of zero")
        if abs(exponent) * _bits(base) > _MOST_BITS:
            raise _too_large()
        return base ** int(exponent)
    try:
        result = float(base) ** float(exponent)
    except (OverflowError, ZeroDivisionError):
        raise _too_large() from None
    if isinstance(result, complex):
        raise NonFiniteError("a root of a negative number")
    return _checked(result if math.isinf(result) else Fraction(result))


def _checked(value: Number) -> Number:
    if isinstance(value, float) and math.isnan(value):
        raise NonFiniteError("infinity minus infinity is no number")
    if isinstance(value, Fraction) and _bits(value) > _MOST_BITS:
        raise _too_large()
    return value


def _bits(value: Fraction) -> int:
    return value.numerator.bit_length() + value.denominator.bit_length()


def _too_large() -> RobustBenchError:
    return NonFiniteError("the number is too large or too long for double precision")

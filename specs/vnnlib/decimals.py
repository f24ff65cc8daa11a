"""Numbers as decimals without an exponent: the shortest, an outward one, or the exact one."""

from __future__ import annotations

import decimal as _decimal
from decimal import Decimal
from fractions import Fraction

__all__ = ["at_least", "at_most", "decimal", "exactly"]

_DIGITS = 20  # 17 tell all float64 numbers apart; with 20, rounding to one side stays within the same number


def decimal(value: float) -> str:
    """The shortest decimal whose nearest float64 is the finite value, with a point: 0.1, -3.0."""
    return _written(Decimal(repr(value)))


def exactly(value: float) -> str:
    """The decimal that is the finite value exactly; short where that is the shortest one."""
    return _written(Decimal(repr(value)) if Fraction(repr(value)) == Fraction(value) else Decimal(value))


def at_least(value: float) -> str:
    """A short decimal not below the finite value; its nearest float64 is the value."""
    return _outward(value, _decimal.ROUND_CEILING)


def at_most(value: float) -> str:
    """A short decimal not above the finite value; its nearest float64 is the value."""
    return _outward(value, _decimal.ROUND_FLOOR)


def _outward(value: float, rounding: str) -> str:
    short, exact = Decimal(repr(value)), Decimal(value)
    if (short >= exact) if rounding == _decimal.ROUND_CEILING else (short <= exact):
        return _written(short)
    return _written(_decimal.Context(prec=_DIGITS, rounding=rounding).create_decimal(exact))


def _written(number: Decimal) -> str:
    text = format(number, "f")
    return text if "." in text else f"{text}.0"

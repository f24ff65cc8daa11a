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


def at_least(value: float | Fraction) -> str:
    """A short decimal not below the finite value; for a float64, this is the nearest one to the decimal."""
    return _outward(value, _decimal.ROUND_CEILING)


def at_most(value: float | Fraction) -> str:
    """A short decimal not above the finite value; for a float64, this is the nearest one to the decimal."""
    return _outward(value, _decimal.ROUND_FLOOR)


def _outward(value: float | Fraction, rounding: str) -> str:
    exact = Fraction(value)
    near = float(exact)
    if Fraction(near) == exact:
        short = Decimal(repr(near))
        if (Fraction(short) >= exact) if rounding == _decimal.ROUND_CEILING else (Fraction(short) <= exact):
            return _written(short)
    context = _decimal.Context(prec=_DIGITS, rounding=rounding, Emax=10**6, Emin=-(10**6))
    return _written(context.divide(Decimal(exact.numerator), Decimal(exact.denominator)))


def _written(number: Decimal) -> str:
    text = format(number, "f")
    return text if "." in text else f"{text}.0"

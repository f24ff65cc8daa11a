"""Conditions as formulas that read well: linear ones as comparisons, truths left out."""

from __future__ import annotations

from collections.abc import Sequence

from robustbench_local.errors import EmptySetError

from ..formula import AnyOf, Builder, Comparison, Formula
from ..terms import Difference, Number, Product, Sum, Term

__all__ = ["Weighted", "add", "all_of", "any_of", "equation", "linear_formula", "total"]

Weighted = tuple[float, Term]
"""factor * term."""


def linear_formula(parts: Sequence[Weighted], constant: float, strict: bool) -> Formula | bool:
    """`sum of factor * term + constant > 0` (strict) or `>= 0`; a truth where there are no terms."""
    up = [_scaled(c, t) for c, t in parts if c > 0]
    down = [_scaled(-c, t) for c, t in parts if c < 0]
    if not up and not down:
        return constant > 0 or (constant == 0 and not strict)
    at_least, at_most = (">", "<") if strict else (">=", "<=")
    if not up:
        return Comparison(at_most, _sum(down), Number(constant + 0.0))
    if not down:
        return Comparison(at_least, _sum(up), Number(0.0 - constant))
    if not constant:
        return Comparison(at_least, _sum(up), _sum(down))
    return Comparison(at_least, Difference((_sum(up), *down)), Number(0.0 - constant))


def equation(left: Term, parts: Sequence[Weighted], constant: float) -> Formula:
    """`left == sum of factor * term + constant`."""
    return Comparison("==", left, total(parts, constant))


def total(parts: Sequence[Weighted], constant: float) -> Term:
    """The sum of factor * term, plus the constant."""
    up = [_scaled(c, t) for c, t in parts if c > 0]
    down = [_scaled(-c, t) for c, t in parts if c < 0]
    if constant or not (up or down):
        up.append(Number(constant + 0.0))
    if not down:
        return _sum(up)
    return Difference((_sum(up), *down)) if up else Difference((_sum(down),))


def add(into: Builder, said: Formula | bool) -> None:
    """Adds the formula, if it is one. Raises EmptySetError where it is never true."""
    if said is False:
        raise EmptySetError("the unsafe set is empty", cure="there is nothing to write")
    if not isinstance(said, bool):
        into.add(said)


def all_of(into: Builder, parts: Sequence[Formula | bool]) -> Formula | bool:
    """What the builder holds, and all of the parts; True where this is nothing."""
    if any(part is False for part in parts):
        return False
    for part in parts:
        if not isinstance(part, bool):
            into.add(part)
    whole = into.whole()
    return into.formula() if len(whole.literals) + len(whole.parts) else True


def any_of(parts: Sequence[Formula | bool]) -> Formula | bool:
    """At least one of the parts; False where there is none."""
    if any(part is True for part in parts):
        return True
    formulas = [part for part in parts if not isinstance(part, bool)]
    if len(formulas) < 2:
        return formulas[0] if formulas else False
    return AnyOf(tuple(formulas))


def _scaled(factor: float, term: Term) -> Term:
    return term if factor == 1 else Product((Number(factor), term))


def _sum(terms: Sequence[Term]) -> Term:
    return terms[0] if len(terms) == 1 else Sum(tuple(terms))

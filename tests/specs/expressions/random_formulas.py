"""Random nested formulas, each with an independent evaluator in exact rational arithmetic.

The evaluator knows nothing of negation normal forms, rows or trees: it computes the terms' values from
the outputs y and then the truth, the way the formula reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from robustbench_local.specs import (
    Formula,
    Label,
    Param,
    Term,
    all_,
    any_,
    argmax,
    between,
    implies,
    vmax,
    vmin,
    vsum,
)

K = 3
LABEL, PARAM = Label("c", K), Param("t", 0.5)

Values = Mapping[str, Any]  # "y": list of Fractions, "c": int, "t": Fraction
Scalar = Callable[[Values], Fraction]
Vector = Callable[[Values], list[Fraction]]


@dataclass(frozen=True)
class Number:
    """A scalar term and how to compute it."""

    term: Term
    at: Scalar


@dataclass(frozen=True)
class Row:
    """A vector term of length K and how to compute it."""

    term: Term
    at: Vector


@dataclass(frozen=True)
class Claim:
    """A formula and how to decide it."""

    formula: Formula
    at: Callable[[Values], bool]


SMALL = st.sampled_from([-2, -1, -0.5, 0, 0.25, 1, 3])
SCALE = st.sampled_from([-2, -0.5, 0, 0.5, 1])


def rows(*sources: Row) -> st.SearchStrategy[Row]:
    """Vectors of length K made from the sources."""
    start = st.sampled_from(sources)

    def grow(inner: st.SearchStrategy[Row]) -> st.SearchStrategy[Row]:
        return st.one_of(
            st.builds(
                lambda a, s: Row(a.term * s, lambda v: [Fraction(s) * e for e in a.at(v)]), inner, SCALE
            ),
            st.builds(
                lambda a, s: Row(s - a.term, lambda v: [Fraction(s) - e for e in a.at(v)]), inner, SMALL
            ),
            st.builds(lambda a: Row(abs(a.term), lambda v: [abs(e) for e in a.at(v)]), inner),
            st.builds(
                lambda a, b: Row(
                    a.term + b.term, lambda v: [x + z for x, z in zip(a.at(v), b.at(v), strict=True)]
                ),
                inner,
                inner,
            ),
            st.builds(
                lambda a, b: Row(vmax(a.term, b.term), lambda v: list(map(max, a.at(v), b.at(v)))),
                inner,
                inner,
            ),
            st.builds(lambda a: Row(vmin(a.term, PARAM), lambda v: [min(e, v["t"]) for e in a.at(v)]), inner),
        )

    return st.recursive(start, grow, max_leaves=3)


def numbers(vectors: st.SearchStrategy[Row], *sources: Number) -> st.SearchStrategy[Number]:
    """Scalars made from vectors, and from other scalars."""
    start = st.one_of(
        *([st.sampled_from(sources)] if sources else []),
        st.builds(lambda a, i: Number(a.term[i], lambda v: a.at(v)[i]), vectors, st.integers(0, K - 1)),
        st.builds(lambda a: Number(a.term[LABEL], lambda v: a.at(v)[v["c"]]), vectors),
        st.builds(lambda a: Number(vsum(a.term), lambda v: sum(a.at(v), Fraction(0))), vectors),
        st.builds(lambda a: Number(vmax(a.term), lambda v: max(a.at(v))), vectors),
        st.builds(lambda a: Number(vmin(a.term[1:]), lambda v: min(a.at(v)[1:])), vectors),
        st.just(Number(PARAM + 0, lambda v: v["t"])),
    )

    def grow(inner: st.SearchStrategy[Number]) -> st.SearchStrategy[Number]:
        return st.one_of(
            st.builds(lambda a, b: Number(a.term - b.term, lambda v: a.at(v) - b.at(v)), inner, inner),
            st.builds(lambda a, s: Number(a.term * s / 2, lambda v: a.at(v) * Fraction(s) / 2), inner, SCALE),
            st.builds(lambda a: Number(-abs(a.term), lambda v: -abs(a.at(v))), inner),
        )

    return st.recursive(start, grow, max_leaves=2)


def claims(y: Term) -> st.SearchStrategy[Claim]:
    """Formulas over y: comparisons of numbers and vectors, argmax, and their connectives."""
    vector = rows(Row(y, lambda v: v["y"]))
    return connected(atoms(numbers(vector), vector), 5)


def atoms(scalar: st.SearchStrategy[Number], vector: st.SearchStrategy[Row]) -> st.SearchStrategy[Claim]:
    """Comparisons of numbers and vectors, and argmax."""
    return st.one_of(
        st.builds(lambda a, b: Claim(a.term <= b.term, lambda v: a.at(v) <= b.at(v)), scalar, scalar),
        st.builds(lambda a, s: Claim(a.term < s, lambda v: a.at(v) < Fraction(s)), scalar, SMALL),
        st.builds(lambda a, s: Claim(s <= a.term, lambda v: Fraction(s) <= a.at(v)), scalar, SMALL),
        st.builds(lambda a, b: Claim(a.term > b.term, lambda v: a.at(v) > b.at(v)), scalar, scalar),
        st.builds(lambda a, s: Claim(a.term == s, lambda v: a.at(v) == Fraction(s)), scalar, SMALL),
        st.builds(lambda a, s: Claim(a.term != s, lambda v: a.at(v) != Fraction(s)), scalar, SMALL),
        st.builds(
            lambda a, s: Claim(all_(a.term >= s), lambda v: all(e >= Fraction(s) for e in a.at(v))),
            vector,
            SMALL,
        ),
        st.builds(
            lambda a, s: Claim(any_(a.term < s), lambda v: any(e < Fraction(s) for e in a.at(v))),
            vector,
            SMALL,
        ),
        st.builds(
            lambda a, s: Claim(a.term == s, lambda v: all(e == Fraction(s) for e in a.at(v))), vector, SMALL
        ),
        st.builds(
            lambda a, s: Claim(a.term != s, lambda v: all(e != Fraction(s) for e in a.at(v))), vector, SMALL
        ),
        st.builds(
            lambda a, s: Claim(between(s, a.term, s + 1), lambda v: all(s <= e <= s + 1 for e in a.at(v))),
            vector,
            SMALL,
        ),
        st.builds(lambda a: Claim(argmax(a.term) == LABEL, lambda v: leads(a.at(v), v["c"])), vector),
        st.builds(lambda a: Claim(argmax(a.term) == 1, lambda v: leads(a.at(v), 1)), vector),
        st.builds(lambda a: Claim(argmax(a.term) != LABEL, lambda v: beaten(a.at(v), v["c"])), vector),
    )


def connected(start: st.SearchStrategy[Claim], most: int) -> st.SearchStrategy[Claim]:
    """The claims, and nested connectives of up to `most` of them."""

    def grow(inner: st.SearchStrategy[Claim]) -> st.SearchStrategy[Claim]:
        return st.one_of(
            st.builds(lambda a, b: Claim(a.formula & b.formula, lambda v: a.at(v) and b.at(v)), inner, inner),
            st.builds(lambda a, b: Claim(a.formula | b.formula, lambda v: a.at(v) or b.at(v)), inner, inner),
            st.builds(lambda a: Claim(~a.formula, lambda v: not a.at(v)), inner),
            st.builds(
                lambda a, b: Claim(implies(a.formula, b.formula), lambda v: not a.at(v) or b.at(v)),
                inner,
                inner,
            ),
        )

    return st.recursive(start, grow, max_leaves=most)


def leads(y: list[Fraction], c: int) -> bool:
    """y_c is larger than every other element."""
    return all(y[c] > e for j, e in enumerate(y) if j != c)


def beaten(y: list[Fraction], c: int) -> bool:
    """Some element is larger than y_c."""
    return any(e > y[c] for e in y)

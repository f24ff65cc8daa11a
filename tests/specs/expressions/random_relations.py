"""Random formulas about two networks at two variables, with products and other nonlinear terms.

Values: "x", "u" (two numbers each), "f(x)", "f(u)", "g(f(x))" (K numbers each), "c", "t". Networks on small
integers keep sums and products exact in floating point; where a term is not (exp, tanh, softmax), a
comparison that is nearly a tie raises `Unclear`, and the point decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

from hypothesis import strategies as st

from robustbench_local.specs import (
    Net,
    Term,
    Var,
    argmax,
    at_least,
    conf,
    dot,
    drop,
    norm,
    pick,
    rank,
    relu,
    sigmoid,
    softmax,
    tanh,
    vmax,
)

from .random_formulas import LABEL, Claim, K, Number, Row, Values, atoms, connected, leads, numbers, rows

X, U = Var("x", 2), Var("u", 2)
F, G = Net("f", 2, K), Net("g", K, K)
SOURCES = {"f(x)": F(X), "f(u)": F(U), "g(f(x))": G(F(X))}

NEAR = Fraction(1, 10**9)


class Unclear(Exception):
    """A comparison whose outcome depends on rounding."""


def relations() -> st.SearchStrategy[Claim]:
    """Formulas over two networks and two variables."""
    plain = rows(*(Row(term, _value(name)) for name, term in SOURCES.items()))
    vector = st.one_of(plain, _shaped(plain))
    places = [(var, name, i) for var, name in ((X, "x"), (U, "u")) for i in range(2)]
    inputs = [Number(var[i], _element(name, i)) for var, name, i in places]
    scalar = st.one_of(numbers(plain, *inputs), _products(numbers(plain, *inputs), plain))
    return connected(st.one_of(atoms(scalar, vector), _counts(scalar, vector), _rounded(plain)), 4)


def _value(name: str) -> Callable[[Values], list[Fraction]]:
    return lambda v: v[name]


def _element(name: str, i: int) -> Callable[[Values], Fraction]:
    return lambda v: v[name][i]


def _shaped(vector: st.SearchStrategy[Row]) -> st.SearchStrategy[Row]:
    """Vectors with products, rectifiers, permutations."""
    return st.one_of(
        st.builds(
            lambda a, b: Row(a.term * b.term, lambda v: [p * q for p, q in _pairs(a, b, v)]), vector, vector
        ),
        st.builds(lambda a: Row(relu(a.term), lambda v: [max(e, Fraction(0)) for e in a.at(v)]), vector),
        st.builds(lambda a: Row(pick(a.term, [2, 0, 1]), lambda v: [a.at(v)[i] for i in (2, 0, 1)]), vector),
    )


def _products(scalar: st.SearchStrategy[Number], vector: st.SearchStrategy[Row]) -> st.SearchStrategy[Number]:
    """Scalars that are not affine."""
    return st.one_of(
        st.builds(lambda a, b: Number(a.term * b.term, lambda v: a.at(v) * b.at(v)), scalar, scalar),
        st.builds(lambda a: Number(a.term**2, lambda v: a.at(v) ** 2), scalar),
        st.builds(
            lambda a, b: Number(
                dot(a.term, b.term), lambda v: sum((p * q for p, q in _pairs(a, b, v)), Fraction(0))
            ),
            vector,
            vector,
        ),
        st.builds(
            lambda a, b: Number(
                norm(a.term - b.term, math.inf), lambda v: max(abs(p - q) for p, q in _pairs(a, b, v))
            ),
            vector,
            vector,
        ),
        st.builds(
            lambda a: Number(norm(a.term, 1), lambda v: sum((abs(e) for e in a.at(v)), Fraction(0))), vector
        ),
        st.builds(
            lambda a: Number(vmax(drop(a.term, LABEL)), lambda v: max(_others(a.at(v), v["c"]))), vector
        ),
    )


def _counts(scalar: st.SearchStrategy[Number], vector: st.SearchStrategy[Row]) -> st.SearchStrategy[Claim]:
    """Places, counts, and two leaders compared."""
    return st.one_of(
        st.builds(
            lambda a, b: Claim(argmax(a.term) == argmax(b.term), lambda v: _same(a.at(v), b.at(v))),
            vector,
            vector,
        ),
        st.builds(
            lambda a, k: Claim(rank(a.term, LABEL) <= k, lambda v: _place(a.at(v), v["c"]) <= k),
            vector,
            st.integers(1, K - 1),
        ),
        st.builds(
            lambda a, k: Claim(at_least(k, a.term > 0), lambda v: sum(e > 0 for e in a.at(v)) >= k),
            vector,
            st.integers(1, K),
        ),
        st.builds(
            lambda a, b: Claim(
                at_least(2, a.term <= 0, b.term < 1, a.term > b.term), lambda v: _two(a.at(v), b.at(v))
            ),
            scalar,
            scalar,
        ),
    )


def _rounded(vector: st.SearchStrategy[Row]) -> st.SearchStrategy[Claim]:
    """Comparisons of terms that are no rational numbers."""

    def compared(
        term: Callable[[Term], Term], at: Callable[[Sequence[float]], float], row: Row, bound: float
    ) -> Claim:
        return Claim(term(row.term) <= bound, lambda v: _clear(at([float(e) for e in row.at(v)]), bound))

    kinds = st.sampled_from(
        [
            (lambda y: conf(y), lambda e: max(_softmax(e))),
            (lambda y: softmax(y)[1], lambda e: _softmax(e)[1]),
            (lambda y: tanh(y)[0] * y[1], lambda e: math.tanh(e[0]) * e[1]),
            (lambda y: sigmoid(y[2]) - y[0] / 4, lambda e: 1 / (1 + math.exp(-e[2])) - e[0] / 4),
            (lambda y: norm(y, 2), lambda e: math.hypot(*e)),
            (lambda y: y[0] / (1 + y[1] ** 2), lambda e: e[0] / (1 + e[1] ** 2)),
        ]
    )
    return st.builds(
        lambda kind, row, bound: compared(*kind, row, bound),
        kinds,
        vector,
        st.sampled_from([-0.4, 0.3, 0.6, 1.7]),
    )


def _clear(left: float, right: float) -> bool:
    if abs(Fraction(left) - Fraction(right)) < NEAR:
        raise Unclear
    return left <= right


def _softmax(e: Sequence[float]) -> list[float]:
    powers = [math.exp(value - max(e)) for value in e]
    return [power / sum(powers) for power in powers]


def _pairs(a: Row, b: Row, v: Values) -> list[tuple[Fraction, Fraction]]:
    return list(zip(a.at(v), b.at(v), strict=True))


def _others(y: list[Fraction], c: int) -> list[Fraction]:
    return [e for j, e in enumerate(y) if j != c]


def _same(y: list[Fraction], z: list[Fraction]) -> bool:
    return any(leads(y, k) and leads(z, k) for k in range(K))


def _place(y: list[Fraction], c: int) -> int:
    return 1 + sum(e >= y[c] for j, e in enumerate(y) if j != c)


def _two(a: Fraction, b: Fraction) -> bool:
    return (a <= 0) + (b < 1) + (a > b) >= 2

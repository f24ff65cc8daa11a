"""Random properties over everything that the language has: nonlinear terms, several networks, domains."""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st

from robustbench_local.specs import (
    Const,
    Data,
    Domain,
    Formula,
    Label,
    Net,
    Param,
    Spec,
    Term,
    Var,
    all_,
    any_,
    argmax,
    ball,
    between,
    box,
    concat,
    cos,
    dot,
    exists,
    exp,
    forall,
    implies,
    log_softmax,
    norm,
    rank,
    relu,
    reshape,
    sigmoid,
    softmax,
    sqrt,
    stack,
    tanh,
    vmax,
    vmin,
    vsum,
)

N = 3
X0, LOW, LABEL, EPS = Data("x0", N), Data("low", ()), Label("c", N), Param("eps", 8 / 255)
X, Z = Var("x", N, names=["a", "b", "d"], units=["m", "m", "m"]), Var("z", N)
F, G = Net("f", N, N, taps={"0": 4, "a 'b'": (2, 2)}), Net("g", N, N)
WEIGHTS = Const("weights", [[1, 0, 0], [0, 2, 0], [0.5, 0, -1]])
LARGE = torch.arange(24.0).reshape(8, 3) / 7

SCALAR = st.sampled_from([0, 1, -1, 2, 0.5, -0.25, 1 / 3, 8 / 255, 0.1, -1e-7, 1e20, 123456789.125, math.pi])
LIST = st.lists(SCALAR, min_size=N, max_size=N)


def vectors(points: list[Term]) -> st.SearchStrategy[Term]:
    """Terms of shape (N,)."""
    start = st.one_of(
        st.sampled_from([f(p) for f in (F, G) for p in points]),
        st.sampled_from([*points, X0, dot(WEIGHTS[0], X0) + X0]),
        LIST.map(lambda numbers: Const("k", 2) * F(points[0]) + numbers),
        st.just(F.tap("0", points[0])[1:]),
        st.just(G.derivative(points[-1], 1)),
        st.just(reshape(F.tap("a 'b'", points[0]), 4)[:3]),
    )

    def grow(inner: st.SearchStrategy[Term]) -> st.SearchStrategy[Term]:
        return st.one_of(
            st.builds(lambda a, b: a + b, inner, inner),
            st.builds(lambda a, b: a - (b - a), inner, inner),
            st.builds(lambda a, b: a * b / 4, inner, inner),
            st.builds(lambda a, s: a * s, inner, SCALAR),
            st.builds(lambda a, s: s - a, inner, SCALAR),
            st.builds(lambda a, s: s / (2 + abs(a)), inner, SCALAR),
            st.builds(lambda a: (-a) ** 2 - a**2, inner),
            st.builds(lambda a: (1 + abs(a)) ** -0.5, inner),
            st.builds(lambda a: -(a**3), inner),
            st.builds(lambda a, b: vmax(a, b, 0), inner, inner),
            st.builds(lambda a: WEIGHTS @ a, inner),
            st.builds(lambda a: F(G(a)), inner),
            st.builds(lambda a: stack(a[0], a[LABEL], vsum(a)), inner),
            st.builds(lambda a, b: concat(a[:1], b[1:]), inner, inner),
            st.builds(
                lambda a, f: f(a),
                inner,
                st.sampled_from([exp, cos, relu, sigmoid, tanh, softmax, log_softmax]),
            ),
        )

    return st.recursive(start, grow, max_leaves=4)


def numbers(points: list[Term]) -> st.SearchStrategy[Term]:
    """Terms without axes."""
    vector = vectors(points)
    return st.one_of(
        st.builds(lambda a, i: a[i], vector, st.integers(0, N - 1)),
        st.builds(lambda a: a[LABEL], vector),
        st.builds(lambda a: a[0][...] + EPS, vector),
        st.builds(lambda a, p: norm(a, p), vector, st.sampled_from([1, 2, math.inf])),
        st.builds(lambda a, b: dot(a, b) - vmin(a), vector, vector),
        st.builds(lambda a: sqrt(1 + vsum(a * a)) / LARGE[2, 1], vector),
        st.builds(lambda a: vmax(torch.as_tensor(LARGE) @ a), vector),
    )


def claims(points: list[Term]) -> st.SearchStrategy[Formula]:
    """Formulas."""
    vector, number = vectors(points), numbers(points)
    start = st.one_of(
        st.builds(lambda a, b: a <= b, number, number),
        st.builds(lambda a, s: a < s, vector, SCALAR),
        st.builds(lambda a, s: s > a, number, SCALAR),
        st.builds(lambda a, b: a >= b, vector, vector),
        st.builds(lambda a: argmax(a) == LABEL, vector),
        st.builds(lambda a, b: argmax(a) == argmax(b), vector, vector),
        st.builds(lambda a: argmax(a) != 1, vector),
        st.builds(lambda a: rank(a, LABEL) <= 2, vector),
        st.builds(lambda a: between(-1, a, X0), vector),
        st.builds(lambda a, s: any_(a <= s) | all_(a != s), vector, SCALAR),
    )

    def grow(inner: st.SearchStrategy[Formula]) -> st.SearchStrategy[Formula]:
        return st.one_of(
            st.builds(lambda a, b: a & b, inner, inner),
            st.builds(lambda a, b: a | b & a, inner, inner),
            st.builds(lambda a: ~a, inner),
            st.builds(implies, inner, inner),
        )

    return st.recursive(start, grow, max_leaves=4)


def domains() -> st.SearchStrategy[Domain]:
    """Sets of one variable."""
    start = st.one_of(
        st.builds(lambda s: box(s - 1.0, s + 1.0), st.sampled_from([0, 0.5, 1 / 3])),
        st.builds(lambda low: box([v - 2.0 for v in low], X0 + 4), st.just([0.0, 0.25, -1e-3])),
        st.builds(lambda p: ball(X0, EPS, p=p), st.sampled_from([1, 2, math.inf])),
        st.just(box(LOW - EPS * 2, LOW + 8 / 255)),
    )

    def grow(inner: st.SearchStrategy[Domain]) -> st.SearchStrategy[Domain]:
        return st.one_of(
            st.builds(lambda a, b: a & b, inner, inner),
            st.builds(lambda a, b: a | b, inner, inner),
            st.builds(lambda a, b: a - b, inner, inner),
        )

    return st.recursive(start, grow, max_leaves=3)


def specs() -> st.SearchStrategy[Spec]:
    """Properties of one or two variables, all of which speak of f somewhere."""
    quantifier = st.sampled_from([forall, exists])
    some = F(X)[0] <= 100
    one = st.builds(
        lambda q, d, c, t: q(X, d & (X.a <= t) if t is not None else d, c | some),
        quantifier,
        domains(),
        claims([X]),
        st.sampled_from([None, 1, 0.1]),
    )
    two = st.builds(
        lambda q, d, c: q([X, Z], d(X) & ball(X, 0.25, p=2)(Z) & (Z[1] <= X0[0] + 1), c & some),
        quantifier,
        domains(),
        claims([X, Z]),
    )
    return one | two

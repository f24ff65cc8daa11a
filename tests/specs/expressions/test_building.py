"""Building formulas: operators from either side, canonical text, shapes, and every refusal with its cure."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from robustbench_local.specs.expressions.norms import norm

from robustbench_local.errors import (
    LabelError,
    NonFiniteError,
    RobustBenchError,
    ShapeError,
    SpecError,
    SymbolicBoolError,
)
from robustbench_local.specs import (
    Data,
    Expr,
    Label,
    Net,
    Param,
    Term,
    Var,
    any_,
    argmax,
    ball,
    between,
    box,
    forall,
    implies,
    rank,
    vmax,
    vmin,
    vsum,
)

X0, C, EPS = Data("x0", (1, 2, 2)), Label("c", 3), Param("eps", 8 / 255)
X, F, G = Var("x", like=X0), Net("f", (1, 2, 2), 3), Net("g", (1, 2, 2), 3)
S = Var("s", 2, names=["th", "om"], units=["rad", "rad/s"])
Y = F(X)
T, N = torch.ones(3), np.ones(3)

TEXTS: list[tuple[Expr, str]] = [
    (Y[0] - Y[1] * 2 <= 1, "f(x)[0] - f(x)[1] * 2 <= 1"),
    ((Y[0] - Y[1]) * 2 < EPS, "(f(x)[0] - f(x)[1]) * 2 < eps"),
    (Y[0] - (Y[1] - Y[2]) > 0.1, "f(x)[0] - (f(x)[1] - f(x)[2]) > 0.1"),
    (Y[0] - Y[1] - Y[2] > 0.1, "f(x)[0] - f(x)[1] - f(x)[2] > 0.1"),
    (-Y[C] / 4 >= 0, "-f(x)[c] / 4 >= 0"),
    (-(Y[0] + 1) == 1e-9, "-(f(x)[0] + 1) == 1e-09"),
    (~(Y <= 1) & (Y[0] > 0) | (Y[1] != 2), "~(f(x) <= 1) & (f(x)[0] > 0) | (f(x)[1] != 2)"),
    ((Y <= 1) & ((Y[0] > 0) | (Y[1] < 2)), "(f(x) <= 1) & ((f(x)[0] > 0) | (f(x)[1] < 2))"),
    (implies(Y[0] > 0, Y[1] > 0), "~(f(x)[0] > 0) | (f(x)[1] > 0)"),
    (between(0, Y, 1), "(0 <= f(x)) & (f(x) <= 1)"),
    (any_(Y <= 1), "any_(f(x) <= 1)"),
    (argmax(Y) == C, "argmax(f(x)) == c"),
    (argmax(Y[0:2]) != 1, "argmax(f(x)[0:2]) != 1"),
    (
        vmax(Y[1:]) + vmin(Y, 0.5)[0] + vsum(abs(Y)) <= 0,
        "vmax(f(x)[1:3]) + vmin(f(x), 0.5)[0] + vsum(abs(f(x))) <= 0",
    ),
    (ball(X0, EPS, p=2) & box(0, 1), "ball(x0, eps, p=2) & box(0, 1)"),
    (box(X0 - EPS, X0 + EPS), "box(x0 - eps, x0 + eps)"),
]


@pytest.mark.parametrize(("expression", "text"), TEXTS, ids=lambda v: str(v))
def test_canonical_text(expression: Expr, text: str) -> None:
    assert expression.text == repr(expression) == text


@pytest.mark.parametrize(
    "left", [3, 0.5, np.float32(2), np.float64(2), np.int64(2), torch.tensor(2.0), T, N, EPS]
)
def test_numbers_arrays_and_tensors_stand_on_either_side(left: object) -> None:
    for build in (
        lambda a: a + Y,
        lambda a: a - Y,
        lambda a: a * Y,
        lambda a: Y / a,
        lambda a: Y - a,
        lambda a: a <= Y,
        lambda a: a < Y,
        lambda a: a >= Y,
        lambda a: a > Y,
        lambda a: a == Y,
        lambda a: a != Y,
        lambda a: Y == a,
    ):
        assert isinstance(build(left), Expr)
    assert (left <= Y).text.startswith("f(x) >= ") or isinstance(left, Term)  # type: ignore[operator,attr-defined]


def test_numbers_keep_their_double_precision() -> None:
    spec = forall(X, box(0.1, 1), Y[0] <= 0.1)
    query = spec.query(torch.nn.Identity())
    assert query.d.item() == -0.1 and query.inputs.box().lower[0, 0, 0, 0] == 0.1
    assert Param("p", 0.1).declaration == "param p: real = 0.1"
    assert (Y[0] <= np.float32(0.1)).text == "f(x)[0] <= 0.10000000149011612"


def test_terms_iterate_over_their_static_first_axis() -> None:
    assert [t.text for t in Y] == ["f(x)[0]", "f(x)[1]", "f(x)[2]"] and len(Y) == 3
    assert sum(Y).text == "0 + f(x)[0] + f(x)[1] + f(x)[2]"  # type: ignore[arg-type,union-attr]
    assert F(X)[0:2].shape == (2,) and vmax(Y).shape == () and vmax(Y, 0).shape == (3,)


def test_expressions_are_immutable() -> None:
    with pytest.raises(AttributeError):
        Y.net = G  # type: ignore[attr-defined,misc]
    with pytest.raises(AttributeError):
        EPS.default = 3.0  # type: ignore[misc]


REFUSALS: list[tuple[Callable[[], object], type[RobustBenchError], str, str]] = [
    (lambda: bool(Y[0] <= 1), SymbolicBoolError, "E-BOOL", "`f(x)[0] <= 1` has no truth value"),
    (lambda: 0 <= Y[0] <= 1, SymbolicBoolError, "E-BOOL", "Write between(a, x, b)"),
    (lambda: max(Y[0], Y[1]), SymbolicBoolError, "E-BOOL", "vmax and vmin for max and min"),
    (lambda: not (Y <= 1), SymbolicBoolError, "E-BOOL", "`~` for not"),
    (
        lambda: Y[0] <= 1 & Y[1] >= 0,
        SpecError,
        "E-PREC",
        "`&` joins two formulas, not 1 of type int and `f(x)[1]`",
    ),
    (lambda: Y[0] & (Y[1] >= 0), SpecError, "E-PREC", "Parenthesise each comparison: (x <= 1) & (y >= 0)"),
    (lambda: (Y[1] >= 0) | True, SpecError, "E-PREC", "not `f(x)[1] >= 0` and True of type bool"),
    (lambda: False | (Y[1] >= 0), SpecError, "E-PREC", "`|` joins two formulas"),
    (lambda: Y[0] ** Y[1], SpecError, "E-NONLIN", "`f(x)[0]` has the exponent `f(x)[1]`"),
    (lambda: S.th + S.om, SpecError, "E-UNIT", "`s[0]` is in rad, `s[1]` in rad/s (operands of +)"),
    (lambda: S.th <= S.om, SpecError, "E-UNIT", "`s[0]` is in rad, `s[1]` in rad/s (operands of <=)"),
    (lambda: Var("s", 2, names=["a"]), ShapeError, "E-SHAPE", "1 names for shape (2,)"),
    (lambda: Var("s", 2, names=["a", "a"]), SpecError, "E-PARAM", "two elements of one name"),
    (lambda: Var("s", 1, names=["shape"]), SpecError, "E-PARAM", "hides an attribute of every term"),
    (lambda: torch.ones(2, 3) @ F(X)[:2], ShapeError, "E-SHAPE", "(operands of @)"),
    (lambda: F.tap("inner", X), SpecError, "E-PARAM", "network 'f' declares no inner node 'inner'"),
    (lambda: rank(Y, C) <= 3, SpecError, "E-SPEC", "use a whole number from 1 to 2".capitalize()),
    (lambda: norm(Y, 3), SpecError, "E-SPEC", "no norm of p = 3"),
    (lambda: F(X) + "a", SpecError, "E-SPEC", "'a' of type str is no term"),
    (lambda: F(X) + True, SpecError, "E-SPEC", "True of type bool is no term"),
    (lambda: Y <= [[1, 2], [3]], SpecError, "E-SPEC", "is no term"),
    (lambda: Y <= math.nan, NonFiniteError, "E-FINITE", "constant nan is not finite"),
    (lambda: Param("eps", math.inf), NonFiniteError, "E-FINITE", "default of parameter 'eps' is inf"),
    (
        lambda: Y + torch.ones(2),
        ShapeError,
        "E-SHAPE",
        "`f(x)` has shape (3,), `[1, 1]` (2,) (operands of +)",
    ),
    (lambda: vmax(Y, Y[:2]), ShapeError, "E-SHAPE", "has shape (3,)"),
    (
        lambda: F(Var("x", (1, 1, 2, 2))),
        ShapeError,
        "E-SHAPE",
        "network 'f' expects (1, 2, 2), `x` has (1, 1, 2, 2)",
    ),
    (lambda: F(X[0]), ShapeError, "E-SHAPE", "network 'f' expects (1, 2, 2), `x[0]` has (2, 2)"),
    (lambda: Y[3], LabelError, "E-INDEX", "index 3 is out of range for an axis of length 3 of `f(x)`"),
    (lambda: Y[0, 0], LabelError, "E-INDEX", "2 indices for `f(x)` of shape (3,)"),
    (lambda: Y[2:1], LabelError, "E-INDEX", "is empty or reversed"),
    (lambda: Y[Label("k", 4)], LabelError, "E-INDEX", "label 'k' has 4 classes, this axis of `f(x)` 3"),
    (lambda: Y["a"], SpecError, "E-SPEC", "cannot index `f(x)` with 'a' of type str"),
    (
        lambda: argmax(Y) == 10,
        LabelError,
        "E-INDEX",
        "class 10 is out of range for `argmax(f(x))` with 3 classes",
    ),
    (lambda: argmax(Y) == Label("k", 4), LabelError, "E-INDEX", "label 'k' has 4 classes"),
    (lambda: argmax(Y) == 1.0, SpecError, "E-SPEC", "compared with 1.0 of type float"),
    (lambda: argmax(Y[0]), ShapeError, "E-SHAPE", "argmax needs a vector of at least 2 elements"),
    (lambda: argmax(Y[:1]), ShapeError, "E-SHAPE", "argmax needs a vector"),
    (lambda: bool(argmax(Y) == 1), SymbolicBoolError, "E-BOOL", "has no truth value"),
    (lambda: len(Y[0]), ShapeError, "E-SHAPE", "is a scalar and has no length"),
    (lambda: any_(argmax(Y) == 1), SpecError, "E-SPEC", "any_ takes a comparison of terms"),
    (lambda: implies(Y[0], Y[0] <= 1), SpecError, "E-SPEC", "expected a formula"),
    (lambda: vmax(), SpecError, "E-SPEC", "vmax() needs at least one term"),
    (lambda: ball(X0, EPS, p=3), SpecError, "E-SPEC", "no ball of norm p = 3. Supported: 0, 1, 2, inf"),
    (lambda: ball(X0, X0[0]), ShapeError, "E-SHAPE", "radius `x0[0]` has shape (2, 2), center `x0`"),
    (lambda: box(X, 1), SpecError, "E-SPEC", "lower `x` depends on the variable"),
    (lambda: box(0, 1) & X[0], SpecError, "E-SPEC", "`x[0]` is no domain"),
    (lambda: box(0, 1) | (X[0] <= 1), SpecError, "E-SPEC", "`x[0] <= 1` is no domain"),
    (lambda: box(0, 1)(Y), SpecError, "E-SPEC", "`box(0, 1)` is placed on `f(x)`"),
    (lambda: ball(2 * X, 1), SpecError, "E-SPEC", "center `2 * x` depends on a variable"),
    (lambda: Var("x y", 2), SpecError, "E-PARAM", "'x y' is no name"),
    (lambda: Var("x", 2, like=X0), SpecError, "E-SPEC", "variable 'x' has both a shape and like="),
    (lambda: Data("x0", (0, 2)), ShapeError, "E-SHAPE", "shape (0, 2) has an axis shorter than 1"),
    (lambda: Label("c", 0), SpecError, "E-SPEC", "label 'c' has 0 classes"),
    (lambda: forall(X0, box(0, 1), Y <= 1), SpecError, "E-SPEC", "forall quantifies a Var, got `x0`"),  # type: ignore[arg-type]
    (lambda: forall(X, Y, Y <= 1), SpecError, "E-SPEC", "forall needs a domain, got `f(x)`"),  # type: ignore[arg-type]
    (lambda: forall([], box(0, 1), Y <= 1), SpecError, "E-SPEC", "forall quantifies at least one Var"),
    (lambda: forall(X, box(0, 1), Y), SpecError, "E-SPEC", "forall needs a formula, got `f(x)`"),  # type: ignore[arg-type]
    (
        lambda: forall(X, box(0, 1), Y <= Net("f", (1, 2, 2), 1)(X)[0]),
        SpecError,
        "E-PARAM",
        "'f' is declared twice: net f",
    ),
    (lambda: forall(X, box(0, 1), EPS <= 1), SpecError, "E-SPEC", "`eps <= 1` uses no network"),
    (lambda: forall(Var("z", (1, 2, 2)), box(0, 1), Y <= 1), SpecError, "E-SPEC", "variable `x` is free"),
    (
        lambda: forall(X, box(Param("c"), 1), Y[C] <= 1),
        SpecError,
        "E-PARAM",
        "'c' is declared twice: param c: real, label c",
    ),
    (lambda: forall(X, box(Param("f"), 1), Y <= 1), SpecError, "E-PARAM", "need different names"),
]


@pytest.mark.parametrize(("build", "kind", "code", "message"), REFUSALS, ids=[r[3][:40] for r in REFUSALS])
def test_refusals_name_the_term_and_the_cure(
    build: Callable[[], object], kind: type[RobustBenchError], code: str, message: str
) -> None:
    with pytest.raises(kind) as caught:
        build()
    assert message in str(caught.value) and caught.value.code == code


def test_nesting_that_explodes_becomes_part_of_the_network() -> None:
    term: Term = vmax(Y)
    for _ in range(12):
        term = term + vmax(Y)
    query = forall(X, box(0, 1), term <= 1).query(lambda x: x.flatten(1)[:, :3])
    x = torch.rand(1, 1, 2, 2)
    assert query.C.shape[1] <= 1024  # not a case for each of 3 ** 13 choices
    assert torch.allclose(query.violation(x), 13 * x.flatten(1)[:, :3].amax(1) - 1)


def test_division_by_a_parameter_that_is_zero() -> None:
    spec = forall(X, box(0, 1), Y / EPS <= 1)
    with pytest.raises(SpecError, match="division by zero in `f\\(x\\) / eps`") as caught:
        spec.query(torch.nn.Identity(), eps=0.0)
    assert caught.value.code == "E-DIV"


def test_factors_of_both_signs_on_a_maximum() -> None:
    spec = forall(X, box(0, 1), abs(Y) * EPS <= 1)
    query = spec.query(lambda x: x.flatten(1)[:, :3] - 2, eps=torch.tensor([1.0, -1.0]))
    x = torch.rand(2, 1, 2, 2)
    expected = ((x.flatten(1)[:, :3] - 2).abs() * torch.tensor([[1.0], [-1.0]]) - 1).amax(1)
    assert torch.allclose(query.violation(query.point(x=x)), expected)


def test_long_sums_take_no_more_than_their_length() -> None:
    start = time.process_time()
    y = Net("f", (1, 2, 2), 120)(X)
    spec = forall(X, box(0, 1), sum(y[i] * y[i] for i in range(120)) <= 1)  # type: ignore[operator]
    assert spec.query(lambda x: x.flatten(1).repeat(1, 30)).violation(torch.ones(1, 1, 2, 2)).item() == 119
    assert time.process_time() - start < 5

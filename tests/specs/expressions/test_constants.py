"""How numbers are written: as the shortest text that is read back as the same double."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from robustbench_local.specs.expressions.constants import Constant, number_text

from robustbench_local.errors import NonFiniteError, SpecError
from robustbench_local.specs import Const, Expr, Net, Param, Var, argmax, box, dot, forall

X, F = Var("x", 3), Net("f", 3, 3)


@given(
    st.floats(allow_nan=False, allow_infinity=False)
    | st.builds(lambda a, b: a / b, *[st.integers(1, 999)] * 2)
)
def test_numbers_are_read_back_exactly(number: float) -> None:
    assert float(Fraction(number_text(number))) == number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (8 / 255, "8/255"),
        (-2 / 3, "-2/3"),
        (0.1, "0.1"),
        (0.5, "0.5"),
        (3.0, "3"),
        (-0.0, "0"),
        (1e15, "1000000000000000.0"),
        (1e300, "1e+300"),
        (float(np.float32(8 / 255)), "0.0313725508749485"),
        (math.pi, "3.141592653589793"),
    ],
)
def test_texts_of_numbers(number: float, text: str) -> None:
    assert number_text(number) == text


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (F(X)[0] * (8 / 255), "f(x)[0] * (8/255)"),
        (8 / 255 * F(X)[0], "8/255 * f(x)[0]"),
        (F(X)[0] - (-1), "f(x)[0] - -1"),
        (F(X) ** -1, "f(x) ** (-1)"),
        (F(X) ** (1 / 3), "f(x) ** (1/3)"),
        (F(X)[0][...], "f(x)[0][...]"),
        (Const("m", 2) * F(X) + 1, "m * f(x) + 1"),
    ],
)
def test_numbers_inside_expressions(expression: Expr, text: str) -> None:
    assert expression.text == text


def test_plain_numbers_are_computed_at_once() -> None:
    one = Constant.of(1)
    assert ((one + 2) * 3 - 1 / Constant.of(4)).text == "8.75" and (-(one**2)).text == "-1"
    assert (one + Param("eps")).text == "1 + eps" and (Constant.of([1, 2]) * 2).text == "[1, 2] * 2"
    with pytest.raises(SpecError, match="division by zero in `1 / 0`"):
        _ = one / 0
    for build in (lambda: Constant.of(1e300) ** 2, lambda: Constant.of(-1) ** 0.5):
        with pytest.raises(NonFiniteError):
            build()


def test_large_constants_are_named_by_their_content() -> None:
    a, b = torch.arange(18.0).reshape(3, 6), torch.arange(18.0).reshape(6, 3)
    texts = {Constant.of(value).text for value in (a, b, a + 1)}
    assert len(texts) == 3 and all(text.startswith("array_") and len(text) == 38 for text in texts)
    assert Constant.of(a).text == Constant.of(a.numpy().astype(np.float32)).text
    spec = forall(X, box(0, 1), a.T @ F(X) <= Const("top", [1, 2, 3, 4, 5, 6]))
    digest = Constant.of(a.T).digest
    assert spec.text.splitlines()[2:4] == [
        f"const array_{digest[:32]}: real[6,3] = @sha256:{digest}",
        "const top: real[6] = [1, 2, 3, 4, 5, 6]",
    ]


def test_one_name_for_two_constants() -> None:
    claim = (dot(F(X), Const("w", [1, 2, 3])) <= 1) & (dot(F(X), Const("w", [1, 2, 4])) <= 1)
    with pytest.raises(SpecError, match="the constant 'w' has two values"):
        forall(X, box(0, 1), claim)
    with pytest.raises(SpecError, match="need different names"):
        forall(X, box(0, 1), F(X)[0] <= Const("x", 1))


@pytest.mark.parametrize("name", ["inf", "lambda", "a b", "1a", ""])
def test_names_that_texts_could_not_hold(name: str) -> None:
    with pytest.raises(SpecError, match="is no name"):
        Param(name)


def test_a_network_has_no_name_of_a_function() -> None:
    with pytest.raises(SpecError, match="'softmax' has the name of a function"):
        forall(X, box(0, 1), argmax(Net("softmax", 3, 3)(X)) == 0)


def test_elements_have_names_and_units_in_the_text() -> None:
    s = Var("s", 2, names=["th", "om"], units=["rad", None])
    assert s.declaration == "s: real[2](th: 'rad', om)"
    assert Var("s", 2, units=[None, "m"]).declaration == "s: real[2](_, _: 'm')"
    assert Var("s", (2, 3), names=["a", "b"]).declaration == "s: real[2,3](a, b)"
    assert Var("s").declaration == "s: real"

"""What cannot be read says what is wrong, where, and what would be right."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from robustbench_local.errors import (
    DataError,
    EmptySetError,
    RobustBenchError,
    SpecError,
    UnboundedSetError,
)
from robustbench_local.specs import parse_vnnlib, read_vnnlib

DECLARED = "(declare-const X_0 Real)\n(declare-const Y_0 Real)\n"
BOUNDED = DECLARED + "(assert (<= X_0 1))\n(assert (>= X_0 0))\n"

MALFORMED = {
    "comparison": (
        "(assert (<= (0.744 (- Y_0 2)) 1))",
        "expected + - or *, found `0.744` (a list begins with an operator)",
        "5:14",
    ),
    "formula": ("(assert (xor (<= Y_0 1) (<= Y_0 2)))", "`xor` begins no formula", "5:10"),
    "equality of 2.0": ("(assert (== Y_0 1))", "`==` begins no formula", "5:10"),
    "negation": ("(assert (not (<= Y_0 1)))", "`not` begins no formula", "5:10"),
    "word": ("(assert true)", "expected a formula: `(and`, `(or` or a comparison, found `true`", "5:9"),
    "number": (
        "(assert (<= Y_0 1,5))",
        "expected a number, X_i or Y_i, found `1,5`: `(assert (<= Y_0 1,5))`",
        "5:17",
    ),
    "not a number": ("(assert (<= Y_0 nan))", "expected a number, X_i or Y_i, found `nan`", "5:17"),
    "infinity": ("(assert (<= X_0 inf))", "found `inf`", "5:17"),
    "underscore": ("(assert (<= Y_0 1_0))", "found `1_0`", "5:17"),
    "large number": ("(assert (<= Y_0 1e999))", "1e999 is too large for float64", "5:17"),
    "large number in a sum": ("(assert (<= (+ Y_0 1e999) 0))", "1e999 is too large", "5:20"),
    "large product": ("(assert (<= Y_0 (* 1e300 1e300)))", "too large for float64", "5:9"),
    "long product": (f"(assert (<= Y_0 (* {'0.1 ' * 5000})))", "too many digits", "5:17"),
    "undeclared": ("(assert (<= Y_1 2))", "Y_1 is not declared", "5:13"),
    "undeclared in a term": ("(assert (<= 0 (- X_1)))", "X_1 is not declared", "5:18"),
    "leading zero": ("(assert (<= X_00 2))", "found `X_00`", "5:13"),
    "huge index": (f"(assert (<= X_{'9' * 5000} 2))", "expected a number, X_i or Y_i, found `X_999", "5:13"),
    "twice": ("(declare-const X_0 Real)", "X_0 is declared twice", "5:16"),
    "twice, slowly": ("(declare-const ; again\n X_0 Real)", "X_0 is declared twice", "6:2"),
    "type": ("(declare-const X_1 Int)", "expected `Real`, found `Int`", "5:20"),
    "name": ("(declare-const Z_1 Real)", "`Z_1` is no variable", "5:16"),
    "statement": ("(check-sat)", "unknown statement `check-sat`", "5:2"),
    "bare word": ("assert", "expected `(declare-const` or `(assert`, found `assert`", "5:1"),
    "literal outside": ("  (<= Y_0 1)", "expected `(declare-const` or `(assert`, found a comparison", "5:3"),
    "closing bracket": ("(assert (<= Y_0 1)))", "expected `(declare-const` or `(assert`, found `)`", "5:20"),
    "no closing bracket": (
        "(assert (or (<= Y_0 1)",
        "the file ends inside `(or` before its bracket is closed: `(assert (or (<= Y_0 1)`",
        "5:9",
    ),
    "end after a bracket": ("(assert (", "the file ends after a bracket", "5:9"),
    "three terms": ("(assert (<= 0 Y_0 1))", "expected `)` to end `(<=`, found `1`", "5:19"),
    "one term": ("(assert (<= Y_0))", "expected a term: a number, a variable", "5:16"),
    "formula as a term": ("(assert (<= Y_0 (<= Y_0 1)))", "found a comparison", "5:17"),
    "two formulas": ("(assert (<= Y_0 1) (<= Y_0 2))", "expected `)` to end `(assert`", "5:20"),
    "empty and": ("(assert (and))", "`(and)` holds nothing", "5:9"),
    "empty or": ("(assert (or ))", "`(or)` holds nothing", "5:9"),
    "empty sum": ("(assert (<= (+) 1))", "`(+)` holds nothing", "5:13"),
    "empty list": ("(assert ())", "expected `and`, `or` or a comparison, found `)`", "5:10"),
    "division": ("(assert (<= (/ Y_0 2) 1))", "expected + - or *, found `/`", "5:14"),
    "deep formula": ("(assert " + "(and " * 120, "nested deeper than 100", "5:509"),
    "deep term": ("(assert (<= 1 " + "(+ " * 120, "nested deeper than 100", "5:312"),
    "declaration of 2.0": ("(declare-network f)", "`declare-network` belongs to VNN-LIB 2.0", "5:2"),
    "odd character": ("(assert (<= Y_0 \u00e9))", "found `??`: `(assert (<= Y_0 \u00e9))`", "5:17"),
    "carriage returns": ("\r\r(assert (<= Y_0 x))", "found `x`", "7:17"),
}


def failure(text: str, kind: type[RobustBenchError] = SpecError) -> RobustBenchError:
    with pytest.raises(kind) as caught:
        parse_vnnlib(text, name="p.vnnlib")
    return caught.value


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_text_is_located(name: str) -> None:
    line, message, place = MALFORMED[name]
    error = failure(BOUNDED + line)
    assert message in str(error)
    assert (error.code, error.where) == ("E-PARSE", f"p.vnnlib:{place}") and error.cure
    assert len(str(error)) < 400
    shown, caret = error.as_dict()["excerpt"].split("\n")  # type: ignore[union-attr]
    number, column = map(int, place.split(":"))
    whole = (BOUNDED + line).replace("\r", "\n").split("\n")[number - 1]
    if len(whole) <= 90:  # else only a part is shown
        assert shown == whole.strip()
        assert caret == " " * (column - 1 - len(whole) + len(whole.lstrip())) + "^"


def test_a_whole_message() -> None:
    error = failure(BOUNDED + "(assert (or (and (>= Y_0 Y_1))))\n(assert (<= Y_0 1))")
    assert str(error) == (
        "Y_1 is not declared: `(assert (or (and (>= Y_0 Y_1))))` (p.vnnlib:5:26). "
        "Write `(declare-const Y_1 Real)` before its first use"
    )


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ("(assert (<= (* X_0 Y_0) 1))", "E-NONLIN", "a product of variables is not linear"),
        ("(assert (<= (* 2 Y_0 Y_0) 1))", "E-NONLIN", "a product of variables is not linear"),
        ("(assert (<= (- (* X_0 X_0) 1) 1))", "E-NONLIN", "a product of variables is not linear"),
    ],
)
def test_conditions_beyond_this_version(line: str, code: str, message: str) -> None:
    error = failure(BOUNDED + line)
    assert error.code == code and message in str(error) and (error.where or "").startswith("p.vnnlib:5:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "(vnnlib-version <2.0>)\n(declare-network f (declare-input X real [1]))",
            "network `f` has no output: `(declare-network f (declare-input X real [1]))` (p.vnnlib:2:1). "
            "Declare every output of the ONNX file, in its order",
        ),
        (
            "(vnnlib-version <2.0>)\n(declare-const X_0 Real)",
            "the header says VNN-LIB 2.0, but the body uses declare-const, which is 1.0: "
            "`(declare-const X_0 Real)` (p.vnnlib:2:2). Remove the header if the file is VNN-LIB 1.0",
        ),
        ("(vnnlib-version <2.1>)", "no network"),
        ("(vnnlib-version <2.7>)", "the header says VNN-LIB 2.7; read are 1.0, 2.0 and 2.1"),
        ("(vnnlib-version <3.0>)", "the header says VNN-LIB 3.0; read are 1.0, 2.0 and 2.1"),
        (
            "(vnnlib-version <3.0>)(declare-const X_0 Real)",
            "the header says VNN-LIB 3.0; read are 1.0, 2.0 and 2.1, but the body uses declare-const, which "
            "is 1.0",
        ),
        (
            "(vnnlib-version <1.0>)\n(declare-network f)",
            "`declare-network` belongs to VNN-LIB 2.0, but the file has no header that says 2.0",
        ),
        (f"{BOUNDED}(vnnlib-version <2.0>)", "a header for VNN-LIB 2 that is not the beginning"),
    ],
)
def test_other_versions_are_named(text: str, message: str) -> None:
    assert message in str(failure(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no input X_i is declared (p.vnnlib)"),
        ("(declare-const X_0 Real)", "no output Y_i is declared"),
        ("(declare-const Y_0 Real)", "no input X_i is declared"),
        (DECLARED + "(declare-const X_3 Real)", "X_1 is not declared, but X_3 is"),
    ],
)
def test_variables_are_declared_without_gaps(text: str, message: str) -> None:
    error = failure(text)
    assert message in str(error) and error.code == "E-PARSE"


def test_inputs_without_bounds_are_named() -> None:
    many = "".join(f"(declare-const X_{i} Real)\n" for i in range(9)) + "(declare-const Y_0 Real)\n"
    bounds = "".join(f"(assert (and (<= X_{i} 1)))" + f"(assert (>= X_{i} 0))" * (i == 4) for i in range(9))
    error = failure(many + bounds, UnboundedSetError)
    assert str(error) == (
        "no lower bound of X_0, X_1, X_2, X_3, X_5, ... (8 of 9 inputs) (p.vnnlib). "
        "Assert a lower bound of every input"
    )
    branch = "(assert (or (and (>= X_0 0) (<= X_0 1) (<= Y_0 1))\n(and (>= X_0 0) (<= Y_0 0))))"
    error = failure(DECLARED + branch, UnboundedSetError)
    assert "no upper bound of X_0 (1 of 1 inputs) (p.vnnlib, clause at line 4)" in str(error)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("(assert (<= X_0 -0.5))", "X_0 >= 0.0 (line 4) contradicts X_0 <= -0.5 (line 5)"),
        ("\n(assert (< X_0 0))", "X_0 >= 0.0 (line 4) contradicts X_0 < 0.0 (line 6)"),
        ("(assert (<= 1 0))", "a comparison of numbers is false (line 5)"),
        ("(assert (or (> X_0 1)\n(< X_0 0)))", "X_0 > 1.0 (line 5) contradicts X_0 <= 1.0 (line 3)"),
    ],
)
def test_an_empty_unsafe_set(lines: str, message: str) -> None:
    error = failure(BOUNDED + lines, EmptySetError)
    assert error.code == "E-VACUOUS" and str(error).startswith(f"the unsafe set is empty: {message}")


def test_an_interval_without_a_float64_number() -> None:
    error = failure(BOUNDED + "(assert (= (* 3 X_0) 1))", EmptySetError)
    assert "no float64 number lies in the interval of X_0" in str(error)


def test_too_many_clauses() -> None:
    error = failure(BOUNDED + "(assert (or (<= Y_0 0) (<= Y_0 1)))\n" * 40)
    assert error.code == "E-DNF" and "1.1e+12 clauses, the limit is 100000" in str(error)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_vnnlib(tmp_path / "nowhere.vnnlib")
    with pytest.raises(DataError, match="directory"):
        read_vnnlib(tmp_path)
    packed = gzip.compress((BOUNDED * 50).encode())
    broken = {
        "cut": packed[:-20],
        "flipped": packed[:40] + b"\xff\xff" + packed[42:],
        "xz": b"\xfd7zXZ\x00nothing",
    }
    for name, data in broken.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(DataError, match="cannot read the file"):
            read_vnnlib(path)

"""What is wrong with a text: the place, the code, the cause and the cure of every error, all at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robustbench_local.errors import DataError, LocatedError, SpecError, SpecErrors
from robustbench_local.specs import parse_spec, parse_value, read_spec

HEAD = """spec t v1
net f: real[2] -> real[3] tap hid = "0": real[4]
label c: class[3]
data x0: real[2]
param eps: real = 0.1
prop ok: forall x: real[2] in ball(x0, eps): argmax(f(x)) == c
"""
P = "prop p: forall x: real[2] in box(0, 1): "

ERRORS = [
    (P + "f(x)[0] <= ;", "7:52 E-PARSE expected a term, found `;`"),
    (P + "f(x)[0] < = 1", "7:51 E-PARSE expected a term, found `=`"),
    (P + "f(x)[0] = 1", "7:49 E-PARSE expected an operator, found `=`"),
    (P + "f(x)[0 <= 1", "7:45 E-PARSE `[` is never closed"),
    (P + "f(x)[0]) <= 1", "7:48 E-PARSE `)` where no bracket is open"),
    (P + "f(x)(0] <= 1", "7:47 E-PARSE `]` where `(` is open"),
    (P + "(f(x)[0] <= 1", "7:41 E-PARSE `(` is never closed"),
    (P + "f(x)[0] <= 1 2", "7:54 E-PARSE expected an operator, found `2`"),
    (P + 'f(x)[0] <= "a', "7:52 E-PARSE a string without end, or with an unknown escape"),
    (P + "f(x)[0] <= $1", "7:52 E-PARSE unexpected character '$'"),
    (P + "f(x)[0] <= 1é", "7:53 E-PARSE expected an operator, found `é`"),
    (P + "f(x)[0] ^ 2 <= 1", "7:49 E-PARSE expected an operator, found `^`"),
    (P + "f(x)[0] <= 1 => f(x)[1] <= 1", "7:54 E-PARSE expected an operator, found `=>`"),
    (P + "f(x)[0] <= 1 && f(x)[1] <= 1", "7:54 E-PARSE expected an operator, found `&&`"),
    (P + "!(f(x)[0] <= 1)", "7:41 E-PARSE expected a term, found `!`"),
    (P + "f(x)[0] <= 1 if c else f(x)[1] <= 1", "7:54 E-PARSE expected an operator, found `if`"),
    (P + "f(x)[0] in [0, 1]", "7:49 E-PARSE expected an operator, found `in`"),
    (P + "f(x)[0] // 2 <= 1", "7:49 E-PARSE expected an operator, found `//`"),
    (P + "lambda y: y", "7:41 E-PARSE expected a term, found `lambda`"),
    (P + "{f(x)[0]} <= 1", "7:41 E-PARSE expected a term, found `{`"),
    (P + "[f(x)[k] for k in range(3)]", "7:50 E-PARSE expected an operator or `]`, found `for`"),
    (P + "f(x). <= 1", "7:47 E-PARSE expected a name behind `.`, found `<=`"),
    (P + "f(x).shape <= 1", "7:46 E-NAME the term `f(x)` has no `.shape`"),
    (P + "f(y)[0] <= 1", "7:43 E-NAME unknown name `y`"),
    (P + "g(x)[0] <= 1", "7:41 E-NAME unknown function `g`"),
    (P + "sofmax(f(x))[0] <= 1", "7:41 E-NAME unknown function `sofmax`"),
    (P + "norm <= 1", "7:41 E-SPEC `norm` is a function"),
    (P + "norm(f(x), 3) <= 1", "7:41 E-SPEC no norm of p = 3"),
    (P + "norm(f(x), q=3) <= 1", "7:41 E-SPEC norm(): got an unexpected keyword argument 'q'"),
    (P + "norm() <= 1", "7:41 E-SPEC norm(): missing a required argument: 'of'"),
    (P + "vmax() <= 1", "7:41 E-SPEC vmax() needs at least one term"),
    (P + '__import__("os")', "7:41 E-NAME unknown function `__import__`"),
    (P + "f(x)[3] <= 1", "7:41 E-INDEX index 3 is out of range for an axis of length 3 of `f(x)`"),
    (P + "f(x)[0.5] <= 1", "7:41 E-SPEC cannot index `f(x)` with 0.5 of type float"),
    (P + "f(x)[0, 0] <= 1", "7:41 E-INDEX 2 indices for `f(x)` of shape (3,)"),
    (P + "f(x)[2:1] <= 1", "7:41 E-INDEX slice 2:1 of `f(x)` (length 3) is empty or reversed"),
    (P + "f(x)[0:x] <= 1", "7:48 E-INDEX ends of slices are whole numbers"),
    (P + "f(x0[0])[0] <= 1", "7:41 E-SHAPE network 'f' expects (2,), `x0[0]` has ()"),
    (P + "f(x) <= [1, 2]", "7:46 E-SHAPE `f(x)` has shape (3,), `[1, 2]` (2,)"),
    (
        P + "f(x) <= [[1, 2], 3]",
        "7:46 E-SPEC [[1, 2], 3] of type list is no term: setting an array element with a sequenc",
    ),
    (P + "f(x)", "7:41 E-SPEC expected a formula, got the term `f(x)`"),
    (P + "1", "7:41 E-SPEC expected a formula, got a number"),
    (P + "box(0, 1)", "7:41 E-SPEC expected a formula, got the domain `box(0, 1)`"),
    (
        P + "f(x)[0] <= 1 & f(x)[1] >= 0",
        "7:54 E-PREC `&` joins two formulas, not `1` and `f(x)[1]`: it binds tighter than <=",
    ),
    (
        P + "f(x)[0] and f(x)[1] <= 1",
        "7:49 E-SPEC `and` joins formulas or domains, not the term `f(x)[0]` and the formula `f(x",
    ),
    (P + "not f(x)[0]", "7:41 E-SPEC `not` of the term `f(x)[0]`"),
    (P + "-(f(x)[0] <= 1)", "7:41 E-SPEC `f(x)[0] <= 1` is no term"),
    (P + "f(x)[0] ** f(x)[1] <= 1", "7:49 E-NONLIN `f(x)[0]` has the exponent `f(x)[1]`"),
    (P + "f(x)[0] / 0 <= 1 / 0", "7:58 E-DIV division by zero"),
    (P + "f(x)[0] <= 9**9**9", "7:53 E-FINITE the number is too large or too long for double precision"),
    (P + "f(x)[0] <= 1e400", "7:52 E-FINITE the number is too large for double precision"),
    (P + "f(x)[0] <= (-1) ** 0.5", "7:57 E-FINITE a root of a negative number"),
    (P + "argmax(f(x)) == 3", "7:54 E-INDEX class 3 is out of range for `argmax(f(x))` with 3 classes"),
    (P + "argmax(f(x)) <= c", "7:54 E-SPEC `<=` does not compare the class `argmax(f(x))` and the label `c`"),
    (P + "argmax(f(x)) == 1.5", "7:54 E-SPEC `argmax(f(x))` is compared with 1.5 of type float"),
    (
        P + "argmax(f(x)[0]) == 1",
        "7:41 E-SHAPE argmax needs a vector of at least 2 elements, `f(x)[0]` has ()",
    ),
    (P + "rank(f(x), c) <= 3", "7:55 E-SPEC `rank(f(x), ..)` is compared with 3 of type int"),
    (P + "rank(f(x), c) >= 1", "7:55 E-SPEC `>=` does not compare a rank and a number"),
    (P + 'f.tap("1", x)[0] <= 1', "7:41 E-PARAM network 'f' declares no inner node '1'"),
    (P + "f.derivative(x, 2)[0] <= 1", "7:41 E-INDEX network 'f' takes (2,), which has no coordinate [2]"),
    (P + "f.derivative(x, [0, 1])[0] <= 1", "7:41 E-INDEX network 'f' takes (2,), which has no coordinate"),
    (P + "f.derivative(x)[0] <= 1", "7:41 E-SPEC derivatives are written f.derivative(x, PLACE)"),
    (P + "f.derivative(x, 'a')[0] <= 1", "7:41 E-SPEC derivatives are written f.derivative(x, PLACE)"),
    (P + "f.tap(hid)[0] <= 1", "7:41 E-SPEC inner nodes are written f.tap(NAME, x) or f.tap('node', x)"),
    (P + "f(x, x)[0] <= 1", "7:41 E-SPEC the network `f` takes one argument"),
    (P + "x(1) <= 1", "7:41 E-SPEC the term `x` is no function"),
    (P + "eps <= 1", "7:9 E-SPEC `eps <= 1` uses no network"),
    (
        P + "any(f(x)[0] <= 1 and f(x)[1] <= 1)",
        "7:41 E-SPEC any_ takes a comparison of terms, got `(f(x)[0] <= 1) & (f(x)[1] <= 1)`",
    ),
    ("prop p: forall x: real[2] in f(x): f(x)[0] <= 1", "7:30 E-SPEC expected a domain, got the term `f(x)`"),
    (
        "prop p: forall x: real[2] in box(0, [1, 2, 3]): f(x)[0] <= 1",
        "7:30 E-SHAPE `[1, 2, 3]` has shape (3,), the variable `x` (2,)",
    ),
    (
        "prop p: forall x: real[2] in ball(x0, [1, 2, 3]): f(x)[0] <= 1",
        "7:30 E-SHAPE radius `[1, 2, 3]` has shape (3,)",
    ),
    ("prop p: forall x: real[2] in ball(x0, eps, p=3): f(x)[0] <= 1", "7:30 E-SPEC no ball of norm p = 3"),
    (
        "prop p: forall x: real[2] in ball(x0): f(x)[0] <= 1",
        "7:30 E-SPEC ball(): missing a required argument: 'radius'",
    ),
    ("prop p: forall x: real[2] in box(x, 1): f(x)[0] <= 1", "7:30 E-SPEC lower `x` depends on the variable"),
    (
        "prop p: forall x: real[3] in box(0, 1): f(x)[0] <= 1",
        "7:41 E-SHAPE network 'f' expects (2,), `x` has (3,)",
    ),
    ("prop p: forall x: real[2, y: real[2] in box(0, 1): f(x)[0] <= 1", "7:23 E-PARSE `[` is never closed"),
    (
        "prop p: forall x: real[2], y: real[2] in box(0, 1): f(x)[0] <= 1",
        "7:42 E-SPEC `box(0, 1)` is not placed on a variable",
    ),
    (
        "prop p: forall x: real[2] in box(0, 1): exists y: real[2] in box(0, 1): f(x)[0] <= 1",
        "7:41 E-ALT `exists` inside `forall`: quantifiers do not alternate",
    ),
    (
        "prop p: forall x: real[2], x: real[2] in box(0, 1)(x): f(x)[0] <= 1",
        "7:28 E-PARAM `x` is declared twice in this property",
    ),
    (
        "prop p: forall x0: real[2] in box(0, 1): f(x0)[0] <= 1",
        "7:16 E-PARAM `x0` is declared already, in line 4",
    ),
    ("prop p: forall x: real[0] in box(0, 1): f(x)[0] <= 1", "7:24 E-SHAPE an axis of length 0"),
    (
        "prop p: forall x: real[99999,99999,99999] in box(0, 1): f(x)[0] <= 1",
        "7:30 E-SHAPE a shape of more than 2147483648 elements",
    ),
    ("prop p: forall x: int[2] in box(0, 1): f(x)[0] <= 1", "7:19 E-PARSE expected a type, found `int`"),
    (
        "prop p: forall x: real[2](a) in box(0, 1): f(x)[0] <= 1",
        "7:16 E-SHAPE variable 'x' has 1 names for shape (2,)",
    ),
    (
        'prop p: forall x: real[2](a: "m", b: "s") in box(0, 1) & (x.a <= x.b): f(x)[0] <= 1',
        "7:63 E-UNIT `x[0]` is in m, `x[1]` in s (operands of <=)",
    ),
    (
        "prop p: forall x: real[2](a, b) in box(0, 1): x.d + f(x)[0] <= 1",
        "7:49 E-NAME the term `x` has no `.d`",
    ),
    ("prop p: forall x in box(0, 1): f(x)[0] <= 1", "7:18 E-PARSE expected `:`, found `in`"),
    ("prop p: forall x: real[2]: f(x)[0] <= 1", "7:26 E-PARSE expected `in`, found `:`"),
    ("prop p: f(x)[0] <= 1", "7:9 E-PARSE expected `forall` or `exists`, found `f`"),
    ("prop p forall x: real[2] in box(0, 1): f(x)[0] <= 1", "7:8 E-PARSE expected `:`, found `forall`"),
    ("prop lambda: forall x: real[2] in box(0, 1): f(x)[0] <= 1", "7:6 E-PARSE `lambda` is no name"),
    ("prop p: each k in range(0): forall x: real[2] in box(0, 1): f(x)[k] <= 1", "7:19 E-SPEC an empty set"),
    (
        "prop p: each k in range(99999): forall x: real[2] in box(0, 1): f(x)[k] <= 1",
        "7:19 E-DNF a range of more than 10000 numbers",
    ),
    (
        "prop p: each k in 3: forall x: real[2] in box(0, 1): f(x)[k] <= 1",
        "7:19 E-SPEC a number is no finite set",
    ),
    (
        "prop p: each k in range(4): forall x: real[2] in box(0, 1): f(x)[k] <= 1",
        "7:61 E-INDEX index 3 is out of range for an axis of length 3 of `f(x)`",
    ),
    ("prop p: rate(q) >= 0.5", "7:14 E-NAME unknown property `q`"),
    ("prop p: rate(ok) >= 1.5", "7:9 E-SPEC a share of 1.5"),
    (
        "prop p[0]: forall x: real[2] in box(0, 1): f(x)[0] <= 1\nprop r: rate(p) >= 0.5",
        "8:9 E-SPEC a rate is that of a single property",
    ),
    (
        "prop p: each k in [1]: forall x: real[2] in box(0, 1): f(x)[k] <= 1\nprop r: rate(p) >= 0.5",
        "8:9 E-SPEC a rate is that of a single property",
    ),
    (
        "prop p: rate >= 0.5: each k in [1]: forall x: real[2] in box(0, 1): f(x)[k] <= 1",
        "7:27 E-SPEC a rate is that of one property",
    ),
    ("prop p[0]: rate(ok) >= 0.5", "7:7 E-SPEC members of a family are properties"),
    ("let a = 1\nnet a: real -> real", "8:5 E-PARAM `a` is declared twice, first in line 7"),
    (P + "f(x)[0] <= eps(1)", "7:52 E-SPEC the term `eps` is no function"),
    (P + "f(f=x)[0] <= 1", "7:41 E-SPEC `f` takes arguments without names"),
    ("prop p: rate(ok) > 0.5", "7:18 E-PARSE expected `>=` or `<=`, found `>`"),
    (
        "prop p: chance >= 0.9 x: real[2] ~ box(0, 1): argmax(f(x)) == c",
        "7:36 E-SPEC the domain `box(0, 1)` is no distribution",
    ),
    (
        "prop ok: forall x: real[2] in box(0, 1): f(x)[0] <= 1",
        "7:6 E-PARAM the property `ok` is declared twice, first in line 6",
    ),
    (
        "prop p[1]: forall x: real[2] in box(0, 1): f(x)[0] <= 1",
        "7:7 E-PARAM member 1 of `p` is out of order",
    ),
    (
        "prop ok[0]: forall x: real[2] in box(0, 1): f(x)[0] <= 1",
        "7:6 E-PARAM the property `ok` is declared in line 6, and is no family",
    ),
    ("net g: real[2] > real[3]", "7:16 E-PARSE expected `->`, found `>`"),
    ("net g: iso h", "7:12 E-NAME unknown network `h`"),
    ("net g: same eps", "7:13 E-NAME `eps` is no network"),
    ("net softmax: real[2] -> real[3]", "7:5 E-PARAM `softmax` is a function"),
    ("net f: real[2] -> real[3]", "7:5 E-PARAM `f` is declared twice, first in line 2"),
    ('tap "0": real[4]', '7:5 E-PARAM "0" is declared twice'),
    ("data d: real[2", "7:13 E-PARSE `[` is never closed"),
    ("data d: class[3]", "7:9 E-PARSE expected a type, found `class`"),
    ("label d: real[3]", "7:10 E-PARSE expected `class`, found `real`"),
    ("label d: class[0]", "7:16 E-INDEX 0 classes"),
    ("param d: real[2]", "7:10 E-SHAPE a parameter is one number"),
    ("param d: real = x0", "7:17 E-PARAM the default of a parameter is a number"),
    ('param d: real = "a"', "7:17 E-PARAM the default of a parameter is a number"),
    ("const k: real[2] = [1, 2, 3]", "7:20 E-SHAPE the numbers have shape (3,), the type says (2,)"),
    ("const k: real[2] = f", "7:20 E-SPEC expected a number or a list of numbers, got the network `f`"),
    ("const k: real[2] = @sha256:12", "7:20 E-PARSE expected a term, found `@`"),
    (
        "const k: real[1] = @sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "7:20 E-DATA no file 0000000000000000000000000000000000000000000000000000000000000000.npz",
    ),
    ("let m(y, y = y", "7:6 E-PARSE `(` is never closed"),
    ("let m(y) = y + zz", "7:16 E-NAME unknown name `zz`"),
    (
        "let m(y) = y[5]\n" + P + "m(f(x)) <= 1",
        "7:12 E-INDEX index 5 is out of range for an axis of length 3 of `f(x)` (called in line 8)",
    ),
    ("let m(y) = y\n" + P + "m(f(x), 1) <= 1", "8:41 E-SPEC `m` is called with other arguments than (y)"),
    ("spec u v1", "7:1 E-PARSE expected a declaration, found `spec`"),
    (
        "propp p: forall x: real[2] in box(0, 1): f(x)[0] <= 1",
        "7:1 E-PARSE expected a declaration, found `propp`",
    ),
    ("(f(x)[0] <= 1)", "7:1 E-PARSE expected a declaration, found `(`"),
]


@pytest.mark.parametrize(("lines", "expected"), ERRORS, ids=[e[0].removeprefix(P)[:40] for e in ERRORS])
def test_one_mistake_is_one_error_with_its_place(lines: str, expected: str) -> None:
    with pytest.raises(SpecErrors) as caught:
        parse_spec(HEAD + lines + "\n", name="t.rbspec")
    (error,) = caught.value.errors
    place, code, what = expected.split(" ", 2)
    assert isinstance(error, LocatedError) and error.where == f"t.rbspec:{place}"
    assert error.code == caught.value.code == code and error.what.startswith(what)
    assert error.source == (HEAD + lines).split("\n")[error.line - 1]
    source, marks = error.excerpt.split("\n")
    assert marks.strip().strip("^") == "" and marks.index("^") - 4 == error.column - 1
    assert source.strip() == error.source


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1:1 E-PARSE the text is empty"),
        ("# only a comment", "1:1 E-PARSE the text is empty"),
        ("spec a v2\n" + HEAD[10:], "1:8 E-PARSE expected `v1`, found `v2`"),
        ("spec a\n" + HEAD[10:], "1:6 E-PARSE expected `v1`, found `a`"),
        ("spec 3 v1\n" + HEAD[10:], "1:6 E-PARSE expected the name of the spec, found `3`"),
        (HEAD[10:], "1:1 E-PARSE the text begins with `net`"),
        ("spec a v1\nnet f: real -> real", "2:20 E-PARSE the text has no property"),
        ("tap 'a': real\nspec a v1\n", "1:1 E-PARSE the text begins with `tap`"),
        (
            "spec a v1\ntap 'a': real\nforall x: real in box(0, 1): x <= 1",
            "2:5 E-PARSE expected a `net` before",
        ),
    ],
)
def test_the_frame_of_a_text(text: str, expected: str) -> None:
    with pytest.raises(SpecErrors) as caught:
        parse_spec(text, name="t")
    place, what = expected.split(" ", 1)
    first = caught.value.errors[0]
    assert first.where == f"t:{place}" and f"{first.code} {first.what}".startswith(what)


def test_all_errors_come_at_once_in_the_order_of_the_text() -> None:
    text = """spec bad v1
net f: real[3] > real[2]
net g: real[2] -> real[2]
prop a: forall x: real[2] in boxx(0, 1): g(x)[5] + y <= 1 & g(x)[0] >= 0
prop a: forall x: real[2](p, p) in box(0, 1): h(x)[0] <= 1 and x[2] <= 1
data d: real[3
prop b: forall x: real[2] in box(0, (1): g(x)[0] <= 1
prop c: forall x: real[2] in box(0, 1): g(x)[0] <= 9**9**9 / 0
"""
    with pytest.raises(SpecErrors) as caught:
        parse_spec(text, name="bad.rbspec")
    errors = caught.value.errors
    found = [f"{error.where} {error.code}".removeprefix("bad.rbspec:") for error in errors]
    assert found == [
        "2:16 E-PARSE",
        "4:30 E-NAME",
        "4:42 E-INDEX",
        "4:52 E-NAME",
        "4:59 E-PREC",
        "5:6 E-PARAM",
        "5:16 E-PARAM",
        "5:47 E-NAME",
        "6:13 E-PARSE",
        "7:33 E-PARSE",
        "8:53 E-FINITE",
    ]
    assert str(caught.value).startswith("11 problems: 1) expected `->`, found `>` (bad.rbspec:2:16); 2) ")
    assert "\n" not in str(caught.value) and caught.value.code == "E-SPEC"
    report = caught.value.report
    assert "bad.rbspec:4:30: E-NAME: unknown function `boxx`. Did you mean `box`?\n" in report
    assert f"    {text.splitlines()[3]}\n    {' ' * 29}^^^^\n" in report


def test_errors_as_json() -> None:
    with pytest.raises(SpecErrors) as caught:
        parse_spec(HEAD + P + "y <= f(x)[0] + z", name="t")
    data = json.loads(json.dumps(caught.value.as_dict()))
    assert data["code"] == "E-SPEC" and [e["code"] for e in data["errors"]] == ["E-NAME", "E-NAME"]
    first = data["errors"][0]
    assert first["where"] == "t:7:41" and (first["line"], first["column"]) == (7, 41)
    assert first["what"] == "unknown name `y`" and first["cure"] and first["source"] == P + "y <= f(x)[0] + z"


def test_errors_inside_a_definition_say_where_it_is_called() -> None:
    with pytest.raises(SpecErrors) as caught:
        parse_spec(HEAD + "let m(y) = y[3]\n" + P + "m(f(x)) <= m(x)", name="t")
    assert [(e.where, e.what.rsplit("(", 1)[-1]) for e in caught.value.errors] == [
        ("t:7:12", "called in line 8)"),
        ("t:7:12", "called in line 8)"),
    ]


def test_a_name_that_is_declared_too_late() -> None:
    with pytest.raises(SpecErrors) as caught:
        parse_spec(HEAD + P + "f(x)[0] <= late\nparam late: real = 1", name="t")
    (error,) = caught.value.errors
    assert error.cure == "it is declared in line 8: move that up"


def test_what_is_declared_and_never_used_is_a_warning() -> None:
    file = parse_spec(HEAD + "param spare: real = 1\nlet twice(y) = 2 * y\nlet one = eps + 1\n", name="t")
    assert [(w.where, w.code, w.what) for w in file.warnings] == [
        ("t:7:7", "W-UNUSED", "`spare` is never used"),
        ("t:8:5", "W-UNUSED", "`twice` is never used"),
        ("t:9:5", "W-UNUSED", "`one` is never used"),
    ]
    assert "spare" not in file.text


@pytest.mark.parametrize(
    ("line", "cure"),
    [
        (P + "f(x)[0] + ep <= 1", "did you mean `eps`?"),
        (P + "sofmax(f(x))[0] <= 1", "did you mean `softmax` or `log_softmax`?"),
        (P + "f(x)[0] = 1", "write `==` to compare"),
        (P + "f(x)[0] <= 1 => f(x)[1] <= 1", "write implies(a, b)"),
        (P + "0 <= 1 & f(x)[0] <= 1", "parenthesise each comparison: (x <= 1) & (y >= 0)"),
        ("propp p: forall x: real[2] in box(0, 1): f(x)[0] <= 1", "did you mean `prop`?"),
        ("data x1: int[2]", "types: real, real[3,32,32]"),
        ("prop p: forall x: real[2] in 3: f(x)[0] <= 1", "use box(..), ball(..) or their `&`"),
    ],
)
def test_cures(line: str, cure: str) -> None:
    with pytest.raises(SpecErrors) as caught:
        parse_spec(HEAD + line)
    assert caught.value.errors[0].cure == cure


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read the file"):
        read_spec(tmp_path / "none.rbspec")
    file = tmp_path / "latin.rbspec"
    file.write_bytes(HEAD.encode() + b"# ok\n# caf\xe9\n")
    with pytest.raises(SpecErrors) as caught:
        read_spec(file)
    (error,) = caught.value.errors
    assert error.where == f"{file}:8:6" and error.what == "byte 0xe9 is no UTF-8"


@pytest.mark.parametrize("text", ["", "x", "1 +", "[1, a]", "box(0, 1)", "1\n2", "'a'", "inf", "9**9**9"])
def test_values_that_are_no_numbers(text: str) -> None:
    with pytest.raises(SpecErrors):
        parse_value(text)


def test_broken_errors_stay_catchable_as_their_base() -> None:
    with pytest.raises(SpecError):
        parse_spec("nothing")
    with pytest.raises(ValueError, match="`v1`"):
        parse_spec("spec a v3")

"""What texts may say, and what it means: the same expression built in Python has the same text."""

from __future__ import annotations

import math
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from robustbench_local.specs.expressions.constants import Constant

from robustbench_local.errors import DataError, RobustBenchError, SpecError, SpecErrors, UnknownNameError
from robustbench_local.specs import (
    Const,
    Data,
    Every,
    Formula,
    Label,
    Net,
    Param,
    Spec,
    Var,
    all_,
    any_,
    argmax,
    ball,
    between,
    box,
    chance,
    dot,
    each,
    exists,
    forall,
    implies,
    let,
    norm,
    normal,
    parse_spec,
    parse_value,
    rank,
    rate,
    read_spec,
    vmax,
    vmin,
    vsum,
    write_spec,
)

HEAD = """spec t v1
net f: real[2] -> real[3] tap hid = "0": real[4]
net g: iso f
net h: same f
label c: class[3]
data x0: real[2]
param eps: real = 8/255
const k: real[3] = [1, 1/3, -0.5]
const m: real = 1e-3
let gap(y, i) = y[i] - y[0]
let half = eps / 2
"""
TAPS = {"0": 4}
F, G, C, X0 = Net("f", 2, 3, taps=TAPS), Net("g", 2, 3, taps=TAPS), Label("c", 3), Data("x0", 2)
EPS, K, M = Param("eps", 8 / 255), Const("k", [1, 1 / 3, -0.5]), Const("m", 1e-3)
X, Z = Var("x", 2), Var("z", 2)
Y = F(X)
HALF = let("half", EPS / 2)
ONE = Constant.of(1)  # as a term, so that Python keeps the order of a comparison

BODIES: list[tuple[str, Formula]] = [
    ("f(x)[0] <= 1", Y[0] <= 1),
    ("1 >= f(x)[0]", ONE >= Y[0]),
    ("-0.1 <= f(x)[0] - g(x)[0] <= 0.1", between(-0.1, Y[0] - G(X)[0], 0.1)),
    ("0 < f(x)[0] < f(x)[1] <= 2", (0 * ONE < Y[0]) & (Y[0] < Y[1]) & (Y[1] <= 2)),
    ("f(x)[0] <= 1 and f(x)[1] <= 1 or not f(x)[2] <= 1", (Y[0] <= 1) & (Y[1] <= 1) | ~(Y[2] <= 1)),
    ("(f(x)[0] <= 1) & (f(x)[1] <= 1) | ~(f(x)[2] <= 1)", (Y[0] <= 1) & (Y[1] <= 1) | ~(Y[2] <= 1)),
    ("implies(f(x)[0] <= 1, f(x)[1] <= 1)", implies(Y[0] <= 1, Y[1] <= 1)),
    ("argmax(f(x)) == c", argmax(Y) == C),
    ("c == argmax(f(x))", argmax(Y) == C),
    ("2 != argmax(f(x))", argmax(Y) != 2),
    ("argmax(f(x)) == argmax(g(x))", argmax(Y) == argmax(G(X))),
    ("rank(f(x), c) <= 2", rank(Y, C) <= 2),
    ("2 >= rank(f(x), 0)", rank(Y, 0) <= 2),
    ("rank(f(x), c) < 2", rank(Y, C) <= 1),
    ("f(x) <= [1, 1/3, -1e-2]", Y <= [1, 1 / 3, -0.01]),
    ("any(f(x) <= 1) and all(f(x) >= 0)", any_(Y <= 1) & all_(Y >= 0)),
    ("max(f(x)) - min(f(x)) + sum(f(x)) <= 1", vmax(Y) - vmin(Y) + vsum(Y) <= 1),
    ("norm(f(x) - g(x), inf) <= 2 * norm(x - x0, p=1)", norm(Y - G(X), math.inf) <= 2 * norm(X - X0, 1)),
    ("h(x)[0] <= f(x)[1]", Y[0] <= Y[1]),
    ("f.tap(hid, x)[0] <= h.tap('0', x)[1]", F.tap("0", X)[0] <= F.tap("0", X)[1]),
    ("g.tap(hid, x)[0] <= 1", G.tap("0", X)[0] <= 1),
    ("f.derivative(x, 1)[c] <= h.derivative(x0, [0])[c]", F.derivative(X, 1)[C] <= F.derivative(X0, 0)[C]),
    ("f(f(x)[:2])[0] <= f(x)[-1]", F(Y[:2])[0] <= Y[-1]),
    ("gap(f(x), 2) <= gap(g(x), c) + half", Y[2] - Y[0] <= G(X)[C] - G(X)[0] + HALF),
    ("dot(k, f(x)) * m <= m / 2", dot(K, Y) * M <= M / 2),
    ("+f(x)[0] - -f(x)[1] ** 2 ** 1 <= 2 ** 3", Y[0] - -(Y[1] ** 2) <= 8),
    ("f(x)[0] / 3 * 2 <= 1", Y[0] / 3 * 2 <= 1),
    ("2 / 3 * f(x)[0] <= 1", (2 / 3) * Y[0] <= 1),
    ("f(x)[0] <= 0.1 + 0.2", Y[0] <= 0.3),
    ("f(x)[0] <= 1/3 + 1/3 + 1/3", Y[0] <= 1),
    ("f(x)[0] <= 1e1 - .5", Y[0] <= 9.5),
    ("f(x)[0] <= 2 ** 0.5 * pi", Y[0] <= float(Fraction(2**0.5) * Fraction(math.pi))),
    ("f(x)[0:2][1] <= f(x)[..., 0] + f(x)[::2][1]", Y[0:2][1] <= Y[..., 0] + Y[::2][1]),
]


@pytest.mark.parametrize(("text", "body"), BODIES, ids=[b[0] for b in BODIES])
def test_bodies(text: str, body: Formula) -> None:
    file = parse_spec(HEAD + f"forall x: real[2] in box(0, 1): {text}")
    assert file.only.text == forall(X, box(0, 1), body).text
    again = parse_spec(HEAD + f"forall x: real[2] in box(0, 1):\n  (\n{text} # note\n  )\n")
    assert again.only.id == file.only.id


SPECS: list[tuple[str, Spec]] = [
    (
        "forall x: f32[2] in ball(x0, eps, p=2) & box(0, 1): f(x)[0] <= 1",
        forall(X, ball(X0, EPS, p=2) & box(0, 1), Y[0] <= 1),
    ),
    ("forall x: float64[2] in ball(x0, 0.1) | box(0, 1): f(x)[0] <= 1",
     forall(X, ball(X0, 0.1) | box(0, 1), Y[0] <= 1)),
    ("exists x: real[2] in box(0, 1) - ball(0.5, 0.1): f(x)[0] <= 1",
     exists(X, box(0, 1) - ball(0.5, 0.1), Y[0] <= 1)),
    ("forall x: real[2] in box(0, 1) and x[0] <= x[1]: f(x)[0] <= 1",
     forall(X, box(0, 1) & (X[0] <= X[1]), Y[0] <= 1)),
    ("forall x: real[2], z: real[2] in box(0, 1)(x) & ball(x, 0.1)(z) & (x[0] <= z[0]): f(x) <= f(z)",
     forall([X, Z], box(0, 1)(X) & ball(X, 0.1)(Z) & (X[0] <= Z[0]), Y <= F(Z))),
    ("forall x: real[2] in box(0, 1): forall z: real[2] in ball(x, 0.1): f(x) <= f(z)",
     forall([X, Z], box(0, 1)(X) & ball(X, 0.1)(Z), Y <= F(Z))),
    ("exists x: real[2], z: real[2] in box(0, 1)(x) & box(0, 1)(z): exists w: real in box(0, 1): "
     "w * f(x) <= f(z)",
     exists([X, Z, Var("w")], (box(0, 1)(X) & box(0, 1)(Z)) & box(0, 1)(Var("w")), Var("w") * Y <= F(Z))),
]  # fmt: skip


@pytest.mark.parametrize(("text", "spec"), SPECS, ids=[s[0][:40] for s in SPECS])
def test_quantifiers_and_domains(text: str, spec: Spec) -> None:
    assert parse_spec(HEAD + text).only.text == spec.text


def test_elements_by_name() -> None:
    text = 'forall s: real[2](th: "rad", om: "rad/s") in box(0, 1) & (s.th <= 1/2): f(s)[0] <= 1'
    s = Var("s", 2, names=["th", "om"], units=["rad", "rad/s"])
    assert parse_spec(HEAD + text).only.text == forall(s, box(0, 1) & (s.th <= 0.5), F(s)[0] <= 1).text


def test_families_are_what_each_makes() -> None:
    file = parse_spec(
        HEAD + "prop p: each i in range(2): each t in [1, m]: forall x: real[2] in box(0, 1): f(x)[i] <= t"
    )
    made = each([(i, t) for i in range(2) for t in (1, M)], lambda v: forall(X, box(0, 1), Y[v[0]] <= v[1]))
    found = file["p"]
    assert isinstance(found, Every) and found.text == made.text
    nets = parse_spec(HEAD + "prop p: each n in [f, g]: exists x: real[2] in box(0, 1): n(x)[0] <= 1")["p"]
    assert nets.text == each([F, G], lambda n: exists(X, box(0, 1), n(X)[0] <= 1)).text


def test_shares_and_probabilities() -> None:
    body = argmax(Y) == C
    rob = forall(X, ball(X0, EPS), body)
    claim = "forall x: real[2] in ball(x0, eps): argmax(f(x)) == c"
    file = parse_spec(HEAD + f"prop rob: {claim}\nprop a: rate(rob) >= 2/3\nprop b: rate <= 0.5: {claim}\n"
                      "prop d: chance >= 0.99 x: real[2] ~ normal(x0, half): argmax(f(x)) == c")  # fmt: skip
    assert file["a"].text == (rate(rob) >= 2 / 3).text and file["b"].text == (rate(rob) <= 0.5).text
    assert file["d"].text == (chance(X, normal(X0, HALF), body) >= 0.99).text


def test_a_file_is_a_mapping() -> None:
    file = parse_spec(HEAD + "prop a: forall x: real[2] in box(0, 1): f(x)[0] <= 1\nprop b: rate(a) >= 0.5")
    assert list(file) == ["a", "b"] and len(file) == 2 and file.name == "t" and "a" in file
    with pytest.raises(UnknownNameError, match="unknown property 'c'"):
        _ = file["c"]
    with pytest.raises(SpecError, match="2 properties or families: a, b"):
        _ = file.only


def test_constants_in_files(tmp_path: Path) -> None:
    big = torch.linspace(0, 1, 60, dtype=torch.float64).reshape(3, 20)
    x, f = Var("x", 20), Net("f", 20, 20)
    spec = forall(x, box(big[0], big[0] + 1), Const("W", big) @ f(x) <= 100)
    path = write_spec({"p": spec}, tmp_path / "deep" / "a.rbspec", name="arrays")
    text = path.read_text()
    assert (
        text.startswith("spec arrays v1\n") and "const W: real[3,20] = @sha256:" in text and len(text) < 900
    )
    files = sorted(p.name for p in path.parent.glob("*.npz"))
    assert len(files) == 3 and all(len(name) == 68 for name in files)
    file = read_spec(path)
    assert file["p"].id == spec.id and file.text + "\n" == text
    found = file.only.constants["W"]
    assert torch.equal(found.number, big)
    with np.load(path.parent / f"{found.digest}.npz") as archive:
        assert np.array_equal(archive["values"], big.numpy())
    before = (path.parent / f"{found.digest}.npz").read_bytes()
    write_spec(file, path)
    assert (path.parent / f"{found.digest}.npz").read_bytes() == before and path.read_text() == text
    arrays = {digest: constant.number for digest, constant in file.arrays.items()}
    assert parse_spec(text, arrays=arrays).id == file.id
    assert parse_spec(text, folder=path.parent).id == file.id


def _npz(path: Path, array: np.ndarray, entry: str = "values.npy") -> None:
    with zipfile.ZipFile(path, "w") as archive, archive.open(entry, "w") as stream:
        np.lib.format.write_array(stream, array, allow_pickle=True)


def test_array_files_that_are_not_what_they_are_named(tmp_path: Path) -> None:
    digest = "0" * 64
    text = f"spec v1\nnet f: real[2] -> real[2]\nconst w: real[2] = @sha256:{digest}\n" + (
        "forall x: real[2] in box(0, 1): f(x) <= w\n"
    )
    file = tmp_path / f"{digest}.npz"
    writers = {
        "no file": lambda: None,
        "does not have its sha256": lambda: _npz(file, np.zeros(2)),
        "float32 of shape (2,)": lambda: _npz(file, np.zeros(2, np.float32)),
        "of shape (3,), declared are": lambda: _npz(file, np.zeros(3)),
        "object of shape (2,)": lambda: _npz(file, np.array([1, None], object)),
        "no item named": lambda: _npz(file, np.zeros(2), "other.npy"),
        "not a zip file": lambda: file.write_bytes(b"PK nonsense"),
    }  # fmt: skip
    for message, write in writers.items():
        write()
        with pytest.raises(SpecErrors) as caught:
            parse_spec(text, folder=tmp_path)
        (error,) = caught.value.errors
        assert error.code == "E-DATA" and message in error.what, error.what
        assert error.where == "<text>:3:20"
    with pytest.raises(SpecErrors, match="another sha256 or shape"):
        parse_spec(text, arrays={digest: torch.zeros(2)})
    with pytest.raises(SpecErrors, match="at most 268435456 are read"):
        parse_spec(text.replace("real[2] = @", "real[2000000000] = @"), folder=tmp_path)


def test_an_array_that_is_not_finite(tmp_path: Path) -> None:
    bad = Constant(torch.tensor([1.0, math.nan], dtype=torch.float64))
    _npz(tmp_path / f"{bad.digest}.npz", bad.number.numpy())
    text = f"spec v1\nnet f: real[2] -> real[2]\nconst w: real[2] = @sha256:{bad.digest}\n"
    with pytest.raises(SpecErrors) as caught:
        parse_spec(text + "forall x: real[2] in box(0, 1): f(x) <= w", folder=tmp_path)
    assert caught.value.code == "E-FINITE"


def test_writing(tmp_path: Path) -> None:
    a = forall(X, box(0, 1), Y[0] <= EPS)
    file = read_spec(write_spec(a, tmp_path / "one.rbspec"))
    assert list(file) == ["main"] and file.only.id == a.id and file.name == ""
    b = forall(X, box(0, 1), Y[0] <= Param("eps", 1.0))
    for props, name, message in (
        ({"a": a, "b": b}, "", "'eps' is declared twice"),
        ({"a b": a}, "", "'a b' is no name"),
        ({"a": a}, "no name", "'no name' is no name"),
    ):
        with pytest.raises(SpecError, match=message):
            write_spec(props, tmp_path / "two.rbspec", name=name)
    assert not (tmp_path / "two.rbspec").exists()


@pytest.mark.parametrize(
    ("text", "value"),
    [("8/255", Fraction(8, 255)), ("-1e-3", Fraction(-1, 1000)), ("[1, [2, 3]]", [1, [2, 3]]), ("2**3", 8)],
)
def test_values(text: str, value: object) -> None:
    assert parse_value(text) == value


def test_line_ends_and_marks_do_not_matter() -> None:
    text = HEAD + "prop p: forall x: real[2] in box(0, 1): f(x)[0] <= 1\n"
    ids = {
        parse_spec(t).id
        for t in (text, text.replace("\n", "\r\n"), text.replace("\n", "\r"), "\ufeff" + text)
    }
    assert len(ids) == 1


def test_names_of_mathematics() -> None:
    text = "spec v1\nnet ƒ: real[2] -> real[2]\nparam ε: real = 0.1\n"
    text += "forall x̂: real[2] in box(0, ε): ƒ(x̂)[0] <= ﬁ"
    with pytest.raises(SpecErrors) as caught:
        parse_spec(text)
    assert [e.what for e in caught.value.errors] == ["unknown name `ﬁ`"]
    spec = parse_spec(text.replace("ﬁ", "1")).only
    assert parse_spec(spec.text).only.id == spec.id and "ε: real" in spec.text


def test_errors_of_values_stay_errors_of_the_package() -> None:
    for bad in ("spec v1\n", "spec v1\nconst a: real = 1e999\n"):
        with pytest.raises(RobustBenchError):
            parse_spec(bad)
    with pytest.raises(DataError):
        read_spec("/nowhere/at/all.rbspec")


def test_the_deepest_expressions_become_queries() -> None:
    for text in (
        "exp(f(x)[0])" + " + f(x)[1] * f(x)[2]" * 73,
        "exp(f(x)[0]" + " - (f(x)[1]" * 30 + ")" * 31,
        "abs(" * 55 + "exp(f(x)[0])" + ")" * 55,
    ):
        spec = parse_spec(HEAD + f"forall x: real[2] in box(0, 1): {text} <= 1").only
        network = torch.nn.Linear(2, 3).eval()
        query = spec.query(network)
        torch.export.export(query.network, (torch.zeros(1, 2),))
        assert torch.isfinite(query.violation(torch.zeros(1, 2)))


def test_definitions_may_speak_of_variables_and_keep_their_names() -> None:
    text = (
        HEAD
        + "let second = gap(first, c) + half\nlet first = f(x) * 2\nlet small = first <= 1\nlet two = 1 + 1\n"
    )
    file = parse_spec(text + "prop p: forall x: real[2] in box(0, two): second <= two and small")
    first = let("first", Y * 2)
    second = let("second", first[C] - first[0] + HALF)
    assert file["p"].text == forall(X, box(0, 2), (second <= 2) & (first <= 1)).text
    assert file["p"].text.count("\nlet ") == 3 and parse_spec(file.text).text == file.text
    twice = parse_spec(text + "prop p: forall x: real[2] in box(0, 1): small\n"
                       "prop q: exists x: real[2](a, b) in box(0, 1): small and x.a <= x.b")  # fmt: skip
    assert twice.text.count("let first") == 1 and len(twice) == 2


def test_long_chains_of_definitions() -> None:
    chain = "".join(f"let a{k} = f(a{k + 1})[:2] + a{k + 1}\n" for k in range(300)) + "let a300 = x\n"
    file = parse_spec(HEAD + chain + "forall x: real[2] in box(0, 1): a0[0] <= 1")
    assert file.text.count("\nlet ") == 301 and parse_spec(file.text).id == file.id


@pytest.mark.parametrize(
    ("lets", "errors"),
    [
        ("let a = b + 1\nlet b = a\n", [(13, "`b` is defined by itself")]),
        ("let a = d(1)\nlet d(y) = y + a\n", [(12, "`a` is defined by itself")]),
        ("let a = a\n", [(12, "`a` is defined by itself")]),
        ("let a = zz\n", [(12, "unknown name `zz`")]),
        ("let a = k2\n", [(12, "unknown name `k2`")]),
    ],
)
def test_definitions_that_have_no_value(lets: str, errors: list[tuple[int, str]]) -> None:
    with pytest.raises(SpecErrors) as caught:
        parse_spec(HEAD + lets + "prop p: each k2 in [1]: forall x: real[2] in box(0, 1): f(x)[0] <= a")
    assert [(error.line, error.what) for error in caught.value.errors] == errors

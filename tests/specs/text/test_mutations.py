"""Damaged texts: every one is read, or refused with located errors; none crashes, hangs or fills memory."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path

import pytest

from robustbench_local.errors import LocatedError, SpecErrors
from robustbench_local.specs import SpecFile, parse_spec, read_spec

from .test_functions import FORMULAS, HEAD

TEXTS = [
    """spec everything v1   # a comment
net f: f32[2] -> f32[3] tap hidden = "0": f64[4]
net g: iso f
net h: same f
data x0: real[2]
label c: class[3]
param eps = 8/255
const w: real[2,2] = [[1, 1/3], [-0.5, 1e-3]]
let margin(y, k) = y[k] - max(concat(y[:1], y[2:]))
let twice(y) = y + y
prop rob: forall x: real[2] in ball(x0, eps, p=inf) and box(0, 1): argmax(f(x)) == c
prop band: forall x: real[2](a: "m", b: 's') in ball(x0, eps, p=2) & (x.a <= 1):
    -0.1 <= f(x)[0] - g(w @ x)[0] <= 1/10 and not margin(f(x), 1) > 0
prop tap: exists x: real[2] in box(0, 1) - ball(0.5, 0.1): sum(h.tap(hidden, x)) ** 2 >= 1
prop pair: forall x: real[2] in box(0, 1): forall y: real[2] in ball(x, 0.1): twice(f(x))[0] <= f(y)[0]
prop all: each k in range(3): each j in [0, 1/2]: forall x: real[2] in box(0, 1): f(x)[k] <= j
prop share: rate(rob) >= 60/100
prop prob: chance >= 0.99 x: real[2] ~ normal(x0, 0.1): rank(f(x), c) <= 2
""",
    "spec v1\nnet f: real[1] -> real[1]\nforall x: real[1] in box(0, 1): f(x)[0] <= 1\n",
]
PAIR = "forall x: real[3,4,4], y: real[2] in box(0, 1)(x) & box(0, 1)(y)"
TOKEN = re.compile(r"\w+|[^\w\s]|\s+")
STRANGE = [
    "9**9**9",
    "9" * 5000,
    "1e999999999",
    "0." + "0" * 3000 + "1",
    "(" * 5000,
    "[" * 70 + "0",
    "-" * 5000 + "1",
    "not " * 3000 + "1",
    "x" + "[0]" * 3000,
    "x" + ".a" * 3000,
    "1" + " + 1" * 3000,
    "2 ** " * 3000 + "1",
    "f(" * 55 + "x" + ")" * 55,
    "range(10**9)",
    "real[999999999999]",
    "real[9,9,9,9,9,9,9,9,9,9,9,9]",
    "class[10000000000]",
    "@sha256:" + "0" * 64,
    "__import__('os').system('true')",
    "x.__class__.__bases__",
    "lambda: 0",
    'f"{x}"',
    "\x00",
    "\ud800",
    "\u202e",
    "é",
    "ﬁ",
    "'\\ud800'",
    '"',
    "#",
    "\\\n",
    "\r",
    "\f",
    "\n    ",
    "inf",
    "nan",
    "None",
    "True",
    "...",
    "`",
]


def tokens(text: str) -> list[str]:
    return TOKEN.findall(text)


def mutated(source: random.Random) -> str:
    some = source.sample(sorted(FORMULAS.values()), 4)
    third = HEAD + "".join(f"prop p{k}: {PAIR}: {text}\n" for k, text in enumerate(some))
    text = source.choice([*TEXTS, third])
    for _ in range(source.choice([1, 1, 2, 4])):
        parts = tokens(text)
        at = source.randrange(len(parts))
        other = source.randrange(len(parts))
        kind = source.randrange(8)
        if kind == 0:
            parts[at] = ""
        elif kind == 1:
            parts[at], parts[other] = parts[other], parts[at]
        elif kind == 2:
            parts.insert(at, parts[other])
        elif kind == 3:
            parts[at] = source.choice(STRANGE)
        elif kind == 4:
            parts = parts[:at]
        elif kind == 5:
            parts[at] = chr(source.choice([*range(1, 127), 0xE9, 0x3B5, 0x2212, 0x1D54F]))
        elif kind == 6:
            parts[at : at + 12] = parts[at : at + 12] * source.choice([2, 50])
        else:
            parts.insert(at, source.choice(STRANGE))
        text = "".join(parts)[:60_000] or " "
    return text


def check(text: str) -> SpecFile | None:
    """Reads the text in under five seconds; what is read prints and reads back, errors have places."""
    start = time.process_time()
    try:
        file = parse_spec(text, name="m")
        printed = file.text
        assert parse_spec(printed, arrays={k: c.number for k, c in file.arrays.items()}).text == printed
    except SpecErrors as caught:
        count = text.count("\n") + text.count("\r") + 1
        for error in caught.errors:
            assert isinstance(error, LocatedError) and 1 <= error.line <= count and error.column >= 1
            assert error.what and error.excerpt and "\n" not in error.what
        file = None
    assert time.process_time() - start < 5
    return file


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(8))
def test_damaged_texts(seed: int) -> None:
    source = random.Random(seed)
    read = sum(check(mutated(source)) is not None for _ in range(250))
    assert 0 < read < 250  # some damage does not matter


@pytest.mark.parametrize("strange", STRANGE, ids=lambda s: ascii(s[:20]))
@pytest.mark.parametrize(
    "place",
    [
        "{}",
        "let a = {}",
        "let a(y) = {}",
        "const a: real = {}",
        "param a: real = {}",
        "data a: {}",
        "label a: {}",
        "net a: {} -> real",
        "prop a: forall x: {} in box(0, 1): f(x)[0] <= 1",
        "prop a: forall x: real[1] in {}: f(x)[0] <= 1",
        "prop a: forall x: real[1] in box(0, {}): f(x)[0] <= {}",
        "prop a: each k in {}: forall x: real[1] in box(0, 1): f(x)[{}] <= k",
        "prop a: rate >= {}: forall x: real[1] in box(0, 1): f(x)[0] <= 1",
        "prop a: chance >= 0.5 x: real[1] ~ {}: f(x)[0] <= 1",
    ],
)
def test_strange_things_in_every_place(place: str, strange: str) -> None:
    check(TEXTS[1].replace("forall", place.replace("{}", strange) + "\nforall", 1))


@pytest.mark.parametrize(
    "lets",
    [
        ["let a0(y) = y + y", *[f"let a{k}(y) = a{k - 1}(y) + a{k - 1}(y)" for k in range(1, 60)]],
        ["let a0(y) = y * y", *[f"let a{k}(y) = a{k - 1}(a{k - 1}(y))" for k in range(1, 60)]],
        ["let a0(y) = 1 + 1", *[f"let a{k}(y) = a{k - 1}(1) * a{k - 1}(2)" for k in range(1, 60)]],
        ["let a0(y) = [y, y]", *[f"let a{k}(y) = [a{k - 1}(y), a{k - 1}(y)]" for k in range(1, 60)]],
        ["let a0(y) = y", *[f"let a{k}(y) = a{k - 1}(y) + 1" for k in range(1, 400)]],
    ],
)
def test_definitions_that_explode(lets: list[str]) -> None:
    last = lets[-1].split("(", 1)[0].removeprefix("let ")
    line = f"forall x: real[1] in box(0, 1): sum({last}(f(x))) <= 1\n"
    text = "spec v1\nnet f: real[1] -> real[1]\n" + "\n".join(lets) + "\n" + line
    assert check(text) is None


def test_long_texts() -> None:
    body = "forall x: real[1] in box(0, 1): f(x)[0] <= 1"
    lines = "".join(f"prop p{k}: {body}\n" for k in range(500))
    file = check("spec v1\nnet f: real[1] -> real[1]\n" + lines)
    assert file is not None and len(file) == 500
    assert check("spec v1\n" + "(" * 500_000) is None
    assert check("spec v1\n" + "$\n" * 50_000) is None
    assert check("spec v1\nlet a = [" + "1, " * 150_000 + "1]") is None
    assert check("a" * 2_100_000) is None


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    source = random.Random(0)
    file = tmp_path / "m.rbspec"
    for _ in range(200):
        data = bytearray(TEXTS[0].encode())
        for _ in range(source.choice([1, 3, 30])):
            data[source.randrange(len(data))] = source.randrange(256)
        file.write_bytes(data)
        try:
            read_spec(file)
        except SpecErrors as caught:
            assert all(isinstance(error, LocatedError) for error in caught.errors)

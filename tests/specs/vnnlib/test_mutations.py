"""Damaged files give an error of the project or a property, within seconds; never anything else."""

from __future__ import annotations

import gzip
import lzma
import random
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import nn

from robustbench_local.errors import EmptySetError, RobustBenchError, SpecError
from robustbench_local.specs import VnnlibProperty, parse_vnnlib, read_vnnlib

from .evaluation import statements, unsafe

TEXT = """; Two boxes, mixed clauses, arithmetic
(vnnlib-version <1.0>)
(declare-const X_0 Real) (declare-const X_1 Real)
(declare-const Y_0 Real)
(declare-const Y_1 Real)
(assert (>= X_0 -0.25)) (assert (<= X_0 0.75))
(assert (<= X_1 1e-1)) ; inline
(assert (>= X_1 -1))
(assert (or
  (and (<= X_0 0.5) (>= Y_0 Y_1) (< Y_1 3))
  (and (> X_0 0.5) (<= (+ Y_0 (* 2 Y_1)) -0.125))))
(assert (<= Y_0 10))
(assert (or (<= (- X_0 (* 0.5 X_1)) Y_1) (>= (+ X_0 X_1) -1)))
"""
WORDS = [
    "(",
    ")",
    " ",
    "\n",
    ";",
    "and",
    "or",
    "assert",
    "X_0",
    "X_9",
    "Y_1",
    "0",
    "-",
    "1e309",
    "nan",
    "<=",
    "*",
]


def delete(text: str, noise: random.Random) -> str:
    start = noise.randrange(len(text))
    return text[:start] + text[start + noise.choice([1, 1, 2, 5, 40]) :]


def insert(text: str, noise: random.Random) -> str:
    at = noise.randrange(len(text))
    return text[:at] + noise.choice(WORDS) + text[at:]


def replace(text: str, noise: random.Random) -> str:
    at = noise.randrange(len(text))
    return text[:at] + chr(noise.choice([noise.randrange(128), noise.randrange(0x3000)])) + text[at + 1 :]


def repeat(text: str, noise: random.Random) -> str:
    start = noise.randrange(len(text))
    return text[:start] + text[start : start + noise.randrange(60)] * noise.choice([2, 3, 50]) + text[start:]


def swap(text: str, noise: random.Random) -> str:
    words = text.split(" ")
    i, j = noise.randrange(len(words)), noise.randrange(len(words))
    words[i], words[j] = words[j], words[i]
    return " ".join(words)


def exchange(text: str, noise: random.Random) -> str:
    """Another number, relation or variable of the text instead of one: still well formed, as a rule."""
    kind = noise.choice(
        [r"(?<=[ (])-?\d[\d.]*(?=[ )])", r"(?<=\()[<>!=]=?(?= )", r"[XYUVH](?:_\d|\[[\d,]+\])"]
    )
    found = list(re.finditer(kind, text))
    if not found:
        return text
    old, new = noise.choice(found), noise.choice(found)[0]
    return text[: old.start()] + new + text[old.end() :]


MUTATIONS: list[Callable[[str, random.Random], str]] = [delete, insert, replace, repeat, swap]
MUTATIONS += [exchange] * 3


def damaged(text: str, seed: int) -> str:
    """The text after one or a few mutations."""
    noise = random.Random(seed)
    for _ in range(noise.choice([1, 1, 2, 4])):
        text = noise.choice(MUTATIONS)(text, noise) or " "
    return text


@pytest.mark.parametrize("block", range(10))
def test_damaged_text(block: int) -> None:
    generator = torch.Generator().manual_seed(block)
    x = 1.2 * torch.rand(20, 2, generator=generator, dtype=torch.float64) - 0.3
    y = 12 * torch.rand(20, 2, generator=generator, dtype=torch.float64) - 6
    parsed = 0
    for seed in range(100 * block, 100 * block + 100):
        text = damaged(TEXT, seed)
        start = time.monotonic()
        try:
            found = parse_vnnlib(text)
            assert isinstance(found, VnnlibProperty)
        except RobustBenchError as error:
            assert str(error) and error.code != "E-ERROR"
            assert not isinstance(error, SpecError) or error.where
        else:
            parsed += 1
            with suppress(EmptySetError):  # conditions on several inputs may contradict each other
                found.queries(nn.Identity(), (found.inputs,), found.outputs)
            if (found.inputs, found.outputs) == (2, 2):  # what is accepted means what it says
                expected = unsafe(statements(text.replace("\r", "\n")), x.numpy(), y.numpy())
                assert found.unsafe(x, y).tolist() == expected.tolist(), text
        assert time.monotonic() - start < 5
    assert 10 < parsed < 90


@pytest.mark.parametrize(
    "text",
    [
        "(" * 500_000,
        ")" * 500_000,
        " " * 500_000 + "(",
        "(assert" + " " * 500_000,
        "(and " * 200_000,
        "(assert (<= X_0 " + "9" * 100_000,
        "X" * 1_000_000,
        ";" * 1_000_000,
        "(" + " " * 500_000 + "x",
        "(declare-const X_0 Real)" * 2 + "\n" * 500_000,
        "(assert (<= " + "- " * 300_000,
    ],
    ids=range(11),
)
def test_long_nonsense_is_refused_at_once(text: str) -> None:
    start = time.monotonic()
    with pytest.raises(RobustBenchError) as caught:
        parse_vnnlib(text)
    assert time.monotonic() - start < 5 and len(str(caught.value)) < 400


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_damaged_archives(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    packed, path = pack(TEXT.encode() * 3), tmp_path / "p.vnnlib.gz"
    for seed in range(50):
        noise = random.Random(seed)
        data = bytearray(packed)
        data[noise.randrange(2, len(data))] ^= 1 << noise.randrange(8)
        path.write_bytes(data[: noise.choice([len(data), len(data), noise.randrange(len(data))])])
        with pytest.raises(RobustBenchError):  # even the intact text declares its variables three times
            read_vnnlib(path)

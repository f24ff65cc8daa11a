"""Damaged VNN-LIB 2 files give a located error or a property that means what the text says, at once."""

from __future__ import annotations

import re
import time
from contextlib import suppress

import numpy as np
import pytest

from robustbench_local.errors import RobustBenchError, SpecError
from robustbench_local.specs import Vnnlib2Property, parse_vnnlib

from ..evaluation import statements, truth
from ..test_mutations import damaged

TEXT = """; Two networks, mixed conditions, arithmetic
(vnnlib-version <2.1>)
(declare-network f
    (declare-input X real [1,2]) (declare-hidden H real [2] "relu")
    (declare-output Y real [2]))
(declare-network g (equal-to f)
    (declare-input U real [1,2])
    (declare-output V real [2]))
(assert (>= X[0,0] -0.25)) (assert (<= X[0,0] 0.75))
(assert (and (<= X[0,1] 0.5) (>= X[0,1] -1.0))) ; inline
(assert (== X[0,0] U[0,0]))
(assert (and (<= U[0,1] 1.0) (>= U[0,1] X[0,1])))
(assert (or
  (and (<= X[0,0] 0.5) (>= Y[0] V[1]) (< Y[1] 3.0))
  (and (> X[0,0] 0.5) (!= (+ Y[0] (* 2.0 V[1] H[1])) -0.125))))
(assert (<= Y[0] 10.0))
"""
SHAPES = {"X": (1, 2), "H": (2,), "Y": (2,), "U": (1, 2), "V": (2,)}


def _index(found: re.Match[str]) -> str:
    return f"[{','.join(str(int(item)) for item in found[1].split(','))}]"


def expected(text: str, values: dict[str, np.ndarray]) -> list[bool]:
    """The truth by the independent evaluator, which knows elements as words."""
    plain = re.sub(r'"[^"]*"|;[^\n\r]*', "", text).replace("\r", "\n")
    plain = re.sub(r"\s*\[\s*([\d\s,]*?)\s*\](?=[\s)A-Za-z\d-])", _index, plain)
    plain = re.sub(r"\](?=[A-Za-z\d-])", "] ", plain)
    plain = re.sub(r"\((<=|>=|==|!=|<|>)(?=[A-Za-z\d-])", r"(\1 ", plain)
    columns = {
        f"{name}[{','.join(map(str, index))}]": array[(slice(None), *index)]
        for name, array in values.items()
        for index in np.ndindex(*SHAPES[name])
    }
    asserted = [s[1] for s in statements(plain) if s[0] == "assert"]
    return np.all([truth(part, columns, 20) for part in asserted], axis=0).tolist()


@pytest.mark.parametrize("block", range(10))
def test_damaged_text(block: int) -> None:
    noise = np.random.default_rng(block)
    values = {name: noise.choice([-1.0, -0.25, 0.0, 0.5, 0.75, 3.0], (20, *s)) for name, s in SHAPES.items()}
    parsed = 0
    for seed in range(100 * block, 100 * block + 100):
        text = damaged(TEXT, seed + 10_000)
        start = time.monotonic()
        try:
            found = parse_vnnlib(text)
        except RobustBenchError as error:
            assert str(error) and error.code != "E-ERROR"
            assert not isinstance(error, SpecError) or error.where
            found = None
        if isinstance(found, Vnnlib2Property):
            parsed += 1
            with suppress(RobustBenchError):
                found.spec()
            if {t.name: t.shape for t in found.declared.tensors.values()} == SHAPES:
                assert found.evaluate(values).tolist() == expected(text, values), text
        assert time.monotonic() - start < 5
    assert 10 < parsed < 90


@pytest.mark.parametrize(
    "text",
    [
        "(" * 500_000,
        "(assert" + " " * 500_000,
        "(declare-network " * 200_000,
        "(declare-network f (declare-input X real [" + "1," * 300_000,
        "(declare-network f (declare-input X real [2]) (declare-output Y real [2])) (assert (<= X["
        + "1," * 300_000,
        "(declare-network f (declare-input X real [2]) (declare-output Y real [2])) (assert (<= X[0] "
        + "9" * 100_000,
        '(declare-network f (declare-input X real [2]) (declare-hidden H real [2] "' + "\\" * 500_001,
        "(declare-network f (declare-input X real [99999999999,99999999999]) (declare-output Y real [2]))",
        "(declare-network f (declare-input X real [2]) (declare-output Y real [2])) (assert (<= ("
        + "- " * 300_000,
        "[" * 500_000,
    ],
    ids=range(10),
)
def test_long_nonsense_is_refused_at_once(text: str) -> None:
    start = time.monotonic()
    with pytest.raises(RobustBenchError) as caught:
        parse_vnnlib("(vnnlib-version <2.0>)" + text)
    assert time.monotonic() - start < 5 and len(str(caught.value)) < 400

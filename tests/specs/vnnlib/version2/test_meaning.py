"""Random VNN-LIB 2 text means what the oracle's tree says, in any layout, and keeps it when printed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustbench_local.specs import Vnnlib2Property, parse_vnnlib

from . import oracle
from .random_queries import Program, programs, torn


def read(text: str) -> Vnnlib2Property:
    found = parse_vnnlib(text)
    assert isinstance(found, Vnnlib2Property)
    return found


@settings(max_examples=120)
@given(programs(), st.integers(0, 2**16))
def test_text_means_what_the_oracle_says(program: Program, seed: int) -> None:
    points = program.points(seed, 100)
    found = read(program.text)
    expected = oracle.evaluate(program.text, points).tolist()
    assert found.evaluate(points).tolist() == expected
    assert found.evaluate(points, exact=True).tolist() == expected
    # the canonical text: the same truth for us and for the oracle, and a fixed point
    assert oracle.evaluate(found.text, points).tolist() == expected
    again = read(found.text)
    assert again.text == found.text and again.id == found.id


@settings(max_examples=60)
@given(programs(), st.integers(0, 2**16))
def test_layout_changes_nothing(program: Program, seed: int) -> None:
    """Runs of literals take the fast path, torn text the general one."""
    assert read(torn(program.text, seed)).text == read(program.text).text


@pytest.mark.parametrize("size", [1 << 12, 64, 1])
def test_pieces_of_any_size_give_the_same_value(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "(vnnlib-version <2.0>)\n(declare-network f\n"
    text += "(declare-input X real\n[1,40])(declare-output Y real [2]))\n"
    text += "".join(f"(assert\n(<= X[0,{i}] {i}.5))(assert (>= X[0,{i}]\n 0.25))\n\n" for i in range(40))
    text += "(assert (or (and (<= Y[0] 1.0)\n\n(<= X[0,0] 0.3)) (>= Y[1] 3.0)))"
    expected = read(text).id
    monkeypatch.setattr("robustbench_local.specs.vnnlib.source._PIECE", size)
    assert read(text).id == expected

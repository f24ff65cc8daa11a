"""Written properties: read again they have the same truth; strict tools accept them; nothing gets smaller."""

from __future__ import annotations

import gzip
import lzma
import math
import re
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.specs.vnnlib.decimals import at_least, at_most, decimal, exactly

from robustbench_local.errors import DataError, EmptySetError, SpecError
from robustbench_local.specs import (
    Vnnlib2Property,
    VnnlibProperty,
    parse_vnnlib,
    read_vnnlib,
    write_vnnlib,
)

from ..evaluation import Sexpr, statements, text_of, unsafe
from ..test_meaning import X, Y, points, programs
from ..version2 import oracle
from ..version2.random_queries import Program
from ..version2.random_queries import programs as programs2

DECLARED = "".join(f"(declare-const {v} Real)\n" for v in ("X_0", "X_1", "Y_0", "Y_1", "Y_2"))
BOX = "(assert (>= X_0 0)) (assert (<= X_0 1)) (assert (>= X_1 -0.1)) (assert (<= X_1 0.5))\n"


# the form that every tool reads: literals of two sides, X first, clauses inside one `or`
NUMBER = r"-?[0-9]+\.[0-9]+"
INPUT, OUTPUT = rf"\([<>]= X_[0-9]+ {NUMBER}\)", rf"\([<>]= Y_[0-9]+ (?:Y_[0-9]+|{NUMBER})\)"
LITERAL = rf"(?:{INPUT}|{OUTPUT})"
NARROW = re.compile(
    rf"(?:\(declare-const [XY]_[0-9]+ Real\)\n)+(?:\(assert {LITERAL}\)\n)+"
    rf"(?:\(assert \(or\n(?:    \(and {LITERAL}(?: {LITERAL})*\)\n)+\)\)\n)?"
)


def first(*asserted: str) -> VnnlibProperty:
    found = parse_vnnlib(DECLARED + BOX + "\n".join(f"(assert {a})" for a in asserted))
    assert isinstance(found, VnnlibProperty)
    return found


def written(found: object, folder: Path, version: str, **options: object) -> str:
    path = folder / "p.vnnlib"
    write_vnnlib(found, path, version, **options)  # type: ignore[arg-type]
    return path.read_text()


def test_the_whole_text_of_both_versions(tmp_path: Path) -> None:
    found = first("(or (and (<= X_0 0.25) (< Y_0 2)) (and (>= X_0 0.75) (>= Y_0 Y_2) (<= Y_1 -1e-3)))")
    assert written(found, tmp_path, "1.0") == (
        "(declare-const X_0 Real)\n(declare-const X_1 Real)\n(declare-const Y_0 Real)\n"
        "(declare-const Y_1 Real)\n(declare-const Y_2 Real)\n"
        "(assert (>= X_1 -0.10000000000000000556))\n(assert (<= X_1 0.5))\n"
        "(assert (or\n    (and (>= X_0 0.0) (<= X_0 0.25) (<= Y_0 2.0))\n"
        "    (and (>= X_0 0.75) (<= X_0 1.0) (<= Y_1 -0.001) (>= Y_0 Y_2))\n))\n"
    )
    assert written(found, tmp_path, "2.0", input_shape=(1, 2), output_shape=(3,)) == (
        "(vnnlib-version <2.0>)\n(declare-network f\n    (declare-input X real [1,2])\n"
        "    (declare-output Y real [3])\n)\n"
        "(assert (>= X[0,1] -0.10000000000000000556))\n(assert (<= X[0,1] 0.5))\n"
        "(assert (or (and (>= X[0,0] 0.0) (<= X[0,0] 0.25) (< Y[0] 2.0)) "
        "(and (>= X[0,0] 0.75) (<= X[0,0] 1.0) (<= Y[1] -0.001) (>= Y[0] Y[2]))))\n"
    )
    single = first("(and (>= Y_0 Y_1) (<= Y_2 0))")
    assert written(single, tmp_path, "1.0").endswith("(assert (<= Y_2 0.0))\n(assert (>= Y_0 Y_1))\n")


@settings(max_examples=80)
@given(programs(), st.integers(0, 2**16))
def test_random_properties_come_back(program: list[Sexpr], seed: int) -> None:
    try:
        found = parse_vnnlib("\n".join(map(text_of, program)))
    except EmptySetError:
        return
    assert isinstance(found, VnnlibProperty)
    x, y = points(seed, 100)
    expected = found.unsafe(torch.from_numpy(x), torch.from_numpy(y)).numpy()
    lines = "".join(f"{line}\n" for line in lines_of(found, "2.0"))
    again = parse_vnnlib(lines)
    assert isinstance(again, Vnnlib2Property) and oracle.accepts(lines)
    values = {"X": x[:, None], "Y": y[:, None]}
    assert again.evaluate(values).tolist() == expected.tolist()
    assert again.flat().unsafe(torch.from_numpy(x), torch.from_numpy(y)).tolist() == expected.tolist()
    try:
        lines = "".join(f"{line}\n" for line in lines_of(found, "1.0"))
    except SpecError as error:
        assert error.code == "E-EXPORT"
        assert any(len(row.columns) + len(row.inputs) > 1 for clause in found.clauses for row in clause.rows)
        return
    assert NARROW.fullmatch(lines)
    reached = unsafe(statements(lines), x, y)  # by the independent evaluator, too
    assert (reached >= expected).all()
    plain = not any(row.strict for clause in found.clauses for row in clause.rows)
    outer, inner = found.boxes.cast(torch.float64), found.boxes.inner(torch.float64)
    if plain and all(torch.equal(a, b) for a, b in zip(outer, inner, strict=True)):
        assert reached.tolist() == expected.tolist()
        once_more = parse_vnnlib(lines)
        assert isinstance(once_more, VnnlibProperty) and len(once_more.clauses) <= len(found.clauses)


def lines_of(found: object, version: str) -> list[str]:
    from robustbench_local.specs.vnnlib.writing.files import _lines

    return list(_lines(found, version, None, None, None))  # type: ignore[arg-type]


@settings(max_examples=60)
@given(programs2(), st.integers(0, 2**16))
def test_random_properties_of_version_2_come_back(program: Program, seed: int) -> None:
    found = parse_vnnlib(program.text)
    assert isinstance(found, Vnnlib2Property)
    text = "".join(f"{line}\n" for line in lines_of(found, "2.0"))
    again = parse_vnnlib(text)
    assert again.id == found.id and oracle.accepts(text)
    values = program.points(seed, 50)
    assert oracle.evaluate(text, values).tolist() == found.evaluate(values).tolist()


def floats() -> st.SearchStrategy[float]:
    bits = st.binary(min_size=8, max_size=8).map(lambda b: float(struct.unpack("d", b)[0]))
    return st.one_of(st.floats(-1e3, 1e3), bits.filter(math.isfinite))


@settings(max_examples=300)
@given(floats())
def test_decimals(value: float) -> None:
    for write in (decimal, exactly, at_least, at_most):
        text = write(value)
        assert float(text) == value and "e" not in text.lower() and "." in text
    assert Fraction(at_most(value)) <= Fraction(value) <= Fraction(at_least(value))
    assert Fraction(exactly(value)) == Fraction(value)
    third = Fraction(value) / 3
    assert Fraction(at_most(third)) <= third <= Fraction(at_least(third))


def test_nothing_is_lost_in_exact_arithmetic(tmp_path: Path) -> None:
    """The faces of the box, and limits of outputs, as rational numbers."""
    noise = np.random.default_rng(0)
    numbers = noise.uniform(-1, 1, 40).tolist()
    text = "".join(f"(declare-const X_{i} Real)" for i in range(20)) + "(declare-const Y_0 Real)"
    text += "".join(
        f"(assert (and (>= X_{i} {a!r}) (<= X_{i} {a + 0.1!r})))" for i, a in enumerate(numbers[:20])
    )
    text += "(assert (or " + " ".join(f"(and (<= (* 3 Y_0) {c!r}))" for c in numbers[20:]) + "))"
    found = parse_vnnlib(text)
    assert isinstance(found, VnnlibProperty)
    for version in ("1.0", "2.0"):
        program = statements(written(found, tmp_path, version).replace("[0,", "_").replace("]", ""))
        bounds = [s[1] for s in program if s[0] == "assert" and s[1][0] in ("<=", ">=")]
        for sign, variable, number in bounds:
            i = int(variable.split("_")[1])
            face = (found.boxes.upper if sign == "<=" else found.boxes.lower)[0, i]
            gap = Fraction(number) - Fraction(float(face))
            assert gap >= 0 if sign == "<=" else gap <= 0


def test_strict_conditions(tmp_path: Path) -> None:
    found = first("(and (< X_0 0.5) (> Y_0 1))")
    again = read_back(found, tmp_path, "2.0")
    assert isinstance(again, Vnnlib2Property) and again.flat().id == found.id
    wider = read_back(found, tmp_path, "1.0")
    assert isinstance(wider, VnnlibProperty)
    x = torch.tensor([[0.5, 0.0]]).double()
    y = torch.tensor([[1.0, 0.0, 0.0]]).double()
    assert wider.unsafe(x, y).tolist() == [True] and found.unsafe(x, y).tolist() == [False]


def read_back(
    found: object, folder: Path, version: str, **options: object
) -> VnnlibProperty | Vnnlib2Property:
    written(found, folder, version, **options)
    return read_vnnlib(folder / "p.vnnlib")


def test_bounds_on_the_grid_of_a_tool(tmp_path: Path) -> None:
    found = first("(<= Y_0 0.1)")
    for version in ("1.0", "2.0"):
        again = read_back(found, tmp_path, version, grid=torch.float32)
        again = again.flat() if isinstance(again, Vnnlib2Property) else again
        for mine, theirs, sign in (
            (again.boxes.lower, found.boxes.lower, -1),
            (again.boxes.upper, found.boxes.upper, 1),
        ):
            assert torch.equal(mine.float().double(), mine)  # float32 numbers
            assert bool((sign * (mine - theirs) >= 0).all()) and bool(((mine - theirs).abs() < 1e-7).all())
        assert again.clauses == found.clauses


@pytest.mark.parametrize(
    ("asserted", "kind"),
    [
        ("(<= (+ Y_0 Y_1) 1)", "outputs"),
        ("(<= (- Y_0 Y_1) 1)", "outputs"),
        ("(<= Y_0 X_0)", "inputs and outputs"),
        ("(<= X_0 X_1)", "several inputs"),
    ],
)
def test_what_version_1_has_no_words_for(asserted: str, kind: str, tmp_path: Path) -> None:
    found = first(asserted)
    with pytest.raises(SpecError, match=f"a condition is linear in {kind}") as caught:
        written(found, tmp_path, "1.0")
    assert caught.value.code == "E-EXPORT" and "version 2.0" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    again = read_back(found, tmp_path, "2.0")
    assert isinstance(again, Vnnlib2Property) and again.flat().id == found.id


def test_what_is_refused(tmp_path: Path) -> None:
    several = parse_vnnlib(
        "(vnnlib-version <2.1>)(declare-network f (declare-input X real [1])"
        "(declare-input S real [] initialized)(declare-output Y real [1]))(assert (<= X[0] 1.0))"
    )
    with pytest.raises(
        SpecError, match=r"VNN-LIB 1\.0 cannot hold this: the property has 2 inputs"
    ) as caught:
        written(several, tmp_path, "1.0")
    assert caught.value.code == "E-EXPORT"
    with pytest.raises(SpecError, match="no `initialized` inputs"):
        written(several, tmp_path, "2.0")
    assert "initialized" in written(several, tmp_path, "2.1")
    with pytest.raises(SpecError, match=r"there is no version '3\.0'"):
        written(several, tmp_path, "3.0")
    with pytest.raises(DataError, match="cannot write the file"):
        write_vnnlib(several, tmp_path / "nowhere" / "p.vnnlib", "2.1")


def test_files_are_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "p.vnnlib"
    path.write_text("before")
    with pytest.raises(SpecError):
        write_vnnlib(first("(<= Y_0 X_0)"), path, "1.0")
    assert path.read_text() == "before" and list(tmp_path.iterdir()) == [path]
    write_vnnlib(first("(<= Y_0 1)"), path, "1.0")
    assert path.read_text().startswith("(declare-const X_0 Real)\n")


@pytest.mark.parametrize(("suffix", "unpack"), [(".gz", gzip.decompress), (".xz", lzma.decompress)])
def test_compressed_files(suffix: str, unpack: object, tmp_path: Path) -> None:
    found, path = first("(<= Y_0 Y_1)"), tmp_path / f"p.vnnlib{suffix}"
    write_vnnlib(found, path)
    assert callable(unpack)
    assert unpack(path.read_bytes()).decode() == written(found, tmp_path, "1.0")
    assert read_vnnlib(path).id == found.id
    before = path.read_bytes()
    write_vnnlib(found, path)
    assert path.read_bytes() == before  # no times inside


def test_every_input_is_unsafe(tmp_path: Path) -> None:
    found = first()
    for version in ("1.0", "2.0"):
        again = read_back(found, tmp_path, version)
        again = again.flat() if isinstance(again, Vnnlib2Property) else again
        assert again.id == found.id
    assert (X, Y) == (3, 2)

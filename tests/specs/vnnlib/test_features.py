"""Each construct that is read, in a few lines of text, against numbers worked out by hand."""

from __future__ import annotations

import gzip
import lzma
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.errors import ShapeError
from robustbench_local.specs import All, Any, Atom, VnnlibProperty, parse_vnnlib, read_vnnlib

DECLARED = "".join(f"(declare-const {v} Real)\n" for v in ("X_0", "X_1", "Y_0", "Y_1", "Y_2"))
BOUNDED = "(assert (>= X_0 0)) (assert (<= X_0 1))\n(assert (>= X_1 -1e-1)) (assert (<= X_1 .5))\n"


def property_of(*lines: str) -> VnnlibProperty:
    return parse_vnnlib(DECLARED + BOUNDED + "\n".join(lines))


def rows_of(
    found: VnnlibProperty, clause: int = 0
) -> tuple[list[list[float]], list[float], tuple[bool, ...]]:
    C, d, strict = found.clauses[clause].matrix(found.outputs)
    return C.tolist(), d.tolist(), strict


def test_a_box_and_one_row() -> None:
    found = property_of("(assert (<= Y_0 Y_2))")
    assert (found.inputs, found.outputs, found.notes) == (2, 3, ())
    assert found.boxes.lower.tolist() == [[0.0, -0.1]] and found.boxes.upper.tolist() == [[1.0, 0.5]]
    assert rows_of(found) == ([[-1.0, 0.0, 1.0]], [0.0], (False,))


@pytest.mark.parametrize(
    ("text", "C", "d", "strict"),
    [
        ("(<= Y_0 2)", [[-1, 0, 0]], [2], (False,)),
        ("(>= Y_0 2)", [[1, 0, 0]], [-2], (False,)),
        ("(< Y_0 2)", [[-1, 0, 0]], [2], (True,)),
        ("(> Y_0 2)", [[1, 0, 0]], [-2], (True,)),
        ("(= Y_0 2)", [[1, 0, 0], [-1, 0, 0]], [-2, 2], (False, False)),
        ("(<= 2 Y_0)", [[1, 0, 0]], [-2], (False,)),
        ("(< 2 Y_0)", [[1, 0, 0]], [-2], (True,)),
        ("(= 2 Y_0)", [[1, 0, 0], [-1, 0, 0]], [-2, 2], (False, False)),
        ("(>= Y_1 Y_0)", [[-1, 1, 0]], [0], (False,)),
        ("(<= (+ Y_0 (* 2 Y_1)) (- 3 Y_2))", [[-1, -2, -1]], [3], (False,)),
        ("(>= (* (- 2) Y_0 0.5) (- Y_0 1 Y_1))", [[-2, 1, 0]], [1], (False,)),
        ("(>= (- Y_0) (* (+ 1 1) (- Y_1 4)))", [[-1, -2, 0]], [8], (False,)),
        ("(and (<= Y_0 2) (and (>= Y_1 +1.5e0)))", [[-1, 0, 0], [0, 1, 0]], [2, -1.5], (False, False)),
        ("(and (<= Y_0 Y_0) (<= 0.5 1) (<= Y_0 2))", [[-1, 0, 0]], [2], (False,)),
        ("(<= (+ Y_0 X_0) (+ 2 X_0))", [[-1, 0, 0]], [2], (False,)),
    ],
)
def test_conditions_on_outputs(
    text: str, C: list[list[float]], d: list[float], strict: tuple[bool, ...]
) -> None:
    assert rows_of(property_of(f"(assert {text})")) == (C, d, strict)


@pytest.mark.parametrize(
    ("text", "lower", "upper"),
    [
        ("(<= X_0 0.3)", 0.0, 0.3),
        ("(>= 0.3 X_0)", 0.0, 0.3),
        ("(= X_0 0.3)", 0.3, 0.3),
        ("(<= (* -2 X_0) -1)", 0.5, 1.0),
        ("(>= (+ X_0 0.25) (- 0.75 X_0))", 0.25, 1.0),
        ("(and (<= X_0 0.75) (>= X_0 0.5))", 0.5, 0.75),
    ],
)
def test_bounds_of_inputs(text: str, lower: float, upper: float) -> None:
    found = property_of(f"(assert {text})", "(assert (>= Y_0 0))")
    assert (float(found.boxes.lower[0, 0]), float(found.boxes.upper[0, 0])) == (lower, upper)


def test_strict_bounds_exclude_their_value() -> None:
    found = property_of("(assert (< X_0 0.5))", "(assert (> X_0 0.25))", "(assert (>= Y_0 0))")
    assert float(found.boxes.lower[0, 0]) == 0.25 and float(found.boxes.upper[0, 0]) == 0.5
    values = [0.25, math.nextafter(0.25, 1), math.nextafter(0.5, 0), 0.5]
    x = torch.tensor([[value, 0.0] for value in values], dtype=torch.float64)
    assert found.unsafe(x, torch.ones(4, 3)).tolist() == [False, True, True, False]


def test_a_bound_between_two_floats_holds_the_floats_inside() -> None:
    found = property_of("(assert (<= (* 3 X_0) 1))", "(assert (>= Y_0 0))")  # 1/3 is no float64
    below = 1 / 3  # as a float64 it is less than the real 1/3
    upper = float(found.boxes.upper[0, 0])
    assert upper == math.nextafter(below, 1)
    x = torch.tensor([[below, 0.0], [upper, 0.0]], dtype=torch.float64)
    assert found.unsafe(x, torch.ones(2, 3)).tolist() == [True, False]


def test_literals_are_the_nearest_float64() -> None:
    for number in ("0.1", "1e-320", "-0.0", "123456789012345678901234567890", "0.30000000000000001665"):
        found = parse_vnnlib(
            "(declare-const X_0 Real)(declare-const Y_0 Real)"
            f"(assert (<= X_0 {number}))(assert (>= X_0 {number}))(assert (<= Y_0 {number}))"
        )
        assert found.boxes.lower.item() == found.boxes.upper.item() == float(number)
        assert rows_of(found)[1] == [float(number)]


def test_branches_have_boxes_of_their_own() -> None:
    found = property_of(
        "(assert (or (and (<= X_0 0.5) (<= Y_0 1)) (and (>= X_0 0.5) (>= Y_0 2))",
        "            (and (<= X_0 0.5) (>= Y_0 3))))",
    )
    assert [c.box for c in found.clauses] == [0, 1, 0]
    assert found.boxes.lower.tolist() == [[0, -0.1], [0.5, -0.1]]
    assert found.boxes.upper.tolist() == [[0.5, 0.5], [1, 0.5]]


def test_several_disjunctions_multiply_out() -> None:
    found = property_of(
        "(assert (or (<= X_0 0.25) (and (>= X_0 0.75))))",
        "(assert (or (<= Y_0 1) (or (>= Y_1 2) (and (<= Y_1 0) (or (>= Y_2 5) (>= Y_2 Y_1))))))",
    )
    assert found.boxes.batch == 2 and len(found.clauses) == 8
    (query,) = found.queries(nn.Identity(), (2,), 3)
    assert query.batch == 2 and query.C.shape == (2, 5, 3)
    a, b, c, d, e = (Atom(i, strict=False) for i in range(5))
    assert query.tree == Any((a, b, All((c, d)), All((c, e))))


def test_an_empty_branch_is_dropped_and_noted() -> None:
    found = property_of("(assert (or (and (<= X_0 -1)\n (<= Y_0 1)) (<= Y_1 1) (and (<= 2 1) (<= Y_2 1))))")
    assert [c.rows[0].columns for c in found.clauses] == [(1,)]
    assert found.notes == (
        "X_0 >= 0.0 (line 6) contradicts X_0 <= -1.0 (line 8)",
        "a comparison of numbers is false (line 9)",
    )


def test_without_output_conditions_every_input_is_unsafe() -> None:
    found = property_of()
    (query,) = found.queries(nn.Linear(2, 3).double(), (2,), 3)
    assert bool(query.violated(found.boxes.centre()).all()) and query.tree == Atom(0, True)


def test_comments_tabs_and_odd_layout() -> None:
    dense = parse_vnnlib(
        "(declare-const X_0 Real)(declare-const Y_0 Real)(assert(and(<= X_0 1)(>= X_0 0)(<= Y_0 2)))"
    )
    loose = parse_vnnlib(
        "; é (assert (<= X_0 -5))\r\n(declare-const\tX_0 ; comment\n Real )\r(declare-const Y_0 Real)\n"
        "( assert ; (((\n ( and (<= X_0 ; why\n 1)\n(>= X_0\n\t0)( <= Y_0 2 ) ) )\n\n   "
    )
    marked = parse_vnnlib(
        "\ufeff(vnnlib-version <1.0>)(declare-const Y_0 Real)(declare-const X_0 Real)"
        "(assert (<= X_0 1))(assert (>= X_0 0)) (assert (<= Y_0 2)) (assert (<= X_0 3))"
    )
    assert dense.id == loose.id == marked.id
    assert dense.id != property_of("(assert (<= Y_0 2))").id


@pytest.mark.parametrize(("name", "pack"), [("p.vnnlib.gz", gzip.compress), ("p.vnnlib.xz", lzma.compress)])
def test_compressed_files(name: str, pack: object, tmp_path: Path) -> None:
    assert callable(pack)
    text = (DECLARED + BOUNDED + "(assert (<= Y_0 2))").encode()
    plain, packed = tmp_path / "p.vnnlib", tmp_path / name
    plain.write_bytes(text)
    packed.write_bytes(pack(text))
    assert read_vnnlib(packed).id == read_vnnlib(str(plain)).id


def test_queries_fill_the_input_in_row_major_order() -> None:
    text = "".join(f"(declare-const X_{i} Real)" for i in range(4)) + "(declare-const Y_0 Real)"
    text += "".join(f"(assert (= X_{i} {i}))" for i in range(4)) + "(assert (>= Y_0 2.5))"
    (query,) = parse_vnnlib(text).queries(lambda x: x[:, 0, 1, 0].unsqueeze(1), (1, 2, 2), 1)
    assert query.inputs.centre().tolist() == [[[[0, 1], [2, 3]]]]
    assert query.violation(query.inputs.centre()).tolist() == [-0.5]


def test_boxes_with_equal_trees_are_one_query() -> None:
    branches = [f"(and (<= X_0 0.{k}) (>= X_0 0.{k}) (<= Y_0 {k}) (>= Y_1 {k}))" for k in range(1, 6)]
    found = property_of(f"(assert (or {' '.join(branches)} (and (<= X_0 0.7) (> Y_0 7))))")
    first, second = found.queries(nn.Identity(), (2,), 3)
    assert (first.batch, second.batch) == (5, 1)
    assert first.d.tolist() == [[k, -k] for k in range(1, 6)]
    assert second.tree == Atom(0, True) and first.id != second.id
    assert first.inputs.box().upper[:, 0].tolist() == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_queries_say_which_size_does_not_fit() -> None:
    found = property_of("(assert (<= Y_0 2))")
    with pytest.raises(ShapeError, match=r"2 X, the network 4 \(input shape \(2, 2\)\)"):
        found.queries(nn.Identity(), (2, 2), 3)
    with pytest.raises(ShapeError, match="3 Y, the network 4"):
        found.queries(nn.Identity(), (2,), 4)
    with pytest.raises(ShapeError, match=r"expected \(N, 2\)"):
        found.unsafe(torch.zeros(1, 3), torch.zeros(1, 3))


def test_queries_agree_with_the_unsafe_set() -> None:
    found = property_of(
        "(assert (or (and (<= X_0 0.5) (<= Y_0 0.2)) (and (>= X_0 0.5) (> Y_1 Y_2))",
        "            (and (<= X_0 0.5) (>= Y_2 0.9))))",
    )
    generator = torch.Generator().manual_seed(0)

    def network(x: Tensor) -> Tensor:
        return torch.stack([x[:, 0] * 0.9, x[:, 1] - x[:, 0] + 0.3, x.sum(1)], 1)

    (query, other) = found.queries(network, (2,), 3)
    for part in (query, other):
        for _ in range(20):
            x = part.inputs.sample(torch.rand(1, 2, generator=generator, dtype=torch.float64), torch.zeros(1))
            assert part.violated(x).tolist() == found.unsafe(x, network(x)).tolist()

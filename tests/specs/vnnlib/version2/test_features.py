"""Each construct of VNN-LIB 2 in a few lines of text, against values worked out by hand."""

from __future__ import annotations

import gzip
import lzma
import math
from pathlib import Path

import pytest
import torch

from robustbench_local.errors import EmptySetError, SpecError, UnboundedSetError
from robustbench_local.specs import Vnnlib2Property, VnnlibProperty, parse_vnnlib, read_vnnlib

from . import oracle

SMALL = "(declare-network f (declare-input X real [2]) (declare-output Y real [2]))\n"
MONOTONE = """; two runs of one network, a monotone input
(vnnlib-version <2.1>)
(declare-network f
    (declare-input A float32 [1,2]) (declare-input S float32 [] initialized)
    (declare-hidden H float32 [1,4] "layer;1/\\"relu\\"")
    (declare-output Y float32 [1,2]))
(declare-network g (equal-to f) (declare-input B float32 [1,2]) (declare-input T float32 [])
    (declare-output Z float32 [1,2]))
(declare-network h (isomorphic-to f) (declare-input C float16 [1,2]) (declare-input R float16 [])
    (declare-output W float16 [1,2]))
(assert (and (<= A[0,0] B[0,0]) (== A[0,1] B[0,1])))
(assert (or (> Y[0,0] Z[0,0]) (!= H[0,3] 0.5) (and (< S 1) (>= (* 2 T T) (- (+ S 1.5 T))))))
"""


def read(*asserted: str, declared: str = SMALL) -> Vnnlib2Property:
    text = f"(vnnlib-version <2.0>)\n{declared}" + "".join(f"(assert {a})\n" for a in asserted)
    found = parse_vnnlib(text)
    assert isinstance(found, Vnnlib2Property)
    return found


def test_networks_and_tensors() -> None:
    found = parse_vnnlib(MONOTONE, name="m.vnnlib")
    assert isinstance(found, Vnnlib2Property)
    f, g, h = found.networks
    assert (f.name, g.equal_to, h.isomorphic_to, f.equal_to) == ("f", "f", "f", None)
    assert [t.name for t in f.tensors] == ["A", "S", "H", "Y"]
    hidden = f.hidden[0]
    assert (hidden.node, hidden.shape, str(hidden.type)) == ('layer;1/"relu"', (1, 4), "float32")
    assert [t.initialized for t in f.inputs] == [False, True] and f.inputs[1].shape == ()
    assert found.version == "2.1" and h.inputs[0].type.name == "float16"
    assert repr(found) == (
        "Vnnlib2Property('m.vnnlib', f: float32[1, 2], float32[] -> float32[1, 2], "
        "g: float32[1, 2], float32[] -> float32[1, 2], h: float16[1, 2], float16[] -> float16[1, 2])"
    )
    again = parse_vnnlib(found.text)
    assert isinstance(again, Vnnlib2Property) and again.id == found.id


def test_truth_by_hand() -> None:
    found = parse_vnnlib(MONOTONE)
    assert isinstance(found, Vnnlib2Property)
    same = {"A": [[[0.0, 1.0]]], "B": [[[0.5, 1.0]]], "C": [[[0.0, 0.0]]], "R": [0.0], "W": [[[0.0, 0.0]]]}
    rest = {"S": [2.0], "T": [1.0], "Y": [[[1.0, 0.0]]], "Z": [[[2.0, 0.0]]], "H": [[[0.0, 0.0, 0.0, 0.5]]]}
    base = {**same, **rest}
    changes: list[tuple[dict[str, object], bool]] = [
        ({}, False),  # no branch of the OR
        ({"Y": [[[3.0, 0.0]]]}, True),  # the first
        ({"H": [[[0.0, 0.0, 0.0, 0.75]]]}, True),  # the second
        ({"S": [-1.0], "T": [0.25]}, False),  # 0.125 >= -0.75 holds, S < 1 too ...
        ({"B": [[[-0.5, 1.0]]], "Y": [[[3.0, 0.0]]]}, False),  # A > B
        ({"B": [[[0.5, 1.5]]], "Y": [[[3.0, 0.0]]]}, False),  # A[0,1] != B[0,1]
        ({"Y": [[[math.nan, 0.0]]]}, False),
        ({"Y": [[[math.inf, 0.0]]]}, False),
    ]
    changes[3] = (changes[3][0], True)
    for change, expected in changes:
        assert found.evaluate({**base, **change}).tolist() == [expected]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("relation", "expected"),
    [
        ("<", [True, False, False]),
        ("<=", [True, True, False]),
        (">", [False, False, True]),
        (">=", [False, True, True]),
        ("==", [False, True, False]),
        ("!=", [True, False, True]),
    ],
)
def test_relations_in_literals_and_in_general(relation: str, expected: list[bool]) -> None:
    values = {"X": [[0.0, 0.0]] * 3, "Y": [[0.25, 0.0], [0.5, 0.0], [0.75, 0.0]]}
    turned = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(relation, relation)
    for text in (f"({relation} Y[0] 0.5)", f"({turned} 0.5 Y[0])", f"({relation} (+ Y[0] X[0]) (* 1.0 0.5))"):
        assert read(text).evaluate(values).tolist() == expected


def test_exact_evaluation_sees_what_float64_rounds() -> None:
    found = read("(> (+ X[0] X[1]) Y[0])")
    values = {"X": [[1.0, 2.0**-80]], "Y": [[1.0, 0.0]]}
    assert found.evaluate(values).tolist() == [False]
    assert found.evaluate(values, exact=True).tolist() == [True]


@pytest.mark.parametrize(("name", "pack"), [("p.vnnlib.gz", gzip.compress), ("p.vnnlib.xz", lzma.compress)])
def test_compressed_files(name: str, pack: object, tmp_path: Path) -> None:
    assert callable(pack)
    plain, packed = tmp_path / "p.vnnlib", tmp_path / name
    plain.write_text(MONOTONE)
    packed.write_bytes(pack(MONOTONE.encode()))
    one, other = read_vnnlib(plain), read_vnnlib(str(packed))
    assert one.id == other.id and one.name == str(plain)


def test_tokens_may_touch_and_spread() -> None:
    dense = parse_vnnlib(
        "(vnnlib-version<2.0>)(declare-network f(declare-input X real[2])(declare-output Y real[]))"
        "(assert(and(<=X[0]0.5)(>=X[0]-1.0)(<=Y 2.0)))"
    )
    loose = parse_vnnlib(
        "\ufeff;é\n ( vnnlib-version ; why\n <2.0> ) (declare-network\tf\r\n"
        "( declare-input X real [ ; two\n 2 ] )(declare-output Y real [\n]) )\n"
        "(assert (and (<= X [ 0 ; the first\n ] 0.5)\r(>= X[\t0 ] -1.0)(<= Y 2.0) ) )"
    )
    assert dense.id == loose.id


def test_types_of_all_spellings() -> None:
    for name, canonical in (("Real", "real"), ("float", "float32"), ("double", "float64"), ("int4", "int4")):
        found = read("(<= X[0] 1)", declared=SMALL.replace("real", name))
        assert [str(t.type) for t in found.declared.tensors.values()] == [canonical] * 2
    whole = read("(<= (+ X[0] 2 X[1]) Y[0])", declared=SMALL.replace("real", "int64"))
    assert "(<= (+ X[0] 2 X[1]) Y[0])" in whole.text and oracle.accepts(whole.text)


def test_the_flat_form() -> None:
    found = read(
        "(and (>= X[0] 0.0) (<= X[0] 1.0) (>= X[1] -1.0) (< X[1] 2.0))",
        "(or (and (<= X[0] 0.5) (>= Y[0] Y[1])) (!= Y[1] 0.25) (<= (- X[0] (* 2.0 X[1])) -3.0))",
    ).flat()
    same = parse_vnnlib(
        "".join(f"(declare-const {v} Real)" for v in ("X_0", "X_1", "Y_0", "Y_1"))
        + "(assert (and (>= X_0 0) (<= X_0 1) (>= X_1 -1) (< X_1 2)))"
        "(assert (or (and (<= X_0 0.5) (>= Y_0 Y_1)) (< Y_1 0.25) (> Y_1 0.25) (<= (- X_0 (* 2 X_1)) -3)))"
    )
    assert isinstance(same, VnnlibProperty) and found.id == same.id
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randint(-4, 8, (500, 2), generator=generator).double() / 4 for _ in range(2))
    assert found.unsafe(x, y).tolist() == same.unsafe(x, y).tolist()


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (parse_vnnlib(MONOTONE), "has 3 networks"),
        (
            read("(<= X[0] 1.0)", declared=SMALL.replace(") (decl", ") (declare-input S real []) (decl")),
            "has 2 inputs",
        ),
        (read("(<= X[0] 1)", declared=SMALL.replace("real", "int8")), "has an input of integers, `X`"),
        (
            read(
                "(<= X[0] 1.0)", declared=SMALL.replace(") (decl", ') (declare-hidden H real [2] "h") (decl')
            ),
            "has the hidden tensor `H`",
        ),
    ],
    ids=lambda p: p if isinstance(p, str) else "",
)
def test_what_has_no_flat_form(found: Vnnlib2Property, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        found.flat()
    assert caught.value.code == "E-OP"


def test_the_flat_form_has_the_errors_of_version_1() -> None:
    with pytest.raises(UnboundedSetError, match="no upper bound of X_0, X_1"):
        read("(>= X[0] 0.0)", "(>= X[1] 0.0)").flat()
    with pytest.raises(EmptySetError, match=r"X_0 >= 1.0 \(line 3\) contradicts X_0 <= 0.0 \(line 4\)"):
        read("(>= X[0] 1.0)", "(and (<= X[0] 0.0) (== X[1] 0.0))").flat()
    with pytest.raises(SpecError, match="a product of variables is not linear") as caught:
        read("(>= (* X[0] X[0]) 1.0)").flat()
    assert caught.value.code == "E-NONLIN" and (caught.value.where or "").endswith(":3:13")

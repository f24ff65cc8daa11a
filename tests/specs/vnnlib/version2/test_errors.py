"""What breaks the grammar or the types of VNN-LIB 2 is named, with its place, a code and a cure."""

from __future__ import annotations

import pytest

from robustbench_local.errors import RobustBenchError, ShapeError, SpecError
from robustbench_local.specs import Vnnlib2Property, parse_vnnlib

from . import oracle

HEADER = "(vnnlib-version <2.0>)\n"
NETWORK = (
    "(declare-network f (declare-input X real [1,2]) (declare-input S real []) (declare-output Y real [3]))\n"
)
INTEGERS = (
    "(declare-network f (declare-input X float32 [2]) (declare-input B uint8 [2])"
    " (declare-input W string [1]) (declare-output Y float64 [2]))\n"
)


def declared(text: str) -> str:
    """A file that declares this and asserts something right about X."""
    return f"{HEADER}{text}\n(assert (<= X[0] 1.0))"


def network(parts: str) -> str:
    return declared(f"(declare-network f {parts})")


def asserted(text: str, declarations: str = NETWORK) -> str:
    return f"{HEADER}{declarations}(assert {text})"


SHAPES = "(declare-input X real [2]) (declare-output Y real [2])"
COPY = "(declare-input U real [2]) (declare-output V real [2])"
PAIR = f"(declare-network f {SHAPES})\n"

WRONG = {
    # terms and formulas: text, code, message
    "exponent": (asserted("(<= Y[0] 1e-3)"), "E-PARSE", "writes numbers as -12 or 0.5, not `1e-3`"),
    "plus": (asserted("(<= Y[0] +1.0)"), "E-PARSE", "not `+1.0`"),
    "bare point": (asserted("(<= Y[0] .5)"), "E-PARSE", "not `.5`"),
    "single equals": (asserted("(= Y[0] 0.5)"), "E-PARSE", "`=` begins no formula"),
    "negation": (asserted("(not (<= Y[0] 0.5))"), "E-PARSE", "`not` begins no formula"),
    "division": (asserted("(<= (/ Y[0] 2.0) 0.5)"), "E-PARSE", "expected + - or *, found `/`"),
    "maximum": (asserted("(<= (max Y[0] Y[1]) 0.5)"), "E-PARSE", "found `max`"),
    "empty and": (asserted("(and)"), "E-PARSE", "`(and)` holds nothing"),
    "two formulas": (asserted("(<= Y[0] 1.0) (<= Y[1] 1.0)"), "E-PARSE", "expected `)` to end `(assert`"),
    "three terms": (asserted("(<= Y[0] 1.0 2.0)"), "E-PARSE", "expected `)` to end `(<=`, found `2.0`"),
    "undeclared": (asserted("(<= Z[0] 1.0)"), "E-PARSE", "expected a number or a declared tensor, found `Z`"),
    "a network as a term": (asserted("(<= f 1.0)"), "E-PARSE", "found `f`"),
    "huge": (asserted(f"(<= Y[0] {'9' * 400})"), "E-PARSE", "too large for float64"),
    "end": (asserted("(<= Y[0] 1.0")[:-1], "E-PARSE", "the file ends inside"),
    "deep": (asserted("(and " * 120), "E-PARSE", "nested deeper than 100"),
    # indices
    "index outside": (asserted("(<= Y[3] 1.0)"), "E-INDEX", "index `3` is not in 0 .. 2, axis 0 of `Y`"),
    "slow index": (asserted("(<= (+ Y[3]) 1.0)"), "E-INDEX", "index `3` is not in 0 .. 2"),
    "one index too few": (asserted("(<= X[0] 1.0)"), "E-INDEX", "`X` has shape [1,2], the index 1 items"),
    "no index": (asserted("(<= Y 1.0)"), "E-INDEX", "`Y` has shape [3], the index 0 items"),
    "scalar with index": (asserted("(<= S[0] 1.0)"), "E-INDEX", "`S` has shape [], the index 1 items"),
    "empty index": (asserted("(<= Y[] 1.0)"), "E-INDEX", "index `` is not in 0 .. 2"),
    "negative index": (asserted("(<= Y[-1] 1.0)"), "E-INDEX", "index `-1` is not in 0 .. 2"),
    "index with a point": (asserted("(<= Y[1.0] 1.0)"), "E-INDEX", "index `1.0`"),
    "huge index": (asserted(f"(<= Y[{'1' * 5000}] 1.0)"), "E-INDEX", "is not in 0 .. 2"),
    "open index": (asserted("(<= Y[1 1.0)"), "E-PARSE", "expected `,` or `]`, found `1.0`"),
    # types
    "constants only": (asserted("(<= 0.0 1.0)"), "E-DTYPE", "a comparison without an element"),
    "two types": (
        asserted("(<= X[0] Y[0])", INTEGERS),
        "E-DTYPE",
        "`Y` is of type float64, `X` of type float32",
    ),
    "types in a sum": (asserted("(<= (+ X[0] Y[0]) 1.0)", INTEGERS), "E-DTYPE", "`Y` is of type float64"),
    "fraction of an integer": (
        asserted("(<= B[0] 0.5)", INTEGERS),
        "E-DTYPE",
        "0.5 is no uint8: it is no integer",
    ),
    "integer with a point": (
        asserted("(<= B[0] 1.0)", INTEGERS),
        "E-DTYPE",
        "1.0 is no uint8: it is no integer",
    ),
    "negative unsigned": (
        asserted("(<= B[0] -1)", INTEGERS),
        "E-DTYPE",
        "-1 is no uint8: it is outside 0 .. 255",
    ),
    "slow range": (asserted("(<= (+ B[0] 256) B[1])", INTEGERS), "E-DTYPE", "it is outside 0 .. 255"),
    "strings": (
        asserted("(<= W[0] 1)", INTEGERS),
        "E-DTYPE",
        "elements of `W`, of type string, cannot be compared",
    ),
    # declarations
    "real mixed": (
        network("(declare-input X real [2]) (declare-output Y float32 [2])"),
        "E-DTYPE",
        "real and ONNX types are mixed",
    ),
    "unknown type": (
        network("(declare-input X flaot32 [2]) (declare-output Y real [2])"),
        "E-DTYPE",
        "`flaot32` is no element type",
    ),
    "dimension 0": (
        network("(declare-input X real [0]) (declare-output Y real [2])"),
        "E-SHAPE",
        "`0` is no dim",
    ),
    "dimension -1": (
        network("(declare-input X real [-1]) (declare-output Y real [2])"),
        "E-SHAPE",
        "`-1` is no",
    ),
    "named dimension": (
        network("(declare-input X real [n]) (declare-output Y real [2])"),
        "E-SHAPE",
        "`n` is no",
    ),
    "blanks as commas": (
        network("(declare-input X real [2 3])"),
        "E-PARSE",
        "expected `,` or `]`, found `3`",
    ),
    "no shape": (
        network("(declare-input X real) (declare-output Y real [2])"),
        "E-PARSE",
        "expected a shape such as",
    ),
    "no output": (network("(declare-input X real [2])"), "E-PARSE", "network `f` has no output"),
    "no input": (network("(declare-output X real [2])"), "E-PARSE", "inputs come before outputs"),
    "order": (
        network(f"{SHAPES} (declare-input S real [2])"),
        "E-PARSE",
        "inputs come before hidden tensors",
    ),
    "hidden last": (
        network(f'{SHAPES} (declare-hidden H real [2] "h")'),
        "E-PARSE",
        "hidden tensors come after",
    ),
    "hidden without a node": (
        network("(declare-input X real [2]) (declare-hidden H real [2]) (declare-output Y real [2])"),
        "E-PARSE",
        "expected the name of a node output of the ONNX file",
    ),
    "open string": (
        network('(declare-input X real [2]) (declare-hidden H real [2] "h) (declare-output Y real [2])'),
        "E-PARSE",
        'found `"`',
    ),
    "bad name": (
        network("(declare-input X-1 real [2]) (declare-output Y real [2])"),
        "E-PARSE",
        "`X-1` is no name",
    ),
    "reserved name": (
        network("(declare-input and real [2]) (declare-output Y real [2])"),
        "E-PARSE",
        "`and` is no",
    ),
    "same names": (
        network("(declare-input X real [2]) (declare-output X real [2])"),
        "E-PARSE",
        "`X` is declared tw",
    ),
    "name of the network": (network("(declare-input f real [2])"), "E-PARSE", "`f` is declared twice"),
    "unknown part": (network("(declare-inputs X real [2])"), "E-PARSE", "`declare-inputs` declares no part"),
    "initialized in 2.0": (
        network("(declare-input X real [2] initialized) (declare-output Y real [2])"),
        "E-PARSE",
        "`initialized` belongs to VNN-LIB 2.1",
    ),
    # several networks
    "equal to nothing": (
        declared(f"{PAIR}(declare-network g (equal-to h) {COPY})"),
        "E-PARSE",
        "`h` is no network",
    ),
    "equal to itself": (
        declared(f"(declare-network g (equal-to g) {SHAPES})"),
        "E-PARSE",
        "`g` is no network decl",
    ),
    "two equivalences": (
        declared(f"{PAIR}(declare-network g (equal-to f) (isomorphic-to f) {COPY})"),
        "E-PARSE",
        "network `g` has two equivalences",
    ),
    "equivalence last": (
        declared(f"{PAIR}(declare-network g {COPY} (equal-to f))"),
        "E-PARSE",
        "`equal-to` comes first",
    ),
    "chain": (
        declared(
            f"{PAIR}(declare-network g (equal-to f) {COPY})\n"
            "(declare-network h (isomorphic-to g) (declare-input P real [2]) (declare-output Q real [2]))"
        ),
        "E-PARSE",
        "network `g` is itself declared by `equal-to`",
    ),
    "other shape": (
        declared(
            f"{PAIR}(declare-network g (equal-to f) (declare-input U real [1,2]) (declare-output V real [2]))"
        ),
        "E-SHAPE",
        "`U` has shape [1, 2], `X` [2]",
    ),
    "other count": (
        declared(f"{PAIR}(declare-network g (isomorphic-to f) {COPY[:27]} {COPY.replace('U', 'U2')})"),
        "E-SHAPE",
        "it has 2 inputs, not 1",
    ),
    "other type": (
        declared(
            "(declare-network f (declare-input X float32 [2]) (declare-output Y float32 [2]))\n"
            "(declare-network g (equal-to f) (declare-input U float16 [2]) (declare-output V float32 [2]))"
        ),
        "E-SHAPE",
        "`U` has type float16, `X` float32",
    ),
    "other hidden": (
        declared(
            '(declare-network f (declare-input X real [2]) (declare-hidden H real [3] "h")'
            " (declare-output Y real [2]))"
            '(declare-network g (equal-to f) (declare-input U real [2]) (declare-hidden K real [4] "h")'
            " (declare-output V real [2]))"
        ),
        "E-SHAPE",
        "`K` has shape [4], `H` [3]",
    ),
    # statements
    "no assertion": (HEADER + NETWORK, "E-PARSE", "no assertion"),
    "no network": (HEADER + "(assert (<= X[0] 1.0))", "E-PARSE", "an assertion before every network"),
    "late network": (
        f"{HEADER}{PAIR}(assert (<= X[0] 1.0))(declare-network g {COPY})",
        "E-PARSE",
        "a network is declared after an assertion",
    ),
    "1.0": (f"{HEADER}(declare-const X_0 Real)", "E-PARSE", "the body uses declare-const, which is 1.0"),
    "1.0 at the end": (
        f"{HEADER}{PAIR}(assert (<= X[0] 1.0))(declare-const X_0 Real)",
        "E-PARSE",
        "which is 1.0",
    ),
    "statement": (f"{HEADER}{PAIR}(check-sat)", "E-PARSE", "unknown statement `check-sat`"),
    "bare word": (
        f"{HEADER}{PAIR}assert",
        "E-PARSE",
        "expected `(declare-network` or `(assert`, found `assert`",
    ),
    "bare header": ("(vnnlib-version 2.0)" + PAIR, "E-PARSE", "no header"),
}
# what the oracle lets pass, against the standard
# what the oracle lets pass, against the standard
LENIENT = {"constants only", "real mixed", "unknown type", "strings", "slow range", "two equivalences"}
LENIENT |= {"other hidden", "negative index", "index with a point"}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named(name: str) -> None:
    text, code, message = WRONG[name]
    with pytest.raises(SpecError) as caught:
        parse_vnnlib(text, name="p.vnnlib")
    error = caught.value
    assert message in str(error) and error.code == code
    assert (error.where or "").startswith("p.vnnlib:") and error.cure
    assert len(str(error)) < 500


@pytest.mark.parametrize("name", WRONG)
def test_the_oracle_refuses_most_of_it_too(name: str) -> None:
    assert oracle.accepts(WRONG[name][0]) == (name in LENIENT)


def test_a_whole_message() -> None:
    with pytest.raises(SpecError) as caught:
        parse_vnnlib(asserted("(or (and (>= Y[0] Y[7])))"), name="p.vnnlib")
    assert str(caught.value) == (
        "index `7` is not in 0 .. 2, axis 0 of `Y`: `(assert (or (and (>= Y[0] Y[7]))))` (p.vnnlib:3:27). "
        "Indices are counted from 0"
    )
    assert caught.value.as_dict()["excerpt"] == "(assert (or (and (>= Y[0] Y[7]))))\n" + " " * 26 + "^"


def test_assignments_are_checked() -> None:
    found = parse_vnnlib(asserted("(<= Y[0] 1.0)"))
    assert isinstance(found, Vnnlib2Property)
    good = {"X": [[[0.0, 0.0]]], "S": [0.0], "Y": [[0.0, 0.0, 0.0]]}
    assert found.evaluate(good).tolist() == [True]
    wrong: list[tuple[dict[str, object], type[RobustBenchError], str]] = [
        ({k: v for k, v in good.items() if k != "S"}, SpecError, "no values of S"),
        ({**good, "Z": [0.0]}, SpecError, "unknown tensors Z"),
        ({**good, "Y": [[0.0, 0.0]]}, ShapeError, r"`Y` has shape \(1, 2\), expected \(N, 3\)"),
        ({**good, "S": 0.0}, ShapeError, r"`S` has shape \(\)"),
        ({**good, "S": [0.0, 1.0]}, ShapeError, "tensors differ in their number of assignments"),
    ]
    for values, kind, message in wrong:
        with pytest.raises(kind, match=message):
            found.evaluate(values)  # type: ignore[arg-type]

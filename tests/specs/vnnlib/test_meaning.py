"""Random properties, printed in random layouts, keep their truth; fast and slow paths give the same value."""

from __future__ import annotations

import random
import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from robustbench_local.errors import EmptySetError
from robustbench_local.specs import VnnlibProperty, parse_vnnlib

from .evaluation import Sexpr, statements, text_of, unsafe

X, Y = 3, 2
GRID = [-1.0, -0.5, 0.0, 0.25, 0.5, 1.0]  # bounds meet points often, and every sum is exact
RELATIONS = ["<=", ">=", "<", ">", "="]


def numbers() -> st.SearchStrategy[str]:
    return st.sampled_from([f(v) for v in GRID for f in (repr, "{:.3e}".format, "{:+}".format)])


def terms(*variables: str) -> st.SearchStrategy[Sexpr]:
    leaves = st.one_of(numbers(), st.sampled_from(variables))

    def wider(inner: st.SearchStrategy[Sexpr]) -> st.SearchStrategy[Sexpr]:
        sums = st.tuples(st.sampled_from("+-"), st.lists(inner, min_size=1, max_size=3))
        scaled = st.tuples(numbers(), inner).map(lambda p: ["*", *p])
        return st.one_of(sums.map(lambda p: [p[0], *p[1]]), scaled)

    return st.recursive(leaves, wider, max_leaves=4)


def formulas() -> st.SearchStrategy[Sexpr]:
    relation = st.sampled_from(RELATIONS)
    inputs = st.tuples(relation, st.sampled_from([f"X_{i}" for i in range(X)]), numbers()).map(list)
    turned = inputs.map(lambda p: [p[0], p[2], p[1]])
    plain = st.tuples(relation, st.sampled_from([f"Y_{i}" for i in range(Y)]), numbers()).map(list)
    ys = [f"Y_{i}" for i in range(Y)]
    outputs = st.tuples(relation, terms(*ys), terms(*ys)).map(list)
    mixed = st.tuples(relation, terms(*ys, "X_0", "X_2"), terms("X_1", *ys)).map(list)

    def wider(inner: st.SearchStrategy[Sexpr]) -> st.SearchStrategy[Sexpr]:
        pair = st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=4))
        return pair.map(lambda p: [p[0], *p[1]])

    return st.recursive(st.one_of(inputs, turned, plain, outputs, mixed), wider, max_leaves=12)


@st.composite
def programs(draw: Any) -> list[Sexpr]:
    """Declarations, a box, and up to four assertions."""
    names = [f"X_{i}" for i in range(X)] + [f"Y_{i}" for i in range(Y)]
    declared: list[Sexpr] = [["declare-const", name, "Real"] for name in draw(st.permutations(names))]
    box: list[Sexpr] = []
    for i in range(X):
        low, high = sorted([draw(st.sampled_from(GRID)), draw(st.sampled_from(GRID))])
        box += [["assert", [">=", f"X_{i}", repr(low)]], ["assert", ["<=", f"X_{i}", repr(high)]]]
    asserted = [["assert", formula] for formula in draw(st.lists(formulas(), max_size=3))]
    return [*declared, *draw(st.permutations(box + asserted))]


def printed(program: list[Sexpr], seed: int) -> str:
    """The program as text; blanks and comments at random places."""
    noise = random.Random(seed)
    gaps = [" ", " ", " ", "\n", "\t", "  ", " ; ) note (\n", "\r\n"]
    words = re.findall(r"[()]|[^\s()]+", "\n".join(map(text_of, program)))
    return "".join(
        word + (noise.choice(gaps) if word not in "()" or noise.random() < 0.2 else "") for word in words
    )


def points(seed: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    grid = np.asarray([*GRID, 0.3, -0.7])
    return generator.choice(grid, (count, X)), generator.choice(grid, (count, Y))


def same(a: VnnlibProperty, b: VnnlibProperty) -> bool:
    return a.id == b.id and a.clauses == b.clauses and a.notes == b.notes


@settings(max_examples=100)
@given(programs(), st.integers(0, 2**16))
def test_text_keeps_its_truth(program: list[Sexpr], seed: int) -> None:
    x, y = points(seed, 100)
    expected = unsafe(program, x, y)
    try:
        found = parse_vnnlib(printed(program, seed))
    except EmptySetError:
        assert not expected.any()
        return
    assert found.unsafe(torch.from_numpy(x), torch.from_numpy(y)).tolist() == expected.tolist()
    assert reached(found, x, y).tolist() == expected.tolist()


def reached(found: VnnlibProperty, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the queries take each point for a counterexample."""
    result = np.zeros(len(x), dtype=bool)
    try:
        queries = found.queries(nn.Identity(), (X,), Y)
    except EmptySetError:
        return result
    for query in queries:
        values = y if query.C.shape[2] == Y else np.concatenate([y, x], 1)
        for b in range(query.batch):
            one = query.select(torch.tensor([b] * len(x)))
            inside = one.inputs.contains(torch.from_numpy(x)).numpy()
            result |= inside & one.violated_by(torch.from_numpy(values)).numpy()
    return result


@settings(max_examples=50)
@given(programs(), st.integers(0, 2**16))
def test_layout_changes_nothing(program: list[Sexpr], seed: int) -> None:
    """Dense text takes the path of single tokens, text with comments inside the general one."""
    dense = "\n".join(map(text_of, program))
    torn = dense.replace(" ", " ; torn\n ").replace("(", "( ;\n")
    results: list[VnnlibProperty | None] = []
    for text in (dense, torn, printed(program, seed)):
        try:
            results.append(parse_vnnlib(text))
        except EmptySetError:
            results.append(None)
    first = results[0]
    if first is None:
        assert results == [None] * 3
    else:
        assert all(r is not None and r.id == first.id and r.clauses == first.clauses for r in results)


@pytest.mark.parametrize("size", [1 << 20, 1 << 12, 64, 1])
def test_pieces_of_any_size_give_the_same_value(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "".join(f"(declare-const X_{i} Real)\n; note\n" for i in range(50)) + "(declare-const Y_0 Real)\n"
    text += "".join(f"(assert\n(<= X_{i} {i}.5))(assert (>= X_{i}\n 0.25))\n\n" for i in range(50))
    text += "(assert (or (and (<= Y_0 1)\n\n(<= X_0 0.3)) (>= Y_0 3)))"
    expected = parse_vnnlib(text)
    monkeypatch.setattr("robustbench_local.specs.vnnlib.source._PIECE", size)
    assert same(parse_vnnlib(text), expected)
    assert statements(text)[-1][0] == "assert"

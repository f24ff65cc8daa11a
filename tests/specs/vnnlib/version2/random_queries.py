"""Random VNN-LIB 2 text: networks, tensors of several ranks, formulas over all of their elements."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

GRID = [-1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 2.0]  # sums and products are exact
SHAPES = [(), (1,), (3,), (1, 2), (2, 1, 2)]
RELATIONS = ["<", "<=", ">", ">=", "==", "!="]


@dataclass(frozen=True)
class Program:
    """Text, and the tensors in it with their shapes."""

    text: str
    shapes: dict[str, tuple[int, ...]]

    def points(self, seed: int, count: int) -> dict[str, NDArray[np.float64]]:
        """Assignments on the grid."""
        noise = np.random.default_rng(seed)
        return {name: noise.choice(np.asarray(GRID), (count, *shape)) for name, shape in self.shapes.items()}


def element(name: str, shape: tuple[int, ...]) -> st.SearchStrategy[str]:
    """A written element of the tensor."""
    if not shape:
        return st.just(name)
    return st.tuples(*(st.integers(0, n - 1) for n in shape)).map(
        lambda i: f"{name}[{','.join(map(str, i))}]"
    )


def numbers() -> st.SearchStrategy[str]:
    """Decimals as the oracle wants them beside reals: with a point."""
    return st.sampled_from([form(v) for v in GRID for form in (repr, "{:.3f}".format)])


def terms(variable: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Terms with at least one element."""

    def wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        parts = st.lists(st.one_of(inner, numbers()), min_size=0, max_size=2)
        return st.tuples(st.sampled_from("+-*"), inner, parts).map(lambda p: f"({' '.join([*p[:2], *p[2]])})")

    return st.recursive(variable, wider, max_leaves=3)


def formulas(variable: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Formulas of all kinds."""
    relation = st.sampled_from(RELATIONS)
    literal = st.tuples(relation, variable, numbers()).map(" ".join)
    turned = st.tuples(relation, numbers(), variable).map(" ".join)
    general = st.tuples(relation, terms(variable), st.one_of(numbers(), terms(variable))).map(" ".join)

    def wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=4)).map(
            lambda p: f"({p[0]} {' '.join(p[1])})"
        )

    atoms = st.one_of(literal, literal, turned, general).map("({})".format)
    return st.recursive(atoms, wider, max_leaves=10)


@st.composite
def programs(draw: Any) -> Program:
    """One to three networks, and one to four assertions."""
    shapes: dict[str, tuple[int, ...]] = {}
    lines: list[str] = []
    first: list[tuple[str, tuple[int, ...]]] = []
    for k in range(draw(st.integers(1, 3))):
        relation = draw(st.sampled_from(["", "(equal-to f0) ", "(isomorphic-to f0) "])) if k else ""
        if relation:
            kinds = first
        else:
            inputs = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=2))
            outputs = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=2))
            kinds = [("input", s) for s in inputs] + [("output", s) for s in outputs]
        first = first or kinds
        parts = []
        for i, (kind, shape) in enumerate(kinds):
            name = f"T{k}_{i}"
            shapes[name] = shape
            parts.append(f"(declare-{kind} {name} real [{','.join(map(str, shape))}])")
        lines.append(f"(declare-network f{k} {relation}{' '.join(parts)})")
    variable = st.sampled_from(sorted(shapes)).flatmap(lambda name: element(name, shapes[name]))
    asserted = draw(st.lists(formulas(variable), min_size=1, max_size=4))
    text = "\n".join(["(vnnlib-version <2.0>)", *lines, *(f"(assert {formula})" for formula in asserted)])
    return Program(text, shapes)


def torn(text: str, seed: int) -> str:
    """The text in another layout: blanks and comments between all tokens."""
    noise = random.Random(seed)
    gaps = [" ", "\n", "\t", "  ", " ; ) note ([\n", "\r\n"]
    words = re.findall(r"[()\[\],]|<\d\.\d>|[^\s()\[\],]+", text)
    return "".join(w + noise.choice(gaps) for w in words)

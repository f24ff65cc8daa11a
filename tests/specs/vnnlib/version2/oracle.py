"""The `vnnlib` package as an oracle: its parser and type checker, and an evaluator over its tree."""

from __future__ import annotations

import operator
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import reduce
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

Values = Mapping[str, NDArray[np.float64]]  # tensor -> (N, *shape)

_ARITHMETIC = {"Plus": operator.add, "Multiply": operator.mul}
_COMPARISONS = {
    "GreaterThan": operator.gt,
    "LessThan": operator.lt,
    "GreaterEqual": operator.ge,
    "LessEqual": operator.le,
    "Equal": operator.eq,
    "NotEqual": operator.ne,
}


@contextmanager
def quiet() -> Iterator[None]:
    """Without what its C++ code writes to the standard error (a note on version 2.1)."""
    saved = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def package() -> Any:
    """The package; the test is skipped where it is not installed (it has no wheel for some platforms)."""
    return pytest.importorskip("vnnlib")


def accepts(text: str) -> bool:
    """Whether the package parses and types the text."""
    vnnlib = package()
    try:
        with quiet():
            vnnlib.parse_query_string(text)
    except (vnnlib.VNNLibException, IndexError):  # the latter for numbers beyond 64 bits
        return False
    return True


def term(node: Any, values: Values) -> Any:
    """The numbers of a term."""
    kind = type(node).__name__
    if kind == "Var":
        return values[node.name][(slice(None), *node.indices)]
    if kind in ("Float", "IntExpr", "Int"):
        return float(node.value)
    if kind == "Negate":
        return -term(node.expr, values)
    if kind == "Minus":
        return reduce(operator.sub, [term(part, values) for part in node.rest], term(node.head, values))
    return reduce(_ARITHMETIC[kind], [term(part, values) for part in node.args])


def truth(node: Any, values: Values) -> NDArray[np.bool_]:
    """Whether a formula is true, (N,)."""
    kind = type(node).__name__
    if kind in ("And", "Or"):
        parts = [truth(part, values) for part in node.args]
        return np.all(parts, axis=0) if kind == "And" else np.any(parts, axis=0)
    return np.asarray(_COMPARISONS[kind](term(node.lhs, values), term(node.rhs, values)))


def evaluate(text: str, values: Values) -> NDArray[np.bool_]:
    """Whether each assignment satisfies all assertions of the text, (N,)."""
    vnnlib = package()
    with quiet():
        query = vnnlib.parse_query_string(text)
    return np.all([truth(a.expr, values) for a in query.assertions], axis=0)

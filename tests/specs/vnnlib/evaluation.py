"""An independent reading of VNN-LIB: a recursive evaluator over s-expressions, and a printer."""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

Sexpr = Any  # a word, or a list of these
Values = Mapping[str, NDArray[np.float64]]  # X_i and Y_i -> numbers of N points

RELATIONS = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}


def statements(text: str) -> list[Sexpr]:
    """All top-level lists of the text."""
    stack: list[list[Sexpr]] = [[]]
    for word in re.findall(r"[()]|[^\s()]+", re.sub(r";[^\n]*", "", text)):
        if word == "(":
            stack.append([])
        elif word == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(word)
    assert len(stack) == 1
    return stack[0]


def term(expression: Sexpr, values: Values) -> Any:
    """The numbers of a term."""
    if isinstance(expression, str):
        return values[expression] if expression[0].isalpha() else float(expression)
    parts = [term(part, values) for part in expression[1:]]
    if expression[0] == "-" and len(parts) == 1:
        return -parts[0]
    return reduce({"+": operator.add, "-": operator.sub, "*": operator.mul}[expression[0]], parts)


def truth(formula: Sexpr, values: Values, points: int) -> NDArray[np.bool_]:
    """Whether the formula is true, (N,) bool."""
    head = formula[0]
    if head in ("and", "or"):
        result = np.full(points, head == "and")
        for part in formula[1:]:
            found = truth(part, values, points)
            result = result & found if head == "and" else result | found
            if result.all() if head == "or" else not result.any():
                break  # the rest changes nothing
        return result
    left, right = term(formula[1], values), term(formula[2], values)
    return np.broadcast_to(RELATIONS[head](left, right), (points,))


def unsafe(program: list[Sexpr], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each of N points meets every assertion, (N,) bool."""
    values = {f"X_{i}": x[:, i] for i in range(x.shape[1])} | {f"Y_{i}": y[:, i] for i in range(y.shape[1])}
    parts = [truth(s[1], values, len(x)) for s in program if s[0] == "assert"]
    return np.asarray(np.all(parts, axis=0))


def text_of(expression: Sexpr) -> str:
    """The s-expression as text."""
    return expression if isinstance(expression, str) else f"({' '.join(map(text_of, expression))})"

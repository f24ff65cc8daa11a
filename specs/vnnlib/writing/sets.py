"""Input sets as formulas: what must hold of the coordinates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_local.errors import SpecError

from ...sets import Ball, Box, Coupled, InputSet, Polytope, Product, Union
from ..formula import SIGNS, Builder, Columns, packed
from ..source import coded
from ..terms import Element, Number, Term
from .linear_formulas import add, all_of, any_of, equation, linear_formula

__all__ = ["bounds", "say"]

_LOWER = SIGNS.index(">"), SIGNS.index(">=")
_UPPER = SIGNS.index("<"), SIGNS.index("<=")


def say(inputs: InputSet, at: Sequence[Term], into: Builder) -> None:
    """Adds that the point at the terms, row-major, lies in the one set of `inputs`.

    Faces are those rounded outward. Raises SpecError (E-EXPORT) for sets without a linear description.
    """
    if isinstance(inputs, Ball) and isinstance(inputs.body, Box):
        inputs = inputs.body
    if isinstance(inputs, Box):
        _say_box(inputs, at, into)
    elif isinstance(inputs, Polytope):
        _say_box(inputs.limits, at, into)
        rows = inputs.rows
        for row, b, strict in zip(rows.A[0].tolist(), rows.b[0].tolist(), rows.strict.tolist(), strict=True):
            parts = [(-a, term) for a, term in zip(row, at, strict=True) if a]
            add(into, linear_formula(parts, b, strict))
    elif isinstance(inputs, Product):
        start = 0
        for block in inputs.blocks:
            size = block.centre()[0].numel()
            say(block, at[start : start + size], into)
            start += size
    elif isinstance(inputs, Coupled):
        _say_coupled(inputs, at, into)
    elif isinstance(inputs, Union):
        branches = []
        for member in inputs.members:
            branch = Builder(into.table)
            say(member, at, branch)
            branches.append(all_of(branch, []))
        add(into, any_of(branches))
    else:
        what = f"VNN-LIB has linear conditions on inputs; {inputs!r} is no set of that kind"
        raise coded(SpecError(what, cure="write the property for its box hull, which is larger"), "E-EXPORT")


def bounds(
    faces: Sequence[NDArray[np.float64]], inner: Sequence[NDArray[np.float64]], at: NDArray[np.int64]
) -> Columns:
    """Literals for lower and upper faces (n,), strict where the inner face differs, at positions (n,)."""
    codes = np.empty((len(at), 2), dtype=np.int8)
    values = np.stack(faces, axis=1)
    for side, (strict, closed) in enumerate((_LOWER, _UPPER)):
        codes[:, side] = np.where(inner[side] != faces[side], strict, closed)
    return packed(codes, np.repeat(at, 2), values)


def _say_box(box: Box, at: Sequence[Term], into: Builder) -> None:
    outer, inner = (
        [face[0].flatten().cpu().numpy() for face in pair]
        for pair in (box.cast(torch.float64), box.inner(torch.float64))
    )
    places = [k for k, term in enumerate(at) if isinstance(term, Element)]
    positions = np.asarray([term.position for term in at if isinstance(term, Element)], dtype=np.int64)
    into.literals(bounds([face[places] for face in outer], [face[places] for face in inner], positions))
    for k, term in enumerate(at):
        fixed = isinstance(term, Number) and outer[0][k] == outer[1][k] == term.value
        if not isinstance(term, Element) and not fixed:
            for sign, face, within in zip((1.0, -1.0), outer, inner, strict=True):
                said = linear_formula([(sign, term)], -sign * float(face[k]), bool(within[k] != face[k]))
                add(into, said)


def _say_coupled(pair: Coupled, at: Sequence[Term], into: Builder) -> None:
    size = pair.boxes[0].lower[0].numel()
    low, high = (face[0].flatten().tolist() for face in pair.gap)
    for box, part in zip(pair.boxes, (at[:size], at[size:]), strict=True):
        _say_box(box, part, into)
    for first, second, least, most in zip(at[:size], at[size:], low, high, strict=True):
        if least == most:
            into.add(equation(second, [(1.0, first)], least))
        else:
            add(into, linear_formula([(1.0, second), (-1.0, first)], -least, False))
            add(into, linear_formula([(-1.0, second), (1.0, first)], most, False))

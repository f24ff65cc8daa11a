"""Bounds of inputs moved outward to numbers of a smaller floating type."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ...sets.rounding import round_down, round_up
from ..formula import SIGNS, AllOf, AnyOf, Comparison, Formula, Literals, Table
from ..version2 import Vnnlib2Property

__all__ = ["on_grid"]

_LOWER = [SIGNS.index(sign) for sign in (">", ">=")]
_UPPER = [SIGNS.index(sign) for sign in ("<", "<=")]


def on_grid(found: Vnnlib2Property, dtype: torch.dtype) -> AllOf:
    """The formula with bounds of inputs (not equations) at numbers of `dtype`, never tighter."""
    inputs = np.zeros(found.declared.size, dtype=bool)
    for network in found.networks:
        for tensor in network.inputs:
            inputs[tensor.start : tensor.start + tensor.size] = True
    tables: dict[Table, Table] = {}

    def moved(part: Formula) -> Formula:
        if isinstance(part, Comparison):
            return part
        if isinstance(part, AnyOf):
            return AnyOf(tuple(map(moved, part.parts)), part.offset)
        return whole(part)

    def whole(part: AllOf) -> AllOf:
        table = part.literals.table
        if table not in tables:
            tables[table] = _moved(table, inputs, dtype)
        literals = Literals(tables[table], part.literals.start, part.literals.stop)
        return AllOf(literals, tuple(map(moved, part.parts)), part.offset)

    return whole(found.unsafe)


def _moved(table: Table, inputs: NDArray[np.bool_], dtype: torch.dtype) -> Table:
    codes, positions, values, _ = table.columns
    result = values.copy()
    for sides, rounded in ((_LOWER, round_down), (_UPPER, round_up)):
        chosen = np.isin(codes, sides) & inputs[positions]
        near = rounded(torch.from_numpy(values[chosen]), dtype).to(torch.float64).numpy()
        result[chosen] = np.where(np.isfinite(near), near, values[chosen])
    return table.changed(values=result)

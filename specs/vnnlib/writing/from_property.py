"""The clauses of a flat property as a property of VNN-LIB 2: one network, one input, one output."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from robustbench_local.errors import EmptySetError

from ..formula import SIGNS, Builder, Columns, Formula, Table, packed
from ..property import VnnlibProperty
from ..rows import Row
from ..terms import Element
from ..version2 import REAL, Declarations, Network, Tensor, Vnnlib2Property
from .linear_formulas import all_of, any_of, linear_formula

__all__ = ["from_property", "one_network"]


def one_network(
    input_shape: Sequence[int], output_shape: Sequence[int], names: tuple[str, str, str] = ("f", "X", "Y")
) -> Declarations:
    """One network with one input and one output, all real; their names."""
    network, given, result = names
    x = Tensor(given, REAL, tuple(input_shape))
    return Declarations([Network(network, (x,), (Tensor(result, REAL, tuple(output_shape), x.size),))])


def from_property(
    found: VnnlibProperty, input_shape: Sequence[int], output_shape: Sequence[int]
) -> Vnnlib2Property:
    """The property with declared shapes, batch axis included. Bounds that all boxes share come first."""
    whole, faces = Builder(Table()), _Faces(found)
    whole.literals(faces.literals(0, faces.common))
    branches: list[Formula | bool] = []
    for box, clauses in found.by_box():
        own = Builder(whole.table)
        own.literals(faces.literals(box, ~faces.common))
        rest = any_of([_clause(whole.table, clause.rows, found.inputs) for clause in clauses])
        branches.append(all_of(own, [rest]))
    said = any_of(branches)
    if said is False:
        raise EmptySetError("the unsafe set is empty", where=found.name, cure="there is nothing to write")
    if said is not True:
        whole.add(said)
    return Vnnlib2Property(found.name, "2.0", one_network(input_shape, output_shape), whole.whole())


class _Faces:
    """Bounds of the boxes; `common` marks the inputs (2, n) whose lower or upper one all boxes share."""

    def __init__(self, found: VnnlibProperty) -> None:
        outer, inner = found.boxes.cast(torch.float64), found.boxes.inner(torch.float64)
        self._outer = np.stack([face.numpy() for face in outer])  # (2, K, n)
        self._strict = np.stack([face.numpy() for face in inner]) != self._outer
        same = (self._outer == self._outer[:, :1]) & (self._strict == self._strict[:, :1])
        self.common: NDArray[np.bool_] = same.all(axis=1)

    def literals(self, box: int, chosen: NDArray[np.bool_]) -> Columns:
        """The bounds of a box at the chosen faces (2, n), input by input."""
        order = np.argsort(np.nonzero(chosen)[1], kind="stable")
        side, index = (axis[order] for axis in np.nonzero(chosen))
        strict = self._strict[side, box, index]
        codes = np.where(
            side == 0, np.where(strict, _ABOVE[0], _ABOVE[1]), np.where(strict, _BELOW[0], _BELOW[1])
        )
        return packed(codes, index, self._outer[side, box, index])


_ABOVE = SIGNS.index(">"), SIGNS.index(">=")
_BELOW = SIGNS.index("<"), SIGNS.index("<=")


def _clause(table: Table, rows: Sequence[Row], inputs: int) -> Formula | bool:
    """All rows of a clause."""
    parts: list[Formula | bool] = []
    for row in rows:
        outputs = [(c, Element(inputs + i)) for i, c in zip(row.columns, row.coefficients, strict=True)]
        given = [(c, Element(i)) for i, c in zip(row.inputs, row.weights, strict=True)]
        parts.append(linear_formula([*outputs, *given], row.constant, row.strict))
    return all_of(Builder(table), parts)

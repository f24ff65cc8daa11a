"""Linear programs as arrays: columns for every node of a graph, ranged rows, and how they are put together.

    minimise <cost, x>   with   row_lower <= A x <= row_upper,   lower <= x <= upper,   some x integer

Every row carries a `slack`: the network's real values satisfy the row up to it. The entries of A and of the
row bounds are float64 numbers computed from the weights (a chord's slope, 1/n of a mean), so they are off by
a few units in the last place; the slack, 64 units of |row| |x| + |row bound|, covers that in `safe`. Planes
of nonlinear operators have 64 units of the inputs' size more (and of 1 where an operator mixes coordinates):
their rules compute with the inputs as well, and may be off by units of those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from robustbench_local.specs import InputSet

from ..graph import Node

__all__ = ["UNIT", "Array", "Block", "Builder", "Index", "Program"]

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

UNIT = 2.0**-53
"""Largest relative error of one float64 operation."""

_ULPS = 64.0


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Coefficients of some rows on consecutive columns: a sparse matrix (k, width) from column `first` on."""

    matrix: Any
    first: int


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A linear program of n columns and r rows; see the module's text.

    matrix: sparse (r, n); row_lower, row_upper, slack (r,); lower, upper (n,); integer (n,) bool.
    `columns` tells where each node's values stand. `inputs`, of batch 1: the set that the columns of the
    graph's input (the first ones) lie in, None for a box. `cone`: rows and bounds do not describe that set.
    """

    matrix: Any
    row_lower: Array
    row_upper: Array
    slack: Array
    lower: Array
    upper: Array
    integer: npt.NDArray[np.bool_]
    columns: dict[Node, slice]
    inputs: InputSet | None = None
    cone: bool = False

    @property
    def width(self) -> int:
        """n, the number of columns."""
        return len(self.lower)

    @property
    def inputs_width(self) -> int:
        """The number of columns of the graph's input, which are the first ones."""
        return int(next(iter(self.columns.values())).stop)

    def cost(self, node: Node, row: Array) -> Array:
        """The cost vector (n,) of <row, values of the node>."""
        cost = np.zeros(self.width)
        cost[self.columns[node]] = row
        return cost


class Builder:
    """Collects columns and rows of a program."""

    def __init__(self) -> None:
        self.columns: dict[Node, slice] = {}
        self._lower: list[Array] = []
        self._upper: list[Array] = []
        self._integer: list[npt.NDArray[np.bool_]] = []
        self._entries: list[tuple[Array, Array, Array]] = []
        self._row_bounds: list[tuple[Array, Array, Array]] = []
        self.width = 0
        self.height = 0

    def add_columns(self, lower: Array, upper: Array, *, integer: bool = False) -> slice:
        """New columns with these bounds (k,); NaN means that nothing is known. Their place is returned."""
        self._lower.append(np.where(np.isnan(lower), -np.inf, lower))
        self._upper.append(np.where(np.isnan(upper), np.inf, upper))
        self._integer.append(np.full(len(lower), integer))
        place = slice(self.width, self.width + len(lower))
        self.width = place.stop
        return place

    def add_node(self, node: Node, lower: Array, upper: Array) -> slice:
        """The columns of a node."""
        self.columns[node] = self.add_columns(lower, upper)
        return self.columns[node]

    def add_rows(
        self, blocks: Sequence[Block], lower: Array, upper: Array, *, size: float | Array = 0.0
    ) -> None:
        """Rows `lower <= sum of the blocks' products <= upper` (k,); rows with NaN or infinity in them go.

        size, one or (k,): of the values that the rows were computed from, beyond what the rows show.
        """
        parts = [block.matrix.tocoo() for block in blocks]
        keep = ~(np.isnan(lower) | np.isnan(upper)) & (np.isfinite(lower) | np.isfinite(upper))
        for part in parts:
            np.logical_and.at(keep, part.row, np.isfinite(part.data))
        number = np.cumsum(keep) - 1 + self.height
        for part, block in zip(parts, blocks, strict=True):
            used = keep[part.row] & (part.data != 0)
            places = (
                number[part.row[used]].astype(np.float64),
                (part.col[used] + block.first).astype(np.float64),
            )
            self._entries.append((*places, part.data[used]))
        self._row_bounds.append((lower[keep], upper[keep], np.broadcast_to(size, keep.shape)[keep]))
        self.height += int(keep.sum())

    def bounds(self) -> tuple[Array, Array]:
        """Bounds (n,) of all columns so far."""
        return np.concatenate(self._lower), np.concatenate(self._upper)

    def build(self, inputs: InputSet | None = None, *, cone: bool = False) -> Program:
        """The program of everything added so far; more may be added afterwards."""
        rows, columns, values = _joined(self._entries)
        low, high, base = _joined(self._row_bounds)
        lower, upper = self.bounds()
        # several entries at one place (a node read twice) are summed here
        matrix = sparse.coo_array(
            (values, (rows.astype(np.int64), columns.astype(np.int64))), shape=(self.height, self.width)
        ).tocsr()
        largest = np.maximum(np.abs(lower), np.abs(upper))
        size = abs(matrix) @ np.where(np.isfinite(largest), largest, 0.0)
        ends = np.where(np.isfinite(low), np.abs(low), 0.0) + np.where(np.isfinite(high), np.abs(high), 0.0)
        slack = _ULPS * UNIT * (base + size + ends) + np.finfo(np.float64).tiny
        # what an unbounded column may lose is not known: its rows say nothing
        unknown = abs(matrix) @ (~np.isfinite(largest)).astype(np.float64) > 0
        slack[unknown] = np.inf
        return Program(
            matrix,
            low,
            high,
            slack,
            lower,
            upper,
            np.concatenate(self._integer),
            dict(self.columns),
            inputs,
            cone,
        )


def _joined(parts: Sequence[tuple[Array, Array, Array]]) -> tuple[Array, Array, Array]:
    """The parts' three arrays, each one after another."""
    nothing = np.zeros(0)
    one, two, three = (np.concatenate(v) for v in zip((nothing,) * 3, *parts, strict=True))
    return one, two, three

"""Linear conditions on outputs and inputs as sparse rows, and clauses of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Clause", "Row", "dense"]


class Row(NamedTuple):
    """The condition e > 0 (`strict`) or e >= 0 on inputs x and outputs y, flattened.

    e = sum of coefficients * y[columns] + sum of weights * x[inputs] + constant.
    """

    columns: tuple[int, ...]
    coefficients: tuple[float, ...]
    constant: float
    strict: bool
    inputs: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """What tells rows apart; of a row on outputs alone, without the empty fields."""
        return tuple(self) if self.inputs else tuple(self)[:4]


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of an unsafe set: x in the property's boxes[box], and every row true of x and y = f(x).

    Without rows every input of the box is unsafe.
    """

    box: int
    rows: tuple[Row, ...]

    def matrix(self, outputs: int, inputs: int = 0) -> tuple[Tensor, Tensor, tuple[bool, ...]]:
        """C (k, outputs + inputs) and d (k,), float64, and which are strict: C @ (y, x) + d > 0, or >= 0.

        `inputs` may be 0 where no row weighs an input.
        """
        return (*dense(self.rows, outputs, inputs), tuple(row.strict for row in self.rows))


def dense(rows: Sequence[Row], outputs: int, inputs: int = 0) -> tuple[Tensor, Tensor]:
    """C (k, outputs + inputs) and d (k,) in float64, over outputs and then inputs."""
    C = torch.zeros(len(rows), outputs + inputs, dtype=torch.float64)
    at = [k for k, row in enumerate(rows) for _ in (*row.columns, *row.inputs)]
    columns = [c for row in rows for c in (*row.columns, *(outputs + i for i in row.inputs))]
    values = [value for row in rows for value in (*row.coefficients, *row.weights)]
    C[at, columns] = torch.tensor(values, dtype=torch.float64)
    return C, torch.tensor([row.constant for row in rows], dtype=torch.float64)

"""The value of a VNN-LIB 1.0 file: the unsafe set as clauses, and the queries that ask for a point of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError

from ..query import Query
from ..sets import Box
from .problems import problems
from .rows import Clause, Row

__all__ = ["VnnlibProperty"]


@dataclass(frozen=True, eq=False, repr=False)
class VnnlibProperty:
    """A property as VNN-LIB states it, by what must not happen: the union of clauses is the unsafe set.

    The property holds where no input x has (x, network(x)) in a clause; a point of a clause is a
    counterexample (`sat`). Inputs and outputs are flattened in row-major order: X_i, Y_i.

    Attributes:
        name: the file it was read from.
        inputs, outputs: number of X and of Y.
        boxes: the K distinct input boxes, (K, inputs), float64: each decimal literal as the nearest float64.
            A strict bound (`<`) keeps its value out: membership excludes it, bounds are computed with it.
        clauses: at least one, in the order of the file, of at least one box each.
        notes: what was left out (clauses without an input), for people.
    """

    name: str
    inputs: int
    outputs: int
    boxes: Box
    clauses: tuple[Clause, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"VnnlibProperty({self.name!r}, {self.inputs} inputs, {self.outputs} outputs, "
            f"{len(self.clauses)} clauses, {self.boxes.batch} boxes)"
        )

    @property
    def id(self) -> str:
        """sha256, in hex, of sizes, boxes and clauses: equal for the same set in another spelling."""
        digest = hashlib.sha256(f"vnnlib|{self.inputs}|{self.outputs}".encode())
        for face in (*self.boxes.cast(torch.float64), *self.boxes.inner(torch.float64)):
            digest.update((face + 0.0).numpy().tobytes())  # + 0.0: no negative zero
        for clause in self.clauses:
            digest.update(f"|{clause.box}:{sorted(row.key for row in clause.rows)!r}".encode())
        return digest.hexdigest()

    def unsafe(self, x: Tensor, y: Tensor) -> Tensor:
        """Whether x (N, inputs) with outputs y (N, outputs) is in the unsafe set, (N,) bool; NaN is not."""
        if x.shape[1:] != (self.inputs,) or y.shape != (x.shape[0], self.outputs):
            raise ShapeError(
                f"x has shape {tuple(x.shape)} and y {tuple(y.shape)}, expected (N, {self.inputs}) and "
                f"(N, {self.outputs})"
            )
        wide, values = x.to(torch.float64), y.to(torch.float64)
        lower, upper = self.boxes.inner(torch.float64)
        result = torch.zeros(x.shape[0], dtype=torch.bool)
        for box, clauses in self.by_box():
            inside = ((wide >= lower[box]) & (wide <= upper[box])).all(1)
            if bool(inside.any()):
                reached = torch.zeros_like(result)
                for clause in clauses:
                    reached |= _all_true(clause.rows, wide, values)
                result |= inside & reached
        return result

    def by_box(self) -> Iterator[tuple[int, list[Clause]]]:
        """The clauses of each box, in the order of the first ones."""
        found: dict[int, list[Clause]] = {}
        for clause in self.clauses:
            found.setdefault(clause.box, []).append(clause)
        yield from found.items()

    def queries(
        self,
        network: Callable[[Tensor], Tensor],
        input_shape: Sequence[int],
        output_size: int,
        *,
        device: torch.device | None = None,
    ) -> list[Query]:
        """The property as queries of `network`: it holds if and only if every problem of every query holds.

        One problem per distinct input set (a box, or a polytope where clauses relate inputs to each other),
        with the clauses of that set as an OR of ANDs; sets with equal trees are one batched query, so that
        most files give a single query. Where rows relate inputs to outputs, the query's network is
        `network` with its input appended to its output.

        Args:
            network: maps x (B, *input_shape) to y (B, *out), out of `output_size` numbers.
            input_shape: shape of one sample, without the batch axis; X fills it in row-major order.
            output_size: number of outputs of one sample.
            device: where the queries' numbers live; default: the CPU.

        Raises ShapeError where the sizes are not those of the property, EmptySetError (E-VACUOUS) where the
        conditions on inputs leave no input in any clause.
        """
        shape = tuple(input_shape)
        for kind, own, theirs in (("X", self.inputs, math.prod(shape)), ("Y", self.outputs, output_size)):
            if own != theirs:
                raise ShapeError(
                    f"the property has {own} {kind}, the network {theirs}"
                    + (f" (input shape {shape})" if kind == "X" else ""),
                    where=self.name,
                    cure="give the network that the property was written for",
                )
        return problems(self.clauses, self.boxes, network, shape, output_size, device=device, text=self._text)

    def _text(self, part: str) -> str:
        sizes = f"real[{self.inputs}] -> real[{self.outputs}]"
        return f"vnnlib 1.0 {self.id}: {sizes}\nforall x in box: not unsafe, part {part}"


def _all_true(rows: Sequence[Row], x: Tensor, y: Tensor) -> Tensor:
    """Whether every row is true of each x (N, inputs) and y (N, outputs), (N,) bool."""
    result = torch.ones(y.shape[0], dtype=torch.bool)
    for row in rows:
        e = torch.full((y.shape[0],), row.constant, dtype=torch.float64)
        for values, index, factors in ((y, row.columns, row.coefficients), (x, row.inputs, row.weights)):
            for column, factor in zip(index, factors, strict=True):
                e = e + factor * values[:, column]
        result &= e > 0 if row.strict else e >= 0
    return result

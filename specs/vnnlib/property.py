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
from ..sets import Box, box_within
from ..tree import All, Any, Atom, Tree, join
from .formula import Row

__all__ = ["Clause", "VnnlibProperty"]

_ALWAYS = Row((), (), 1.0, True)


@dataclass(frozen=True, slots=True)
class Clause:
    """One clause of an unsafe set: x in the property's boxes[box], and every row true of y.

    Without rows every input of the box is unsafe. A row is the condition
    `sum of coefficients * y[columns] + constant > 0` if `strict`, else `>= 0`.
    """

    box: int
    rows: tuple[Row, ...]

    def matrix(self, outputs: int) -> tuple[Tensor, Tensor, tuple[bool, ...]]:
        """C (k, outputs) and d (k,) in float64, and which rows are strict: C @ y + d > 0, or >= 0."""
        return (*_dense(self.rows, outputs), tuple(row.strict for row in self.rows))


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
            digest.update(f"|{clause.box}:{sorted(map(tuple, clause.rows))!r}".encode())
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
        for box, clauses in self._by_box():
            inside = ((wide >= lower[box]) & (wide <= upper[box])).all(1)
            if bool(inside.any()):
                reached = torch.zeros_like(result)
                for clause in clauses:
                    reached |= _all_true(clause.rows, values)
                result |= inside & reached
        return result

    def queries(
        self,
        network: Callable[[Tensor], Tensor],
        input_shape: Sequence[int],
        output_size: int,
        *,
        device: torch.device | None = None,
    ) -> list[Query]:
        """The property as queries of `network`: it holds if and only if every problem of every query holds.

        One problem per distinct input box, with the clauses of that box as an OR of ANDs; boxes with equal
        trees are one batched query, so that most files give a single query.

        Args:
            network: maps x (B, *input_shape) to y (B, *out), out of `output_size` numbers.
            input_shape: shape of one sample, without the batch axis; X fills it in row-major order.
            output_size: number of outputs of one sample.
            device: where the queries' numbers live; default: the CPU.

        Raises ShapeError where the sizes are not those of the property.
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
        groups: dict[Tree, list[tuple[int, list[Row]]]] = {}
        for box, clauses in self._by_box():
            tree, rows = _tree(clauses)
            groups.setdefault(tree, []).append((box, rows))
        queries: list[Query] = []
        for tree, problems in groups.items():
            index = torch.tensor([box for box, _ in problems])
            C, d = _dense([row for _, rows in problems for row in rows], self.outputs)
            C, d = C.reshape(len(index), -1, self.outputs).to(device), d.reshape(len(index), -1).to(device)
            text = self._text(f"{len(queries) + 1}/{len(groups)}")
            queries.append(Query(network, self._inputs(index, shape, device), C, d, tree, text))
        return queries

    def _by_box(self) -> Iterator[tuple[int, list[Clause]]]:
        found: dict[int, list[Clause]] = {}
        for clause in self.clauses:
            found.setdefault(clause.box, []).append(clause)
        yield from found.items()

    def _inputs(self, index: Tensor, shape: tuple[int, ...], device: torch.device | None) -> Box:
        outer, inner = (
            (lower[index].reshape(-1, *shape).to(device), upper[index].reshape(-1, *shape).to(device))
            for lower, upper in (self.boxes.cast(torch.float64), self.boxes.inner(torch.float64))
        )
        return box_within(outer, inner)

    def _text(self, part: str) -> str:
        sizes = f"real[{self.inputs}] -> real[{self.outputs}]"
        return f"vnnlib 1.0 {self.id}: {sizes}\nforall x in box: not unsafe, part {part}"


def _tree(clauses: list[Clause]) -> tuple[Tree, list[Row]]:
    """The OR of the clauses over their distinct rows, and these rows in the order of their atoms."""
    position: dict[Row, int] = {}
    children: list[Tree] = []
    for clause in clauses:
        rows = clause.rows or (_ALWAYS,)
        atoms: list[Tree] = [Atom(position.setdefault(row, len(position)), row.strict) for row in rows]
        children.append(join(All, atoms))
    return join(Any, children), list(position)


def _dense(rows: Sequence[Row], outputs: int) -> tuple[Tensor, Tensor]:
    C = torch.zeros(len(rows), outputs, dtype=torch.float64)
    at = [k for k, row in enumerate(rows) for _ in row.columns]
    columns = [column for row in rows for column in row.columns]
    values = [value for row in rows for value in row.coefficients]
    C[at, columns] = torch.tensor(values, dtype=torch.float64)
    return C, torch.tensor([row.constant for row in rows], dtype=torch.float64)


def _all_true(rows: Sequence[Row], y: Tensor) -> Tensor:
    """Whether every row is true of each y (N, outputs), (N,) bool."""
    result = torch.ones(y.shape[0], dtype=torch.bool)
    for row in rows:
        e = torch.full((y.shape[0],), row.constant, dtype=torch.float64)
        for column, coefficient in zip(row.columns, row.coefficients, strict=True):
            e = e + coefficient * y[:, column]
        result &= e > 0 if row.strict else e >= 0
    return result

"""One node of the graph, as its exporter sees it: operands, and a place to put ONNX operators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robustbench_local.errors import UnsupportedOpError

from ..graph import Node
from .sheet import ELEMENT_TYPES, Sheet

__all__ = ["Call", "Operand", "Ref"]


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor of the ONNX graph with the batch axis in front: its name, one sample's shape, its dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def rank(self) -> int:
        """Number of axes, with the batch axis."""
        return len(self.shape) + 1

    @property
    def numel(self) -> int:
        """Coordinates of one sample."""
        return math.prod(self.shape)


Operand = Ref | Tensor | float | int | bool


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """`node` with `Ref`s in place of its inputs in `args` and `kwargs`; `dtype` of the result."""

    sheet: Sheet
    node: Node
    args: Sequence[Any]
    kwargs: dict[str, Any]
    dtype: torch.dtype

    @property
    def opset(self) -> int:
        """The opset that is written."""
        return self.sheet.opset

    @property
    def shape(self) -> tuple[int, ...]:
        """One sample's shape of the result."""
        return self.node.shape

    @property
    def x(self) -> Ref:
        """The first operand, which must depend on the network's input."""
        found = self.args[0]
        if not isinstance(found, Ref):
            raise self.unsupported("of a constant first operand")
        return found

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """The operator's argument at `position` or by keyword, else `default`."""
        return self.args[position] if position < len(self.args) else self.kwargs.get(name, default)

    def axis(self, dim: int, rank: int | None = None) -> int:
        """An axis from the front, the batch axis being 0."""
        return int(dim) % (self.x.rank if rank is None else rank)

    def axes(self, dims: Any) -> list[int]:
        """Axes from the front; of None all of a sample."""
        if dims is None:
            return list(range(1, self.x.rank))
        return sorted(self.axis(d) for d in (dims if isinstance(dims, (list, tuple)) else [dims]))

    def op(self, kind: str, *inputs: Operand | str | None, outputs: int = 1, **settings: Any) -> str:
        """An ONNX operator on operands; numbers become constants of the result's dtype."""
        names = [self._name(operand) for operand in inputs]
        return self.sheet.add(kind, names, name=self.node.name, outputs=outputs, **settings)

    def real(self, operand: Operand, dtype: torch.dtype | None = None) -> str:
        """The operand in the result's dtype, or in `dtype`."""
        wanted = self.dtype if dtype is None else dtype
        if isinstance(operand, Ref):
            if operand.dtype == wanted:
                return operand.name
            return self.op("Cast", operand.name, to=ELEMENT_TYPES[wanted])
        if isinstance(operand, Tensor):
            return self.sheet.constant(operand if operand.dtype == wanted else operand.to(wanted))
        return self.sheet.constant(torch.tensor(operand, dtype=wanted))

    def integers(self, *values: int) -> str:
        """A list of whole numbers."""
        return self.sheet.integers(values)

    def reduced(self, kind: str, x: str, axes: Sequence[int], *, keepdims: bool) -> str:
        """A reduction along axes: an attribute first, an input from opset 18 (sums: 13) on."""
        keep = int(keepdims)
        if kind == "ReduceSum" or self.opset >= 18:
            return self.op(kind, x, self.integers(*axes), keepdims=keep)
        return self.op(kind, x, axes=list(axes), keepdims=keep)

    def reshaped(self, x: str, sample: Sequence[int]) -> str:
        """A batch of samples in another shape."""
        return self.op("Reshape", x, self.integers(-1, *sample))

    def unsupported(self, what: str) -> UnsupportedOpError:
        """The error for a use of the operator that has no ONNX counterpart here."""
        return UnsupportedOpError(
            f"{self.node.op} {what} cannot be written as ONNX",
            where=f"node {self.node.name}",
            cure="write it by other operators, or add an exporter in verifiers/onnx_writer/exporters/",
        )

    def _name(self, operand: Operand | str | None) -> str | None:
        if operand is None or isinstance(operand, str):
            return operand
        if isinstance(operand, Ref):
            return operand.name
        return self.real(operand) if not isinstance(operand, Tensor) else self.sheet.constant(operand)

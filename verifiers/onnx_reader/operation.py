"""One operator of the file, as its converter sees it: inputs, attributes, and a place to put nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from robustbench_local.errors import GraphError, UnsupportedOpError

from ..builder import Build
from .value import Value

__all__ = ["NodeSink", "Operation"]


class NodeSink(Protocol):
    """Where converters put the graph's nodes."""

    symbolic: bool
    dtype: torch.dtype
    new: Build

    def add(self, name: str, target: Callable[..., Any], args: tuple[Any, ...], leading: bool) -> Value:
        """A new node; `args` may hold values and nodes at any depth."""
        ...

    def is_real(self, value: Value) -> bool:
        """Whether the value holds floating-point numbers (else truth values or indices)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """`kind` in version `opset` of ONNX, with `inputs`: values, constants (tensors), None where left out.

    `alone[i]`: input i is read by this operator only.
    """

    sink: NodeSink
    kind: str
    name: str
    opset: int
    inputs: Sequence[Value | Tensor | None]
    attributes: Mapping[str, Any]
    outputs: int
    alone: Sequence[bool]

    def scalar(self, value: float) -> Tensor:
        """A number as a constant of the graph."""
        return torch.tensor(value, dtype=self.dtype)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the graph's floating-point constants."""
        return self.sink.dtype

    @property
    def where(self) -> str:
        """The operator's place, for messages."""
        return f"node {self.name!r}"

    def add(self, target: Callable[..., Any], *args: Any, leading: bool) -> Value:
        """A node that computes `target(*args)`; values (or nodes), at any depth, become its inputs."""
        return self.sink.add(self.name, target, args, leading)

    @property
    def build(self) -> Build:
        """The graph under construction, for operators that take many nodes."""
        return self.sink.new

    def operand(self, index: int) -> Value | Tensor:
        """Input `index`, which must be there."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if found is None:
            raise GraphError(f"{self.kind} without its input {index}", where=self.where, cure=_BROKEN)
        return found

    def value(self, index: int = 0) -> Value:
        """Input `index`, which must depend on the network's input."""
        found = self.operand(index)
        if not isinstance(found, Value):
            raise UnsupportedOpError(
                f"{self.kind} with a constant as its input {index}",
                where=self.where,
                cure="only its other inputs may be constant",
            )
        return found

    def constant(self, index: int) -> Tensor | None:
        """Input `index` as a constant; None where it is left out."""
        found = self.inputs[index] if index < len(self.inputs) else None
        if isinstance(found, Value):
            raise UnsupportedOpError(
                f"{self.kind} whose input {index} depends on the network's input",
                where=self.where,
                cure="it must be a constant of the file",
            )
        return found

    def required(self, index: int) -> Tensor:
        """Input `index`, which must be there and constant."""
        self.operand(index)
        found = self.constant(index)
        assert found is not None
        return found

    def number(self, name: str, default: float) -> float:
        """The attribute as a float."""
        return float(self.attributes.get(name, default))

    def integer(self, name: str, default: int) -> int:
        """The attribute as an integer."""
        return int(self.attributes.get(name, default))

    def text(self, name: str, default: str) -> str:
        """The attribute as text."""
        found = self.attributes.get(name, default)
        return found.decode() if isinstance(found, bytes) else str(found)

    def integers(self, name: str, index: int | None = None) -> list[int] | None:
        """A list of integers, from the attribute or (in later opsets) from input `index`; None: left out."""
        if name in self.attributes:
            return [int(v) for v in self.attributes[name]]
        found = None if index is None else self.constant(index)
        return None if found is None else [int(v) for v in found.reshape(-1).tolist()]

    def unsupported(self, what: str, cure: str) -> UnsupportedOpError:
        """The error for a use of the operator that the reader does not know."""
        return UnsupportedOpError(f"{self.kind}: {what}", where=self.where, cure=cure)

    def axis(self, axis: int, rank: int) -> int:
        """An axis of a tensor of `rank` axes, counted from the front."""
        if not -rank <= axis < rank:
            raise GraphError(f"{self.kind} along axis {axis} of {rank}", where=self.where, cure=_BROKEN)
        return axis % rank


_BROKEN = "the file is not valid ONNX: export it again"

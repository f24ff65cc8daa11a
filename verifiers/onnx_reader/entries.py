"""The inputs of a file and the outputs that are asked for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from robustbench_local.errors import DtypeError, GraphError

__all__ = ["LARGEST", "Entry", "dtype_of", "entries_of", "outputs_of"]

#: The most coordinates of one sample at one node.
LARGEST = 2**28


@dataclass(frozen=True, slots=True)
class Entry:
    """An input: the file's shape at batch size one, and whether the file leaves the batch size open."""

    name: str
    shape: tuple[int, ...]
    symbolic: bool

    @property
    def leading(self) -> bool:
        """Whether axis 0, of length one, is the batch axis, as in `Value`."""
        return len(self.shape) > 1 and self.shape[0] == 1

    @property
    def sample(self) -> tuple[int, ...]:
        """One sample's shape."""
        return self.shape[1:] if self.leading else self.shape


def entries_of(proto: Any) -> list[Entry]:
    """The inputs of an ONNX graph that are not weights, in its order."""
    weights = {tensor.name for tensor in proto.initializer}
    entries = [_entry(given) for given in proto.input if given.name not in weights]
    if not entries:
        raise GraphError("the network has no input", cure="export it again, with a tensor as its input")
    if sum(math.prod(entry.shape) for entry in entries) > LARGEST:
        raise GraphError("the inputs are too large together", cure="export the network again")
    return entries


def dtype_of(proto: Any, entries: Sequence[Entry]) -> torch.dtype:
    """The dtype to compute in: float64 where an input is double, else float32."""
    from onnx import TensorProto

    kinds = {TensorProto.FLOAT: torch.float32, TensorProto.DOUBLE: torch.float64}
    given = {entry.name: entry.type.tensor_type.elem_type for entry in proto.input}
    for entry in entries:
        if given[entry.name] not in kinds:
            raise DtypeError(
                f"the input {entry.name!r} has element type {given[entry.name]} of ONNX's TensorProto",
                cure="export the network with float or double inputs",
            )
    found = {kinds[given[entry.name]] for entry in entries}
    return torch.float64 if torch.float64 in found else torch.float32


def outputs_of(proto: Any, wanted: str | Sequence[str] | None) -> list[str]:
    """The names of the values that the graph ends in: all outputs, or the values that are asked for."""
    declared = [str(entry.name) for entry in proto.output]
    names = declared if wanted is None else [wanted] if isinstance(wanted, str) else list(wanted)
    made = {*declared, *(name for node in proto.node for name in node.output if name)}
    missing = [name for name in names if name not in made]
    if missing or not names or len(set(names)) < len(names):
        said = f", not {missing[0]!r}" if missing else ""
        known = ", ".join(map(repr, declared)) or "none"
        raise GraphError(
            f"the network's outputs are {known}{said}",
            cure="name outputs or inner values of the file, each once: output=...",
        )
    return names


def _entry(given: Any) -> Entry:
    tensor = given.type.tensor_type
    where = f"input {given.name!r}"
    if not tensor.HasField("shape"):
        raise GraphError("the input has no shape", where=where, cure="export it with one")
    sizes = [d.dim_value if d.HasField("dim_value") else 0 for d in tensor.shape.dim]
    symbolic = bool(sizes) and sizes[0] <= 0
    shape = (1, *sizes[1:]) if symbolic else tuple(sizes)
    if any(s <= 0 for s in shape) or math.prod(shape) > LARGEST:
        raise GraphError(
            f"the input has the shape {['?' if s <= 0 else s for s in sizes]}",
            where=where,
            cure="only the batch axis may be open: fix the others (onnx.tools.update_model_dims)",
        )
    return Entry(str(given.name), shape, symbolic and len(shape) > 1)

"""The file's constants: as arrays while operators on them are evaluated, as tensors in the graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_local.errors import GraphError, NonFiniteError

from ..graph import Node, mapped
from .folding import Array

__all__ = ["arrays_of", "check_finite", "tensor_of"]


def arrays_of(proto: Any) -> dict[str, Array]:
    """The weights of an ONNX graph by name; GraphError: one cannot be read."""
    from onnx import numpy_helper

    if proto.sparse_initializer:
        raise GraphError("the file holds sparse weights", cure="export it with dense weights")
    found: dict[str, Array] = {}
    for tensor in proto.initializer:
        try:
            found[tensor.name] = numpy_helper.to_array(tensor)
        except Exception as error:  # wrong sizes, unknown types
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
            raise GraphError(
                f"the weights {tensor.name!r} cannot be read: {reason}", cure="export the file again"
            ) from error
    return found


def tensor_of(array: Array, dtype: torch.dtype) -> Tensor:
    """A constant for the graph: floating-point numbers in the graph's dtype, the rest as it is."""
    if array.dtype.kind in "biu":
        return torch.from_numpy(np.array(array))
    if array.dtype.kind in "OSUcM":
        raise GraphError(f"a constant of type {array.dtype}", cure="only numbers are supported")
    real = np.array(array, dtype=np.float64 if dtype is torch.float64 else np.float32, order="C")
    return torch.from_numpy(real)


def check_finite(node: Node) -> None:
    """Raise NonFiniteError where a constant of the node is NaN or infinite, or a number is NaN."""
    numbers: list[float] = []
    mapped((node.args, node.kwargs), lambda v: numbers.append(v) if isinstance(v, float) else None)
    tensors = [c for c in node.constants() if c.is_floating_point()]
    if any(n != n for n in numbers) or not all(bool(torch.isfinite(t).all()) for t in tensors):
        raise NonFiniteError(
            "a weight is NaN or infinite",
            where=f"node {node.name!r}",
            cure="export the network again; nothing can be proved",
        )

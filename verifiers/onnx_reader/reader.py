"""`from_onnx`: the entry point, and what the file's input means."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from robustbench_local.errors import DtypeError, GraphError, RobustBenchError

from ..graph import Graph
from .build import LARGEST, Builder
from .load import load_model, opset_of

if TYPE_CHECKING:
    import onnx

__all__ = ["from_onnx"]

_BATCH = 3  # samples of the trial run


def from_onnx(source: str | Path | onnx.ModelProto, *, output: str | None = None) -> Graph:
    """The graph of an ONNX file (`.onnx`, `.onnx.gz`, external data beside it) or model, opset 7 and later.

    The file is read as a function of one sample. Axis 0 of its input is the batch axis where it is symbolic
    or 1 and other axes follow; a sample then has the remaining axes. Otherwise (a vector, 12 x 8) a sample is
    the whole declared input and the graph prepends a batch axis. In both cases VNN-LIB's X_i is coordinate i
    of the sample in row-major order. The graph takes any batch size, whatever the file fixes. Y_i is
    coordinate i of the output sample, alike.

    `output` names the output of a file with several. Everything that does not depend on the input is
    evaluated once. Weights are float32 (float64 where the input is double). No code of the file runs.

    DataError: missing or broken file. GraphError: wrong opset, several inputs, an unknown input shape,
    operators along the open batch axis. UnsupportedOpError: no converter. NonFiniteError: a weight is NaN
    or infinite. DtypeError: an input that is not float or double.
    """
    model = load_model(source)
    where = str(source) if isinstance(source, str | Path) else None
    try:
        return _read(model, output)
    except RobustBenchError as error:
        if where is None:
            raise
        place = f"{where}, {error.where}" if error.where else where
        raise type(error)(error.what, where=place, cure=error.cure) from error


def _read(model: onnx.ModelProto, output: str | None) -> Graph:
    opset, proto = opset_of(model), model.graph
    entry = _only_input(proto)
    shape, symbolic = _shape(entry)
    leading = len(shape) > 1 and shape[0] == 1
    builder = Builder(proto, opset, dtype=_dtype(entry), symbolic=symbolic)
    graph = builder.build(shape, leading, entry.name, _output(proto, output))
    _try(graph)
    return graph


def _only_input(proto: Any) -> Any:
    weights = {tensor.name for tensor in proto.initializer}
    inputs = [entry for entry in proto.input if entry.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(repr(entry.name) for entry in inputs) or "none"
        raise GraphError(f"the network's inputs are {names}", cure="export it with one tensor as its input")
    return inputs[0]


def _output(proto: Any, wanted: str | None) -> str:
    names = [str(entry.name) for entry in proto.output]
    if wanted is None and len(names) == 1:
        return names[0]
    if wanted is None or wanted not in names:
        said = "" if wanted is None else f", not {wanted!r}"
        known = ", ".join(map(repr, names)) or "none"
        raise GraphError(f"the network's outputs are {known}{said}", cure="name one of them: output=...")
    return wanted


def _shape(entry: Any) -> tuple[tuple[int, ...], bool]:
    """The input's shape at batch size one, and whether the file leaves the batch size open."""
    tensor = entry.type.tensor_type
    if not tensor.HasField("shape"):
        raise GraphError("the input has no shape", where=f"input {entry.name!r}", cure="export it with one")
    sizes = [d.dim_value if d.HasField("dim_value") else 0 for d in tensor.shape.dim]
    symbolic = bool(sizes) and sizes[0] <= 0
    shape = (1, *sizes[1:]) if symbolic else tuple(sizes)
    if not shape or any(s <= 0 for s in shape) or math.prod(shape) > LARGEST:
        said = ["?" if s <= 0 else s for s in sizes]
        raise GraphError(
            f"the input has the shape {said}",
            where=f"input {entry.name!r}",
            cure="only the batch axis may be open: fix the others (onnx.tools.update_model_dims)",
        )
    return shape, symbolic and len(shape) > 1


def _dtype(entry: Any) -> torch.dtype:
    from onnx import TensorProto

    kinds = {TensorProto.FLOAT: torch.float32, TensorProto.DOUBLE: torch.float64}
    kind = entry.type.tensor_type.elem_type
    if kind not in kinds:
        raise DtypeError(
            f"the input {entry.name!r} has element type {kind} of ONNX's TensorProto",
            cure="export the network with a float or double input",
        )
    return kinds[kind]


@torch.no_grad()
def _try(graph: Graph) -> None:
    """Raise GraphError where the graph does not run on a batch."""
    x = torch.zeros(_BATCH, *graph.input_shape, dtype=graph.dtype)
    try:
        found = tuple(graph.run(x).shape)
    except (RuntimeError, MemoryError) as error:
        reason = (str(error).strip().splitlines() or ["out of memory"])[0][:200]
        raise GraphError(
            f"the network cannot be run: {reason}", cure="check the file with onnxruntime"
        ) from error
    if found != (_BATCH, *graph.output_shape):
        raise GraphError(f"the network maps {tuple(x.shape)} to {found}", cure="report this file")

"""`from_onnx`: the entry point, and what the file's inputs and outputs mean."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from robustbench_local.errors import GraphError, RobustBenchError

from ..graph import Graph
from .build import build
from .entries import outputs_of
from .load import load_model, opset_of

if TYPE_CHECKING:
    import onnx

__all__ = ["from_onnx"]

_BATCH = 3  # samples of the trial run


def from_onnx(source: str | Path | onnx.ModelProto, *, output: str | Sequence[str] | None = None) -> Graph:
    """The graph of an ONNX file (`.onnx`, `.onnx.gz`, external data beside it) or model, opset 7 and later.

    The file is read as a function of one sample. Axis 0 of its input is the batch axis where it is symbolic
    or 1 and other axes follow; a sample then has the remaining axes. Otherwise (a vector, 12 x 8) a sample is
    the whole declared input and the graph prepends a batch axis. In both cases VNN-LIB's X_i is coordinate i
    of the sample in row-major order. The graph takes any batch size, whatever the file fixes. Y_i is
    coordinate i of the output sample, alike.

    Several inputs become one: a sample is all of them, flat (row-major), one after the other in the file's
    order; several outputs alike. `graph.interface` has their names and shapes. Class indices and truth
    values at an output become floating-point numbers.

    `output` names the values to end in instead of the file's outputs: outputs or inner values. Everything
    that does not depend on the input is evaluated once. Weights are float32 (float64 where an input is
    double). No code of the file runs.

    DataError: missing or broken file. GraphError: wrong opset, an unknown input shape, operators along the
    open batch axis. UnsupportedOpError: no converter. NonFiniteError: a weight is NaN or infinite.
    DtypeError: an input that is not float or double.
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
    except Exception as error:  # whatever else a malformed file makes of protobuf, numpy or torch
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise GraphError(
            f"the file cannot be read: {reason}", where=where, cure="check it with onnx.checker"
        ) from error


def _read(model: onnx.ModelProto, output: str | Sequence[str] | None) -> Graph:
    graph = build(model.graph, opset_of(model), outputs_of(model.graph, output))
    _try(graph)
    return graph


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

"""From an ONNX model to a graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from robustbench_local.errors import GraphError

from ..graph import Graph
from ..interface import Inner, Interface, Port, Tap
from .constants import check_finite
from .ends import entered, joined, real
from .entries import dtype_of, entries_of
from .interpreter import Interpreter
from .layout import reshape
from .order import names_read
from .value import Value

__all__ = ["build"]


def build(proto: Any, opset: int, outputs: Sequence[str]) -> Graph:
    """The graph of the ONNX graph `proto` from all inputs to `outputs`, with the names of its values."""
    entries = entries_of(proto)
    readers = Counter(name for node in proto.node for name in names_read(node))
    readers.update(end.name for end in proto.output)
    readers.update(outputs)
    symbolic = any(entry.symbolic for entry in entries)
    work = Interpreter(readers, dtype=dtype_of(proto, entries), symbolic=symbolic)
    work.values.update(entered(work.operation(None, "inputs", opset), entries))
    work.run(proto, outputs, opset)
    ends = {name: _end(work, name) for name in outputs}
    found = [end for end in ends.values() if isinstance(end, Value)]
    if not found:
        raise GraphError(
            f"the output {outputs[0]!r} does not depend on the input", cure="check the exported outputs"
        )
    op = work.operation(None, "output", opset)
    result = real(op, found[0]) if len(ends) == 1 else joined(op, list(ends.values()))
    if not result.node.shape:  # a sample is at least a vector
        result = reshape(op, result, (1,))
    graph = work.new.graph(result.node, (work.dtype, torch.device("cpu")))
    for node in graph.nodes:
        check_finite(node)
    taps = {n: Tap(v.node, v.shape) for n, v in work.values.items() if isinstance(v, Value)}
    interface = Interface(
        tuple(Port(entry.name, entry.shape) for entry in entries),
        tuple(Port(name, tuple(end.shape)) for name, end in ends.items()),
        Inner(tuple(work.new.nodes), taps),
    )
    return replace(graph, interface=interface)


def _end(work: Interpreter, name: str) -> Value | Tensor:
    value = work.operand(name) if name in work.values else None
    if value is None:
        raise GraphError(f"nothing computes the output {name!r}", cure="check the file with onnx.checker")
    return value

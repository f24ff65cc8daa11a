"""From an ONNX model to nodes: folds what is constant, lets the converters do the rest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_local.errors import GraphError, NonFiniteError, RobustBenchError, UnsupportedOpError

from ..builder import Build, mapped
from ..graph import Graph, Node
from ..interface import Inner, Interface, Port, Tap
from .converters.indexing import pick
from .ending import joined, real
from .entries import LARGEST, Entry
from .folding import Array, fold
from .layout import reshape, settle
from .operation import Operation
from .order import names_read, needed_operators
from .registry import CONVERTERS
from .value import Value

__all__ = ["Builder"]


class Builder:
    """The graph under construction; `values` maps the file's names to values and constants."""

    def __init__(self, proto: Any, opset: int, *, dtype: torch.dtype, symbolic: bool) -> None:
        self.proto = proto
        self.opset = opset
        self.dtype = dtype
        self.symbolic = symbolic
        self.new = Build(eager=True)
        self.values: dict[str, Value | Array] = {}
        self.tensors: dict[str, Tensor] = {}
        self.readers = Counter(name for node in proto.node for name in names_read(node))
        self.readers.update(output.name for output in proto.output)

    def build(self, entries: Sequence[Entry], outputs: Sequence[str]) -> Graph:
        """The graph from all inputs to `outputs`."""
        self.readers.update(outputs)
        self._enter(entries)
        self._initializers(self.proto)
        for proto in needed_operators(self.proto, outputs):
            self._guarded(proto)
        ends = [self._end(name) for name in outputs]
        found = [end for end in ends if isinstance(end, Value)]
        if not found:
            raise GraphError(
                f"the output {outputs[0]!r} does not depend on the input", cure="check the exported outputs"
            )
        op = self._operation(None, "output")
        result = real(op, found[0]) if len(ends) == 1 else joined(op, ends)
        if not result.node.shape:  # a sample is at least a vector
            result = reshape(op, result, (1,))
        graph = self.new.graph(result.node, (self.dtype, torch.device("cpu")))
        for node in graph.nodes:
            _check_finite(node)
        return replace(graph, interface=self._interface(entries, dict(zip(outputs, ends, strict=True))))

    def _enter(self, entries: Sequence[Entry]) -> None:
        """The input node, and of several inputs (or a single number) each as a part of it."""
        if len(entries) == 1 and entries[0].shape:
            only = entries[0]
            self.new.name = only.name
            node = self.new.enter(None, (), {}, only.sample, self.dtype)
            self.values[only.name] = Value(node, only.shape, only.leading)
            return
        total = sum(math.prod(entry.shape) for entry in entries)
        self.new.name = "inputs"
        flat = Value(self.new.enter(None, (), {}, (total,), self.dtype), (1, total), True)
        start = 0
        for entry in entries:
            stop = start + math.prod(entry.shape)
            op = self._operation(None, entry.name)
            self.values[entry.name] = reshape(op, pick(op, flat, 1, range(start, stop)), entry.shape)
            start = stop

    def _end(self, name: str) -> Value | Tensor:
        value = self._operand(name) if name in self.values else None
        if value is None:
            raise GraphError(f"nothing computes the output {name!r}", cure="check the file with onnx.checker")
        return value

    def _interface(self, entries: Sequence[Entry], ends: dict[str, Value | Tensor]) -> Interface:
        taps = {n: Tap(v.node, v.shape) for n, v in self.values.items() if isinstance(v, Value) and n}
        return Interface(
            tuple(Port(entry.name, entry.shape) for entry in entries),
            tuple(Port(name, tuple(end.shape)) for name, end in ends.items()),
            Inner(tuple(self.new.nodes), taps),
        )

    def add(self, name: str, target: Callable[..., Any], args: tuple[Any, ...], leading: bool) -> Value:
        """A new node; its shape comes from running the operator on tensors without data."""
        self.new.name = name
        node = self.new.call(target, *mapped(args, _opened))
        shape = node.shape
        if 0 in shape or math.prod(shape) > LARGEST:
            raise GraphError(f"a tensor of shape {shape}", where=f"node {name!r}", cure="export it again")
        return Value(node, (1, *shape) if leading else shape, leading)

    def is_real(self, value: Value) -> bool:
        """Whether the value holds floating-point numbers."""
        return self.new.dtype(value.node).is_floating_point

    def _initializers(self, proto: Any) -> None:
        from onnx import numpy_helper

        if proto.sparse_initializer:
            raise GraphError("the file holds sparse weights", cure="export it with dense weights")
        for tensor in proto.initializer:
            try:
                self.values[tensor.name] = numpy_helper.to_array(tensor)
            except Exception as error:  # wrong sizes, unknown types, external data without a folder
                raise GraphError(
                    f"the weights {tensor.name!r} cannot be read: {str(error).splitlines()[:1]}",
                    cure="export the file again; give a path, not a model, where data are external",
                ) from error

    def _convert(self, proto: Any) -> None:
        missing = [n for n in proto.input if n and n not in self.values]
        if missing:
            raise GraphError(
                f"{proto.op_type} reads {missing[0]!r}, which nothing computes",
                where=f"node {proto.name!r}",
                cure="the file is not valid ONNX, or the output is one that is not supported",
            )
        inputs = [self.values[n] if n else None for n in proto.input]
        standard = proto.domain in ("", "ai.onnx")
        if standard and proto.op_type in ("Shape", "Size") and isinstance(inputs[0], Value):
            full = np.empty(0) if 0 in inputs[0].shape else np.broadcast_to(np.float32(0), inputs[0].shape)
            inputs = [full]  # the file at batch size one
        if standard and not any(isinstance(v, Value) for v in inputs):
            arrays = [v for v in inputs if not isinstance(v, Value)]
            self.values.update(zip(proto.output, fold(proto, self.opset, arrays), strict=True))
            return
        if not standard or proto.op_type not in CONVERTERS:
            known = ", ".join(sorted(CONVERTERS))
            raise UnsupportedOpError(
                f"no converter for the ONNX operator {proto.domain and proto.domain + '.'}{proto.op_type}",
                where=f"node {proto.name!r}",
                cure=f"add one in verifiers/onnx_reader/converters/, or use only {known}",
            )
        op = self._operation(proto, proto.name or proto.output[0])
        found = CONVERTERS[op.kind](op)
        results = [found] if isinstance(found, Value) else list(found)
        self.values.update((n, settle(op, v)) for n, v in zip(proto.output, results, strict=False) if n)

    def _guarded(self, proto: Any) -> None:
        try:
            self._convert(proto)
        except RobustBenchError:
            raise
        except Exception as error:  # a malformed operator can fail anywhere: in torch, in its attributes
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
            raise GraphError(
                f"{proto.op_type} cannot be read: {reason}",
                where=f"node {proto.name!r}",
                cure="check the file with onnx.checker",
            ) from error

    def _operation(self, proto: Any, name: str) -> Operation:
        if proto is None:
            return Operation(self, "Identity", name, self.opset, (), {}, 1, ())
        from onnx import helper

        attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
        inputs = [self._operand(n) for n in proto.input]
        alone = [self.readers[n] == 1 for n in proto.input]
        self.new.name = name
        return Operation(self, proto.op_type, name, self.opset, inputs, attributes, len(proto.output), alone)

    def _operand(self, name: str) -> Value | Tensor | None:
        if not name:
            return None
        value = self.values[name]
        if isinstance(value, Value):
            return value
        if name not in self.tensors:
            self.tensors[name] = _tensor(value, self.dtype)
        return self.tensors[name]


def _tensor(array: Array, dtype: torch.dtype) -> Tensor:
    """A constant for the graph: floating-point numbers in the graph's dtype, the rest as it is."""
    if array.dtype.kind in "biu":
        return torch.from_numpy(np.array(array))
    if array.dtype.kind in "OSUcM":
        raise GraphError(f"a constant of type {array.dtype}", cure="only numbers are supported")
    real = np.array(array, dtype=np.float64 if dtype is torch.float64 else np.float32, order="C")
    return torch.from_numpy(real)


def _check_finite(node: Node) -> None:
    for tensor in (a for a in node.args if isinstance(a, Tensor) and a.is_floating_point()):
        if not bool(torch.isfinite(tensor).all()):
            raise NonFiniteError(
                "a weight is NaN or infinite",
                where=f"node {node.name!r}",
                cure="export the network again; nothing can be proved",
            )


def _opened(value: Any) -> Any:
    return value.node if isinstance(value, Value) else value

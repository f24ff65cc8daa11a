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

from robustbench_local.errors import GraphError, RobustBenchError, UnsupportedOpError

from ..builder import Build, mapped
from ..graph import Graph
from ..interface import Inner, Interface, Port, Tap
from .constants import arrays_of, check_finite, tensor_of
from .ends import entered, joined, real
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
        self.values.update(entered(self._operation(None, "inputs"), entries))
        self._run(self.proto, outputs)
        ends = {name: self._end(name) for name in outputs}
        found = [end for end in ends.values() if isinstance(end, Value)]
        if not found:
            raise GraphError(
                f"the output {outputs[0]!r} does not depend on the input", cure="check the exported outputs"
            )
        op = self._operation(None, "output")
        result = real(op, found[0]) if len(ends) == 1 else joined(op, list(ends.values()))
        if not result.node.shape:  # a sample is at least a vector
            result = reshape(op, result, (1,))
        graph = self.new.graph(result.node, (self.dtype, torch.device("cpu")))
        for node in graph.nodes:
            check_finite(node)
        taps = {n: Tap(v.node, v.shape) for n, v in self.values.items() if isinstance(v, Value)}
        interface = Interface(
            tuple(Port(entry.name, entry.shape) for entry in entries),
            tuple(Port(name, tuple(end.shape)) for name, end in ends.items()),
            Inner(tuple(self.new.nodes), taps),
        )
        return replace(graph, interface=interface)

    def add(self, name: str, target: Callable[..., Any], args: tuple[Any, ...], leading: bool) -> Value:
        """A new node; its shape comes from running the operator on stand-ins."""
        self.new.name = name
        node = self.new.call(target, *mapped(args, _opened))
        shape = node.shape
        if 0 in shape or math.prod(shape) > LARGEST:
            raise GraphError(f"a tensor of shape {shape}", where=f"node {name!r}", cure="export it again")
        return Value(node, (1, *shape) if leading else shape, leading)

    def is_real(self, value: Value) -> bool:
        """Whether the value holds floating-point numbers."""
        return self.new.dtype(value.node).is_floating_point

    def _end(self, name: str) -> Value | Tensor:
        value = self._operand(name) if name in self.values else None
        if value is None:
            raise GraphError(f"nothing computes the output {name!r}", cure="check the file with onnx.checker")
        return value

    def _run(self, proto: Any, outputs: Sequence[str]) -> None:
        """The operators of an ONNX graph that `outputs` need."""
        self.values.update(arrays_of(proto))
        for node in needed_operators(proto, outputs):
            self._guarded(node)

    def _guarded(self, proto: Any) -> None:
        try:
            results = self._results(proto)
            self.values.update((n, v) for n, v in zip(proto.output, results, strict=False) if n)
        except RobustBenchError:
            raise
        except Exception as error:  # a malformed operator can fail anywhere: in torch, in its attributes
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
            raise GraphError(
                f"{proto.op_type} cannot be read: {reason}",
                where=f"node {proto.name!r}",
                cure="check the file with onnx.checker",
            ) from error

    def _results(self, proto: Any) -> Sequence[Value | Array]:
        """The values and constants that one operator gives."""
        missing = [n for n in proto.input if n and n not in self.values]
        if missing:
            raise GraphError(
                f"{proto.op_type} reads {missing[0]!r}, which nothing computes",
                where=f"node {proto.name!r}",
                cure="the file is not valid ONNX, or the output is one that is not supported",
            )
        inputs = [self.values[n] if n else None for n in proto.input]
        standard = proto.domain in ("", "ai.onnx")
        if standard and proto.op_type == "If":
            return self._branch(proto, inputs[0])
        if standard and proto.op_type in ("Shape", "Size") and isinstance(inputs[0], Value):
            full = np.empty(0) if 0 in inputs[0].shape else np.broadcast_to(np.float32(0), inputs[0].shape)
            inputs = [full]  # the file at batch size one
        if standard and not any(isinstance(v, Value) for v in inputs):
            return fold(proto, self.opset, [v for v in inputs if not isinstance(v, Value)])
        if not standard or proto.op_type not in CONVERTERS:
            known = ", ".join(sorted(CONVERTERS))
            raise UnsupportedOpError(
                f"no converter for the ONNX operator {proto.domain and proto.domain + '.'}{proto.op_type}",
                where=f"node {proto.name!r}",
                cure=f"add one in verifiers/onnx_reader/converters/, or use only {known}",
            )
        op = self._operation(proto, proto.name or proto.output[0])
        found = CONVERTERS[op.kind](op)
        return [settle(op, v) for v in ([found] if isinstance(found, Value) else found)]

    def _branch(self, proto: Any, condition: Value | Array | None) -> Sequence[Value | Array]:
        """The branch of an If that a constant condition takes."""
        if condition is None or isinstance(condition, Value):
            raise UnsupportedOpError(
                "If whose condition depends on the network's input",
                where=f"node {proto.name!r}",
                cure="compute both branches and choose by Where",
            )
        wanted = "then_branch" if bool(np.all(condition)) else "else_branch"
        graph = next(attribute.g for attribute in proto.attribute if attribute.name == wanted)
        ends = [str(end.name) for end in graph.output]
        self._run(graph, ends)
        return [self.values[end] for end in ends]

    def _operation(self, proto: Any, name: str) -> Operation:
        if proto is None:
            self.new.name = name
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
            self.tensors[name] = tensor_of(value, self.dtype)
        return self.tensors[name]


def _opened(value: Any) -> Any:
    return value.node if isinstance(value, Value) else value

"""From an ONNX model to nodes: folds what is constant, lets the converters do the rest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_local.errors import GraphError, NonFiniteError, RobustBenchError, UnsupportedOpError

from ..graph import Graph, Node, Slot, assemble
from .folding import Array, fold
from .layout import settle, whole
from .operation import Operation
from .order import needed_operators
from .registry import CONVERTERS
from .value import Value

__all__ = ["LARGEST", "Builder"]

#: The most coordinates of one sample at one node.
LARGEST = 2**28


class Builder:
    """The graph under construction; `values` maps the file's names to values and constants."""

    def __init__(self, proto: Any, opset: int, *, dtype: torch.dtype, symbolic: bool) -> None:
        self.proto = proto
        self.opset = opset
        self.dtype = dtype
        self.symbolic = symbolic
        self.nodes: list[Node] = []
        self.meta: dict[Node, Tensor] = {}
        self.values: dict[str, Value | Array] = {}
        self.tensors: dict[str, Tensor] = {}
        self.readers = Counter(name for node in proto.node for name in node.input)
        self.readers.update(output.name for output in proto.output)

    def build(self, entry: Value, name: str, output: str) -> Graph:
        """The graph from the input `name` to `output`."""
        self._enter(entry.node, torch.empty(2, *entry.node.shape, dtype=self.dtype, device="meta"))
        self._initializers()
        self.values[name] = entry
        for proto in needed_operators(self.proto, output):
            self._guarded(proto)
        result = self.values.get(output)
        if not isinstance(result, Value):
            raise GraphError(
                f"the output {output!r} does not depend on the input", cure="check the exported outputs"
            )
        if not result.node.shape:  # a sample is at least a vector
            result = whole(self._operation(None, "output"), result)
        return self._assemble(result.node)

    def add(self, name: str, target: Callable[..., Any], args: tuple[Any, ...], leading: bool) -> Value:
        """A new node; its shape comes from running the operator on tensors without data."""
        inputs: list[Node] = []
        template = _mapped(args, lambda node: _slot(inputs, node))
        shadows = _mapped(args, self.meta.__getitem__, tensor=lambda t: t.to("meta"))
        result: Tensor = target(*shadows)
        if result.dim() == 0 or result.shape[0] != 2:
            raise GraphError(
                f"{target} mixes samples", where=f"node {name!r}", cure="export with a batch size of 1"
            )
        shape = tuple(result.shape[1:])
        if 0 in shape or math.prod(shape) > LARGEST:
            raise GraphError(f"a tensor of shape {shape}", where=f"node {name!r}", cure="export it again")
        node = Node(name, target, tuple(inputs), template, {}, shape, len(self.nodes))
        self._enter(node, result)
        return Value(node, (1, *shape) if leading else shape, leading)

    def is_real(self, value: Value) -> bool:
        """Whether the value holds floating-point numbers."""
        return self.meta[value.node].is_floating_point()

    def _enter(self, node: Node, shadow: Tensor) -> None:
        self.nodes.append(node)
        self.meta[node] = shadow

    def _initializers(self) -> None:
        from onnx import numpy_helper

        if self.proto.sparse_initializer:
            raise GraphError("the file holds sparse weights", cure="export it with dense weights")
        for tensor in self.proto.initializer:
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

    def _assemble(self, output: Node) -> Graph:
        """The graph of the nodes that the output needs."""
        needed, stack = {self.nodes[0], output}, [output]
        while stack:
            for parent in stack.pop().inputs:
                if parent not in needed:
                    needed.add(parent)
                    stack.append(parent)
        new: dict[Node, Node] = {}
        for node in self.nodes:
            if node in needed:
                inputs = tuple(new[p] for p in node.inputs)
                new[node] = Node(node.name, node.op, inputs, node.args, node.kwargs, node.shape, len(new))
        nodes = list(new.values())
        graph = assemble(nodes, new[output], pending=False, bare=(self.dtype, torch.device("cpu")))
        for node in graph.nodes:
            _check_finite(node)
        return graph


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


def _slot(inputs: list[Node], node: Node) -> Slot:
    inputs.append(node)
    return Slot(len(inputs) - 1)


def _mapped(value: Any, node: Callable[[Node], Any], tensor: Callable[[Tensor], Any] | None = None) -> Any:
    """`value` with every node (also of values) and every tensor in it replaced."""
    if isinstance(value, tuple | list):
        items = [_mapped(v, node, tensor) for v in value]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, Value):
        return node(value.node)
    if isinstance(value, Node):
        return node(value)
    return tensor(value) if tensor is not None and isinstance(value, Tensor) else value

"""Goes through a file's operators: folds what is constant, lets the converters make nodes of the rest."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robustbench_local.errors import GraphError, RobustBenchError, UnsupportedOpError

from ..builder import Build, mapped
from ..interface import Inner, Tap
from .constants import arrays_of, tensor_of
from .ends import entered
from .entries import LARGEST, Entry
from .folding import FOLDABLE, Array, fold, value_place
from .functions import defined_by
from .layout import settle
from .operation import Operation
from .order import needed_operators
from .registry import CONVERTERS
from .value import Value

__all__ = ["Interpreter"]


class Interpreter:
    """The graph under construction; `values` maps the file's names to values and constants.

    readers: how many operators and outputs read each name. symbolic: the file leaves the batch size open.
    """

    def __init__(self, readers: Counter[str], *, dtype: torch.dtype, symbolic: bool) -> None:
        self.readers = readers
        self.dtype = dtype
        self.symbolic = symbolic
        self.new = Build(eager=True)
        self.values: dict[str, Value | Array] = {}
        self.tensors: dict[str, Tensor] = {}

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

    def run(self, proto: Any, outputs: Sequence[str], opset: int) -> None:
        """The operators of an ONNX graph that `outputs` need."""
        self.values.update(arrays_of(proto))
        for node in needed_operators(proto.node, outputs):
            self._guarded(node, opset)

    def _guarded(self, proto: Any, opset: int) -> None:
        try:
            results = self._results(proto, opset)
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

    def _results(self, proto: Any, opset: int) -> Sequence[Value | Array]:
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
            return self._branch(proto, inputs[0], opset)
        if standard and proto.op_type in ("Shape", "Size") and isinstance(inputs[0], Value):
            full = np.empty(0) if 0 in inputs[0].shape else np.broadcast_to(np.float32(0), inputs[0].shape)
            inputs = [full]  # the file at batch size one
        arrays = [v for v in inputs if not isinstance(v, Value)]
        if standard and len(arrays) == len(inputs):
            constant = self._constant(proto, opset, arrays)
            if constant is not None:
                return constant
        if standard and proto.op_type not in CONVERTERS:
            call = defined_by(proto, opset, [self._kind(v) for v in inputs])
            if call is not None:
                for node in call.operators:
                    self._guarded(node, call.opset)
                return [self.values.get(name, np.empty(0)) for name in call.results]
        if not standard or proto.op_type not in CONVERTERS:
            known = ", ".join(sorted(CONVERTERS))
            raise UnsupportedOpError(
                f"no converter for the ONNX operator {proto.domain and proto.domain + '.'}{proto.op_type}",
                where=f"node {proto.name!r}",
                cure=f"add one in verifiers/onnx_reader/converters/, or use only {known}",
            )
        op = self.operation(proto, proto.name or proto.output[0], opset)
        found = CONVERTERS[op.kind](op)
        several = found if isinstance(found, list) else [found]
        return [settle(op, v) if isinstance(v, Value) else v for v in several]

    def _constant(self, proto: Any, opset: int, arrays: Sequence[Array | None]) -> Sequence[Array] | None:
        """The results of an operator on constants; None where only its definition by others gives them.

        On floating-point numbers by its converter, as in the graph: onnx's reference implementation takes
        some older versions of operators for the newest.
        """
        place = value_place(proto.op_type, arrays)
        if proto.op_type not in CONVERTERS or place is None:
            return fold(proto, opset, arrays) if proto.op_type in FOLDABLE else None
        given = arrays[place]
        assert given is not None
        dtype = torch.float64 if given.dtype == np.float64 else torch.float32
        inner = Interpreter(self.readers, dtype=dtype, symbolic=False)
        inner.values.update({n: a for n, a in zip(proto.input, arrays, strict=True) if a is not None})
        entry = Entry(proto.input[place], given.shape, False)
        inner.values.update(entered(inner.operation(None, "constant", opset), [entry]))
        results = inner._results(proto, opset)
        taps = {str(k): Tap(v.node, v.shape) for k, v in enumerate(results) if isinstance(v, Value)}
        sample = tensor_of(given, dtype).reshape(1, *inner.new.nodes[0].shape)
        found = Inner(tuple(inner.new.nodes), taps).run(sample, taps)
        arrays_found = {k: tensor.reshape(taps[k].shape).numpy() for k, tensor in found.items()}
        return [v if not isinstance(v, Value) else arrays_found[str(k)] for k, v in enumerate(results)]

    def _branch(self, proto: Any, condition: Value | Array | None, opset: int) -> Sequence[Value | Array]:
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
        self.run(graph, ends, opset)
        return [self.values[end] for end in ends]

    def _kind(self, value: Value | Array | None) -> Any:
        """The type of a value, as ONNX has it."""
        from onnx import TypeProto, helper

        if value is None:
            return TypeProto()
        dtype = value.dtype if not isinstance(value, Value) else _NUMPY[self.new.dtype(value.node)]
        return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), value.shape)

    def operation(self, proto: Any, name: str, opset: int) -> Operation:
        """The operator as its converter sees it; for None one without inputs, to add nodes by."""
        if proto is None:
            self.new.name = name
            return Operation(self, "Identity", name, opset, (), {}, 1, ())
        from onnx import helper

        attributes = {a.name: helper.get_attribute_value(a) for a in proto.attribute}
        inputs = [self.operand(n) for n in proto.input]
        alone = [self.readers[n] == 1 for n in proto.input]
        self.new.name = name
        return Operation(self, proto.op_type, name, opset, inputs, attributes, len(proto.output), alone)

    def operand(self, name: str) -> Value | Tensor | None:
        """A value, or a constant as a tensor of the graph's dtype; None for no name."""
        if not name:
            return None
        value = self.values[name]
        if isinstance(value, Value):
            return value
        if name not in self.tensors:
            self.tensors[name] = tensor_of(value, self.dtype)
        return self.tensors[name]


_NUMPY = {
    torch.float32: np.float32,
    torch.float64: np.float64,
    torch.int64: np.int64,
    torch.int32: np.int32,
    torch.bool: np.bool_,
}


def _opened(value: Any) -> Any:
    return value.node if isinstance(value, Value) else value

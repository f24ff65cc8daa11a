"""From an exported program (torch.export) to the nodes of a graph."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from robustbench_local.errors import GraphError

from .batch_axis import Moved
from .builder import Build
from .complex_numbers import TRANSFORMS, Complex, complex_call, transform
from .graph import Graph, Node, Piece
from .moved_operators import Operands, moved_call
from .placement import Placement, elsewhere, opened
from .spellings import (
    PERMUTATIONS,
    RESHAPES,
    SPLITS,
    extent,
    fill_of,
    is_identity,
    is_in_place,
    normalise,
    order_of,
)

__all__ = ["ExportedGraph"]

aten = torch.ops.aten


@dataclass(frozen=True, slots=True, eq=False)
class _Split:
    """A tensor that an operator cuts into pieces, of which some will be read."""

    source: fx.Node
    value: Node | Moved


@dataclass(frozen=True, slots=True, eq=False)
class _Several:
    """An operator with several results, of which some will be read."""

    operands: Operands


class ExportedGraph:
    """Turns one exported program into nodes, folding batch sizes, in-place and multi-output operators.

    `values` maps the program's nodes to nodes of the graph (`Moved` where the batch axis is not in front),
    constants, numbers, or sequences of these.
    """

    def __init__(self, program: Any, module: nn.Module) -> None:
        self.program = program
        self.live: dict[str, Tensor] = {
            **dict(module.named_parameters(remove_duplicate=False)),
            **dict(module.named_buffers(remove_duplicate=False)),
        }
        self.values: dict[fx.Node, Any] = {}
        self.new = Build(eager=False)
        self.place = Placement(self.new, None)

    def build(self, example: Tensor) -> Graph:
        """The graph. GraphError: several inputs or outputs, or samples are mixed."""
        signature = self.program.graph_signature
        ends = len(signature.user_inputs), len(signature.user_outputs)
        if ends != (1, 1):
            raise GraphError(
                f"the network has {ends[0]} inputs and {ends[1]} outputs",
                cure="wrap it in a module with one tensor in and one tensor out",
            )
        for node in self.program.graph.nodes:
            self.new.name = node.name
            if node.op == "placeholder":
                self._placeholder(node, signature)
            elif node.op == "call_function":
                self.values[node] = self._call(node)
            elif node.op == "output":
                result = self.values[node.args[0][0]]
                if isinstance(result, Moved):
                    raise elsewhere(node.args[0][0])
                if not isinstance(result, Node):
                    raise GraphError("the network's output does not depend on its input")
                return self.new.graph(result, (example.dtype, example.device))
        raise GraphError("the exported program has no output")

    def _placeholder(self, node: fx.Node, signature: Any) -> None:
        names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        if node.name in names:
            self.values[node] = self.live[names[node.name]]
        elif node.name in signature.inputs_to_lifted_tensor_constants:
            self.values[node] = self.program.constants[signature.inputs_to_lifted_tensor_constants[node.name]]
        else:
            value = node.meta["val"]
            if not isinstance(value, torch.Tensor):
                raise GraphError(
                    f"the network makes an object of its own when it runs: {type(value).__name__}",
                    cure="draw random numbers and make such objects once, outside forward",
                )
            symbol = value.shape[0]
            if str(symbol).isdigit():  # a number, or a symbol that stands for one
                raise GraphError(
                    f"the network fixes the batch size to {symbol}",
                    cure="let forward take any batch size",
                )
            self.place = Placement(self.new, symbol)
            layout = self.place.layout(node, value)
            self.values[node] = self.new.enter(None, (), {}, layout.sample, value.dtype)

    def _call(self, node: fx.Node) -> Any:
        target: Any = node.target
        if target is operator.getitem:
            return self._piece(node)
        value = node.meta["val"]
        if target is aten.sym_size.int:  # constants are built for a batch of one, and broadcast
            return value if isinstance(value, int) else 1
        if value is None:  # a check of the exporter's: computes nothing
            return None
        args, kwargs = _known(self.values, node.args), _known(self.values, dict(node.kwargs))
        operands = Operands(self.new, target, args, kwargs)
        if not operands.depend:
            result = self._constant(node, args, kwargs)
        elif isinstance(value, (list, tuple)):
            return self._many(node, operands)
        else:
            result = self._tensor(node, operands)
        if isinstance(value, Tensor) and is_in_place(target):  # later readers see the new value
            overwritten: Any = node.args[0]
            self.values[overwritten] = result
        return result

    def _constant(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        target: Any = node.target
        if isinstance(node.meta["val"], (list, tuple)):
            count = len(node.meta["val"])
            return tuple(self.new.constant(Piece(target, i), args, kwargs) for i in range(count))
        if not isinstance(node.meta.get("val"), Tensor):
            return target(*args, **kwargs)  # arithmetic on sizes
        return self.new.constant(target, args, kwargs)

    def _tensor(self, node: fx.Node, operands: Operands) -> Any:
        """The one result of an operator, of which some operand depends on the input."""
        target: Any = node.target
        first = operands.args[0] if operands.args else None
        if operands.is_complex or (target in TRANSFORMS and isinstance(first, Node)):
            found = _complex(self.new, operands, first)
            value = node.meta["val"]
            return found if isinstance(found, Complex) else self.place.placed(node, value, found, 1)
        if isinstance(first, (Node, Moved)):
            if is_identity(node):
                return first
            if target in RESHAPES:
                return self.place.viewed(node, first)
            if target in PERMUTATIONS:
                order = order_of(node)
                if isinstance(first, Moved) or order[0] != 0:
                    return self.place.permuted(first, order)
        if operands.moved:
            fill = fill_of(node)
            if fill is not None:
                return self.place.filled(node.meta["val"], fill)
            result, before = moved_call(operands, len(node.meta["val"].shape))
            return self.place.placed(node, node.meta["val"], result, before)
        plain, args = normalise(node, operands.args)
        result = self.new.expand(plain, args, operands.kwargs)
        if result is not None:
            return self.place.placed(node, node.meta["val"], result, 1)
        layout = self.place.layout(node, node.meta["val"])
        if not layout.is_plain:
            raise elsewhere(node)
        return self.new.enter(plain, args, operands.kwargs, layout.sample, node.meta["val"].dtype)

    def _many(self, node: fx.Node, operands: Operands) -> Any:
        """The results of an operator with several."""
        target: Any = node.target
        if target in SPLITS:
            return _Split(node, operands.args[0])
        results: Any = None
        if operands.moved:
            results, before = moved_call(operands, len(node.meta["val"][0].shape))
            if isinstance(results, Operands):
                return _Several(results)
        else:
            results, before = self.new.expand(target, operands.args, operands.kwargs), 1
        if results is None:
            return _Several(operands)
        pairs = zip(results, node.meta["val"], strict=True)
        return tuple(self.place.placed(node, value, result, before) for result, value in pairs)

    def _piece(self, node: fx.Node) -> Any:
        source_node: Any = node.args[0]
        number: Any = node.args[1]
        whole = self.values[source_node]
        value = node.meta["val"]
        if isinstance(whole, _Several):
            operands = whole.operands
            piece = Piece(operands.target, number)
            result = self.new.add(piece, operands.args, operands.kwargs)
            return self.place.placed(node, value, result, operands.before)
        if not isinstance(whole, _Split):
            return whole[number]
        result, before = _cut(self.new, whole, int(number))
        return self.place.placed(node, value, result, before)


def _cut(new: Build, whole: _Split, number: int) -> tuple[Node, int]:
    """Piece number `number` of a split, and its tensor's axes in front of the batch axis."""
    start, stop, dim = extent(whole.source, number)
    inner, layout = opened(whole.value)
    place = layout.place(dim)
    if place is None:
        raise GraphError(
            "the batch axis is split",
            where=f"node {whole.source.name}",
            cure="never mix samples in forward",
        )
    if whole.source.target is aten.unbind.int:
        return new.call(aten.select.int, inner, place, start), layout.before
    return new.call(aten.slice.Tensor, inner, place, start, stop), layout.before


def _known(values: dict[fx.Node, Any], value: Any) -> Any:
    """Arguments of the program with the values of its nodes."""
    if isinstance(value, dict):
        return {str(k): _known(values, v) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        items = [_known(values, v) for v in value]
        return tuple(items) if isinstance(value, tuple) else items
    return values[value] if isinstance(value, fx.Node) else value


def _complex(new: Build, operands: Operands, first: Any) -> Any:
    """Fourier transforms and what is done with their results."""
    target: Any = operands.target
    if target in TRANSFORMS:
        return transform(new, target, first, operands.args[1:], operands.kwargs)
    return complex_call(new, target, operands.args)

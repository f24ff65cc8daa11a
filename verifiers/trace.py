"""From a torch module to a `Graph`, through torch.export (no decomposition: one operator per layer)."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from robustbench_local.errors import (
    DtypeError,
    GraphError,
    NonFiniteError,
    RobustBenchError,
    ShapeError,
)

from .graph import Computed, Graph, Node, Piece, Slot, assemble, concatenate
from .graph_network import GraphNetwork

__all__ = ["from_torch"]

aten = torch.ops.aten


def from_torch(module: nn.Module, example: Tensor) -> Graph:
    """The graph of `module` in evaluation mode.

    `example` is (1 or more, *shape), of the dtype and on the device of the parameters; its values do
    not matter. The batch size stays free. The graph refers to the module's own parameters.
    GraphError: the module cannot be exported, fixes the batch size, mixes samples, or has several
    inputs or outputs.
    NonFiniteError: a weight is NaN or infinite.
    """
    if not example.is_floating_point():
        raise DtypeError(f"the example input is {example.dtype}", cure="give a float32 or float64 tensor")
    if example.dim() < 2 or example.shape[0] == 0:
        raise ShapeError(
            f"the example input has shape {tuple(example.shape)}",
            cure="give (1 or more, *shape): axis 0 counts samples",
        )
    _check_finite(module)
    if isinstance(module, GraphNetwork):
        return module.graph
    pair = example[:1].repeat(2, *(1 for _ in example.shape[1:]))  # export would specialise a batch of 1
    with _evaluation_mode(module):
        graph = _Builder(_export(module, pair), module).build(example)
        _check_same(graph, module, example)
    return graph


def _export(module: nn.Module, example: Tensor) -> Any:
    from torch.export import Dim, export  # heavy: loaded only when a network is traced

    try:
        return export(module, (example,), dynamic_shapes=({0: Dim.AUTO},), strict=False)
    except RobustBenchError:
        raise
    except Exception as error:  # torch.export documents no common base of its failures
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise GraphError(
            f"torch.export cannot trace {type(module).__name__}: {reason[0][:300].rstrip('.')}",
            cure="remove data-dependent control flow from forward; it must take one batched tensor",
        ) from error


def _check_finite(module: nn.Module) -> None:
    state = [*module.named_parameters(), *module.named_buffers()]
    for name, tensor in state:
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise NonFiniteError(
                "a weight is NaN or infinite",
                where=name,
                cure="retrain or reload the weights; nothing can be proved",
            )


@torch.no_grad()
def _check_same(graph: Graph, module: nn.Module, example: Tensor) -> None:
    """Raise GraphError where the graph is not the module: it then hides what a graph cannot say."""
    noise = torch.rand((3, *example.shape[1:]), generator=torch.Generator().manual_seed(0))
    x = (2 * noise - 1).to(example)
    try:
        expected, got = module(x.clone()), graph.run(x)  # a module may overwrite its input
    except RuntimeError as error:
        raise GraphError(
            f"{type(module).__name__} fails on a batch of 3: {str(error).strip().splitlines()[0][:300]}",
            cure="give an example of the shape and dtype that forward takes",
        ) from error
    if not torch.allclose(got, expected, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise GraphError(
            f"the traced graph of {type(module).__name__} computes something else than the module",
            cure="forward must not compute with the batch size, nor overwrite views of a tensor in place",
        )


@contextlib.contextmanager
def _evaluation_mode(module: nn.Module) -> Iterator[None]:
    """The module in eval mode for a moment; every submodule's own flag is put back."""
    flags = [(m, m.training) for m in module.modules()]
    try:
        module.eval()
        yield
    finally:
        for m, training in flags:
            m.training = training


@dataclass(frozen=True, slots=True, eq=False)
class _Several:
    """An operator with several results, of which some will be read."""

    op: Any
    inputs: tuple[Node, ...]
    args: Any
    kwargs: Any


class _Builder:
    """Turns one exported program into nodes, folding batch sizes, in-place and multi-output operators."""

    def __init__(self, program: Any, module: nn.Module) -> None:
        self.program = program
        self.live: dict[str, Tensor] = {
            **dict(module.named_parameters(remove_duplicate=False)),
            **dict(module.named_buffers(remove_duplicate=False)),
        }
        self.values: dict[fx.Node, Any] = {}  # graph node, tensor, number, or a list of these
        self.nodes: list[Node] = []
        self.pending = False
        self.symbol: Any = None

    def build(self, example: Tensor) -> Graph:
        signature = self.program.graph_signature
        ends = len(signature.user_inputs), len(signature.user_outputs)
        if ends != (1, 1):
            raise GraphError(
                f"the network has {ends[0]} inputs and {ends[1]} outputs",
                cure="wrap it in a module with one tensor in and one tensor out",
            )
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node, signature)
            elif node.op == "call_function":
                self.values[node] = self._call(node)
            elif node.op == "output":
                result = self.values[node.args[0][0]]
                if not isinstance(result, Node):
                    raise GraphError("the network's output does not depend on its input")
                bare = (example.dtype, example.device)
                return assemble(self.nodes, result, pending=self.pending, bare=bare)
        raise GraphError("the exported program has no output")

    def _placeholder(self, node: fx.Node, signature: Any) -> None:
        names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
        if node.name in names:
            self.values[node] = self.live[names[node.name]]
        elif node.name in signature.inputs_to_lifted_tensor_constants:
            self.values[node] = self.program.constants[signature.inputs_to_lifted_tensor_constants[node.name]]
        else:
            self.symbol = node.meta["val"].shape[0]
            if str(self.symbol).isdigit():  # a number, or a symbol that stands for one
                raise GraphError(
                    f"the network fixes the batch size to {self.symbol}",
                    cure="let forward take any batch size",
                )
            self.values[node] = self._add(node.name, None, (), (), {}, node)

    def _add(
        self, name: str, op: Any, inputs: tuple[Node, ...], args: Any, kwargs: Any, source: fx.Node
    ) -> Node:
        node = Node(name, op, inputs, args, kwargs, self._sample_shape(source), len(self.nodes))
        self.nodes.append(node)
        return node

    def _sample_shape(self, node: fx.Node) -> tuple[int, ...]:
        shape = tuple(node.meta["val"].shape)
        if (
            not shape
            or not _same_size(shape[0], self.symbol)
            or any(not isinstance(s, int) for s in shape[1:])
        ):
            raise GraphError(
                f"the batch axis does not stay in front: result of shape {tuple(str(s) for s in shape)}",
                where=f"node {node.name}, {node.target}",
                cure="keep axis 0 for samples and never mix samples in forward",
            )
        return tuple(int(s) for s in shape[1:])

    def _call(self, node: fx.Node) -> Any:
        target: Any = node.target
        if target is operator.getitem:
            return self._piece(node)
        if target is aten.sym_size.int:
            size = node.meta["val"]
            return (
                size if isinstance(size, int) else 1
            )  # constants are built for a batch of one, and broadcast
        if node.meta["val"] is None:  # a check of the exporter's: computes nothing
            return None
        inputs: list[Node] = []
        args = self._template(node.args, inputs)
        kwargs = self._template(node.kwargs, inputs)
        if not inputs:
            return self._constant(node, args, kwargs)
        if isinstance(node.meta["val"], (list, tuple)):
            if target in _SPLITS:
                return ("pieces", node, inputs[0])
            return _Several(target, tuple(inputs), args, kwargs)
        plain, args = _normalise(node, args)
        if plain is None:
            return inputs[0]
        result = self._add(node.name, plain, tuple(inputs), args, kwargs, node)
        if _is_in_place(target):  # later readers of the overwritten tensor see the new value
            overwritten: Any = node.args[0]
            self.values[overwritten] = result
        return result

    def _template(self, value: Any, inputs: list[Node]) -> Any:
        if isinstance(value, (tuple, list)):
            items = [self._template(v, inputs) for v in value]
            return tuple(items) if isinstance(value, tuple) else items
        if isinstance(value, dict):
            return {str(k): self._template(v, inputs) for k, v in value.items()}
        if not isinstance(value, fx.Node):
            return value
        known = self.values[value]
        if isinstance(known, Node):
            inputs.append(known)
            return Slot(len(inputs) - 1)
        return known

    def _constant(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        target: Any = node.target
        if not isinstance(node.meta.get("val"), Tensor):
            return target(*args, **kwargs)  # arithmetic on sizes
        self.pending = True
        return Computed(target, args, kwargs)

    def _piece(self, node: fx.Node) -> Any:
        source_node: Any = node.args[0]
        number: Any = node.args[1]
        whole = self.values[source_node]
        if isinstance(whole, _Several):
            return self._add(node.name, Piece(whole.op, number), whole.inputs, whole.args, whole.kwargs, node)
        if not (isinstance(whole, tuple) and whole[0] == "pieces"):
            return whole[number]
        _, source, parent = whole
        start, stop, dim = _extent(source, int(number))
        if source.target is aten.unbind.int:
            return self._add(node.name, aten.select.int, (parent,), (Slot(0), dim, start), {}, node)
        return self._add(node.name, aten.slice.Tensor, (parent,), (Slot(0), dim, start, stop), {}, node)


def _same_size(size: Any, symbol: Any) -> bool:
    return not isinstance(size, int) and str(size) == str(symbol)


def _is_in_place(target: Any) -> bool:
    schema = target._schema
    return any(a.alias_info is not None and a.alias_info.is_write for a in schema.arguments)


_RESHAPES = (  # squeezing by torch's own rules would also drop a batch axis of length one
    aten.view.default,
    aten.reshape.default,
    aten._unsafe_view.default,
    aten.flatten.using_ints,
    aten.unflatten.int,
    aten.squeeze.default,
    aten.squeeze.dim,
    aten.squeeze.dims,
    aten.unsqueeze.default,
)
_SPLITS = (
    aten.chunk.default,
    aten.split.Tensor,
    aten.split.sizes,
    aten.split_with_sizes.default,
    aten.tensor_split.sections,
    aten.tensor_split.indices,
    aten.unbind.int,
)
_CASTS = (  # identities where they change no dtype
    aten.to.dtype,
    aten.to.dtype_layout,
    aten.to.device,
    aten.to.other,
    aten.type_as.default,
)
_IDENTITIES = (
    aten.dropout.default,
    aten.dropout_.default,
    aten.contiguous.default,
    aten.clone.default,
    aten.alias.default,
    aten.detach.default,
    aten.detach_.default,
    aten.lift_fresh_copy.default,
    aten.feature_dropout.default,
)


def _normalise(node: fx.Node, args: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """The operator without in-place and batch-size spellings; None where it changes nothing."""
    target: Any = node.target
    first: Any = node.args[0]
    kept = target in _CASTS and node.meta["val"].dtype == first.meta["val"].dtype
    if kept or target in _IDENTITIES or (target is aten.slice.Tensor and _whole_batch(node)):
        return None, args
    if target is aten.cat.default and not all(isinstance(part, Slot) for part in args[0]):
        return concatenate, args
    if target in _RESHAPES:
        shape = [int(s) for s in node.meta["val"].shape[1:]]
        return aten.reshape.default, (Slot(0), [-1, *shape])
    if target is aten.expand.default:
        shape = [int(s) for s in node.meta["val"].shape[1:]]
        return target, (Slot(0), [-1, *shape])
    if _is_in_place(target):
        name = target._schema.name.removeprefix("aten::").rstrip("_")
        return getattr(getattr(aten, name), target._overloadname), args
    return target, args


def _whole_batch(node: fx.Node) -> bool:
    """Whether a slice takes the batch axis whole: x[:]."""
    args: Any = node.args
    shape, source = node.meta["val"].shape, args[0].meta["val"].shape
    axis = int(args[1]) if len(args) > 1 else 0
    return axis % len(shape) == 0 and str(shape) == str(source)


def _extent(source: fx.Node, index: int) -> tuple[int, int, int]:
    """Start, stop and axis of piece number `index` of a chunk, split or unbind."""
    pieces = source.meta["val"]
    args: Any = source.args
    named: Any = source.kwargs
    position = 1 if source.target is aten.unbind.int else 2
    dim = int(args[position] if len(args) > position else named.get("dim", 0))
    dim %= len(args[0].meta["val"].shape)
    if dim == 0:
        raise GraphError(
            "the batch axis is split", where=f"node {source.name}", cure="never mix samples in forward"
        )
    if source.target is aten.unbind.int:
        return index, index + 1, dim
    start = sum(int(p.shape[dim]) for p in pieces[:index])
    return start, start + int(pieces[index].shape[dim]), dim

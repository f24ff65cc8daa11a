"""The network as a list of nodes in topological order, keyed by torch operators.

A node names its operator (`torch.ops.aten.relu.default`), the nodes it reads and the constants it
uses. The batch axis is implicit: every shape here is the shape of one sample. Nodes hold no
bounds and no caches; constants are the network's own live parameters, so that bounds differentiate
into the weights and follow them through training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from robustbench_local.errors import DtypeError, ShapeError

if TYPE_CHECKING:
    from .interface import Interface

__all__ = ["Computed", "Graph", "Node", "Piece", "Slot", "concatenate", "mapped"]


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of input number `index` in a node's arguments."""

    index: int


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """A constant that an expression of parameters gives (weight norm, say), evaluated at each use."""

    op: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def value(self) -> Tensor:
        """The constant under the parameters' present values."""
        args = mapped(self.args, _evaluated)
        result: Tensor = self.op(*args, **mapped(self.kwargs, _evaluated))
        return result


@dataclass(frozen=True, slots=True)
class Piece:
    """Result number `index` of an operator with several, as an operator: `Piece(aten.max.dim, 0)`."""

    op: Callable[..., Any]
    index: int

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """The one result of `op` on these arguments."""
        result: Tensor = self.op(*args, **kwargs)[self.index]
        return result

    def __str__(self) -> str:
        return f"{self.op}[{self.index}]"


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation of the network.

    `inputs` are the nodes that depend on the network's input; `args` and `kwargs` are the operator's
    arguments, with `Slot(i)` where `inputs[i]` goes and tensors or numbers elsewhere. `shape` is one
    sample's shape. `index` is the position in `Graph.nodes`. The input node has `op` None.
    """

    name: str
    op: Callable[..., Any] | None
    inputs: tuple[Node, ...]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shape: tuple[int, ...]
    index: int
    _flat: bool = field(init=False)  # inputs stand at the top level of `args` only: the usual, fast case

    def __post_init__(self) -> None:
        within = [v for v in (*self.args, *self.kwargs.values()) if isinstance(v, (list, tuple, dict))]
        held: list[Any] = [v for v in self.kwargs.values() if isinstance(v, (Slot, Computed))]
        held += [v for v in self.args if isinstance(v, Computed)]
        mapped(within, lambda v: held.append(v) if isinstance(v, (Slot, Computed)) else None)
        object.__setattr__(self, "_flat", not held)

    def run(self, *values: Tensor) -> Tensor:
        """The operation on `values`, one (B, *shape) tensor per input."""
        if self.op is None:
            raise ShapeError("the input node computes nothing", where=self.name)
        if self._flat:
            args = [values[a.index] if isinstance(a, Slot) else a for a in self.args]
            quick: Tensor = self.op(*args, **self.kwargs)
            return quick
        fill = _filler(values)
        result: Tensor = self.op(*mapped(self.args, fill), **mapped(self.kwargs, fill))
        return result

    def argument(self, position: int, name: str, default: Any = None) -> Any:
        """The operator's argument at `position` or by keyword, else `default`."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)

    def constants(self) -> list[Tensor]:
        """The tensors that the operator uses as constants, or that expressions of constants use."""
        found: list[Tensor] = []
        mapped((self.args, self.kwargs), _collector(found))
        return found

    @property
    def numel(self) -> int:
        """Number of coordinates of one sample."""
        return int(torch.Size(self.shape).numel())


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """A network: nodes in topological order, the first is the input, `output` the result.

    `pending` tells that some constants are still expressions; `resolved()` evaluates them. `like` is a
    floating-point constant (of the traced example's kind where there is none): it tells dtype and device.
    `interface` has the names of the file that the graph was read from; None where it was not.
    """

    nodes: tuple[Node, ...]
    output: Node
    pending: bool = False
    consumers: dict[Node, tuple[Node, ...]] = field(default_factory=dict)
    like: Tensor = field(default_factory=lambda: torch.empty(0))
    interface: Interface | None = None

    @property
    def input(self) -> Node:
        """The node that stands for the network's input."""
        return self.nodes[0]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input sample."""
        return self.input.shape

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of one output sample."""
        return self.output.shape

    def run(self, x: Tensor) -> Tensor:
        """The network's output on x (B, *input_shape) -> (B, *output_shape)."""
        if tuple(x.shape[1:]) != self.input_shape:
            raise ShapeError(
                f"the network takes samples of shape {self.input_shape}, got {tuple(x.shape[1:])}",
                cure="give a batch: axis 0 counts samples",
            )
        values: dict[Node, Tensor] = {self.input: x}
        for node in self.resolved().nodes[1:]:
            values[self.nodes[node.index]] = node.run(*(values[self.nodes[p.index]] for p in node.inputs))
        return values[self.output]

    def constants(self) -> Iterator[Tensor]:
        """Every tensor that the operators use as a constant."""
        found: list[Tensor] = []
        for node in self.nodes:
            found.extend(node.constants())
        yield from found

    def resolved(self) -> Graph:
        """The same graph with constant expressions evaluated; itself where there are none."""
        return self._mapped(_evaluated, pending=False) if self.pending else self

    def until(self, node: Node) -> Graph:
        """The same nodes as far as `node`, which is the output."""
        nodes = self.nodes[: node.index + 1]
        readers = {n: tuple(r for r in self.consumers[n] if r.index <= node.index) for n in nodes}
        return Graph(nodes, node, self.pending, readers, self.like)

    def to(self, target: torch.dtype | torch.device | str) -> Graph:
        """A graph with floating-point constants on another device or of another dtype (float32, float64)."""
        if isinstance(target, torch.dtype) and not target.is_floating_point:
            raise DtypeError(f"a network cannot run in {target}", cure="use torch.float32 or torch.float64")

        def convert(value: Any) -> Any:
            if isinstance(value, Computed):  # of converted parameters: rounded once, in the new dtype
                args, kwargs = mapped(value.args, convert), mapped(value.kwargs, convert)
                value = Computed(value.op, args, kwargs).value()
            if not isinstance(value, Tensor):
                return value
            if isinstance(target, torch.dtype):
                return value.to(target) if value.is_floating_point() else value
            return value.to(target)

        dtype, device = self.dtype, self.device
        bare = (target, device) if isinstance(target, torch.dtype) else (dtype, torch.device(target))
        return self._mapped(convert, pending=False, bare=bare)

    def replaced(self, change: Callable[[Tensor], Tensor], bare: tuple[torch.dtype, torch.device]) -> Graph:
        """The same graph with `change` applied to every constant tensor; `bare` serves where none is."""
        swap = _swapper(change)
        return self.resolved()._mapped(swap, pending=False, bare=bare)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype the constants are in; the traced example's where there are none."""
        return self.like.dtype

    @property
    def device(self) -> torch.device:
        """The device the constants are on; the traced example's where there are none."""
        return self.like.device

    def _mapped(
        self,
        convert: Callable[[Any], Any],
        *,
        pending: bool,
        bare: tuple[torch.dtype, torch.device] | None = None,
    ) -> Graph:
        new: list[Node] = []
        for node in self.nodes:
            new.append(
                replace(
                    node,
                    inputs=tuple(new[p.index] for p in node.inputs),
                    args=mapped(node.args, convert),
                    kwargs=mapped(node.kwargs, convert),
                )
            )
        bare = bare or (self.dtype, self.device)
        result = assemble(new, new[self.output.index], pending=pending, bare=bare)
        kept = None if self.interface is None else replace(self.interface, inner=None)
        return replace(result, interface=kept)


def concatenate(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """torch.cat of samples (B, ...) and constants (1, ...), which repeat for every sample."""
    batch = max(t.shape[0] for t in tensors)
    return torch.cat([t.expand(batch, *t.shape[1:]) for t in tensors], dim)


def assemble(
    nodes: list[Node], output: Node, *, pending: bool, bare: tuple[torch.dtype, torch.device]
) -> Graph:
    """The graph of `nodes` (in topological order), with the table of who reads whom."""
    readers: dict[Node, list[Node]] = {node: [] for node in nodes}
    for node in nodes:
        for parent in dict.fromkeys(node.inputs):
            readers[parent].append(node)
    table = {node: tuple(found) for node, found in readers.items()}
    graph = Graph(tuple(nodes), output, pending, table)
    constant = next((c for c in graph.constants() if c.is_floating_point()), None)
    return replace(
        graph, like=torch.empty(0, dtype=bare[0], device=bare[1]) if constant is None else constant
    )


def mapped(value: Any, convert: Callable[[Any], Any]) -> Any:
    """`convert` applied to every leaf of nested tuples, lists and dicts."""
    if isinstance(value, tuple):
        return tuple(mapped(v, convert) for v in value)
    if isinstance(value, list):
        return [mapped(v, convert) for v in value]
    if isinstance(value, dict):
        return {k: mapped(v, convert) for k, v in value.items()}
    return convert(value)


def _evaluated(value: Any) -> Any:
    return value.value() if isinstance(value, Computed) else value


def _filler(values: tuple[Tensor, ...]) -> Callable[[Any], Any]:
    def fill(value: Any) -> Any:
        if isinstance(value, Slot):
            return values[value.index]
        return value.value() if isinstance(value, Computed) else value

    return fill


def _swapper(change: Callable[[Tensor], Tensor]) -> Callable[[Any], Any]:
    return lambda value: change(value) if isinstance(value, Tensor) else value


def _collector(found: list[Tensor]) -> Callable[[Any], Any]:
    def collect(value: Any) -> Any:
        if isinstance(value, Computed):
            mapped((value.args, value.kwargs), collect)
        elif isinstance(value, Tensor):
            found.append(value)
        return value

    return collect

"""What a network's file calls its inputs, outputs and inner values, and how to compute any of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from robustbench_local.errors import UnknownNameError

from .graph import Graph, Node, mapped

__all__ = ["Inner", "Interface", "Port", "Tap", "plain_interface"]


@dataclass(frozen=True, slots=True)
class Port:
    """A named input or output of a file; `shape` is the file's, its batch axis of length one."""

    name: str
    shape: tuple[int, ...]

    @property
    def numel(self) -> int:
        """Number of coordinates of one sample."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Tap:
    """An inner value: the node that computes it, and the file's shape of it as in `Port`."""

    node: Node
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Inner:
    """All values of a file that depend on its input, also those that its graph merged into others.

    `nodes` in topological order, the first is the input; `taps` by the file's names.
    """

    nodes: tuple[Node, ...]
    taps: Mapping[str, Tap]

    def run(self, x: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """The values `names` on x (B, *input_shape), each (B, *its node's shape), from one evaluation."""
        wanted = {name: self._find(name).node for name in names}
        needed, stack = set(wanted.values()), list(wanted.values())
        while stack:
            fresh = [p for p in stack.pop().inputs if p not in needed]
            needed.update(fresh)
            stack.extend(fresh)
        values: dict[Node, Tensor] = {self.nodes[0]: x}
        for node in self.nodes[1:]:
            if node in needed:
                values[node] = node.run(*(values[p] for p in node.inputs))
        return {name: values[node] for name, node in wanted.items()}

    def replaced(self, change: Callable[[Tensor], Tensor]) -> Inner:
        """The same values with `change` applied to every constant."""
        new: dict[Node, Node] = {}

        def swap(value: Any) -> Any:
            return change(value) if isinstance(value, Tensor) else value

        for node in self.nodes:
            inputs = tuple(new[p] for p in node.inputs)
            args, kwargs = mapped(node.args, swap), mapped(node.kwargs, swap)
            new[node] = replace(node, inputs=inputs, args=args, kwargs=kwargs)
        taps = {name: Tap(new[tap.node], tap.shape) for name, tap in self.taps.items()}
        return Inner(tuple(new.values()), taps)

    def _find(self, name: str) -> Tap:
        if name not in self.taps:
            raise UnknownNameError(
                f"the network has no value {name!r} that depends on its input",
                cure=f"name one of its values: {', '.join(list(self.taps)[-20:])}",
            )
        return self.taps[name]


@dataclass(frozen=True, slots=True, eq=False)
class Interface:
    """Inputs and outputs in the file's order; a graph's own input and output are they, flat, one by one.

    inner: None where only the graph itself is known, as after `Graph.to`.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    inner: Inner | None = None


def plain_interface(graph: Graph) -> Interface:
    """For a graph without a file: one input and one output; its values by the names of its nodes."""
    graph = graph.resolved()
    taps = {node.name: Tap(node, (1, *node.shape)) for node in graph.nodes}
    ends = (Port(node.name, (1, *node.shape)) for node in (graph.input, graph.output))
    first, last = ends
    return Interface((first,), (last,), Inner(graph.nodes, taps))

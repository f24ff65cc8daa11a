"""A graph under construction: adds nodes whose shapes come from running the operator on stand-ins.

Both readers (`from_torch`, `from_onnx`) and the expansions of composite operators build with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from robustbench_local.errors import GraphError

from .expansion.registry import EXPANSIONS
from .graph import Computed, Graph, Node, Slot, assemble, mapped
from .stand_ins import Repeated, StandIns, WithoutData

__all__ = ["Build", "mapped"]


class Build:
    """Nodes so far, and for each a tensor that stands for a batch of two and tells shape and dtype.

    eager: expressions of constants are evaluated at once (a file's weights never change); else they become
    `Computed`, and `pending` tells that there are some.
    """

    def __init__(self, *, eager: bool) -> None:
        self.eager = eager
        self.nodes: list[Node] = []
        self.pending = False
        self.name = ""  # of the layer that is being added
        self._stand_ins: StandIns = Repeated() if eager else WithoutData()
        self._shadows: dict[Node, Tensor] = {}
        self._taken: dict[str, int] = {}

    def call(self, op: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The operator on nodes, constants and numbers: a node, or a constant where no node takes part.

        A composite operator is expanded, and gives several results where it has several. GraphError: it
        mixes samples.
        """
        if not _any_node((args, kwargs)):
            return self.constant(op, args, kwargs)
        expanded = self.expand(op, args, kwargs)
        return self.add(op, args, kwargs) if expanded is None else expanded

    def expand(self, op: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The results of a composite operator's expansion; None where the operator stays as it is."""
        expansion = EXPANSIONS.get(op)
        return None if expansion is None else expansion(self, *args, **kwargs)

    def add(self, op: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Node:
        """A node of the operator as it is."""
        shadow = self._stand_ins.run(op, mapped(args, self.shadow), mapped(kwargs, self.shadow))
        if not isinstance(shadow, Tensor) or shadow.dim() == 0 or shadow.shape[0] != 2:
            raise GraphError(
                f"{op} mixes samples",
                where=f"node {self.name}",
                cure="keep axis 0 for samples and never mix samples in forward",
            )
        return self.enter(op, args, kwargs, tuple(shadow.shape[1:]), shadow.dtype)

    def enter(
        self,
        op: Callable[..., Any] | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        shape: tuple[int, ...],
        dtype: torch.dtype,
    ) -> Node:
        """A node of known shape and dtype; nodes in the arguments, at any depth, become its inputs."""
        inputs: list[Node] = []

        def slot(value: Any) -> Any:
            if not isinstance(value, Node):
                return value
            inputs.append(value)
            return Slot(len(inputs) - 1)

        args, kwargs = mapped(args, slot), mapped(kwargs, slot)
        node = Node(self._fresh_name(), op, tuple(inputs), args, kwargs, shape, len(self.nodes))
        self.nodes.append(node)
        self._shadows[node] = self._stand_ins.node((2, *shape), dtype)
        return node

    def constant(self, op: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The operator on constants: a constant."""
        if self.eager:
            return op(*args, **kwargs)
        self.pending = True
        return Computed(op, args, kwargs)

    def shadow(self, value: Any) -> Any:
        """The tensor that stands for a node (with a batch of two) or a constant; else the value."""
        if isinstance(value, Node):
            return self._shadows[value]
        if isinstance(value, Computed):
            return _without_data(value)
        return self._stand_ins.constant(value) if isinstance(value, Tensor) else value

    def shape(self, value: Any) -> tuple[int, ...]:
        """The shape of a constant, or of a batch of two of a node."""
        return tuple(self.shadow(value).shape)

    def dtype(self, value: Any) -> torch.dtype:
        """The dtype of a node or constant."""
        found: torch.dtype = self.shadow(value).dtype
        return found

    def graph(self, output: Node, bare: tuple[torch.dtype, torch.device]) -> Graph:
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
        return assemble(list(new.values()), new[output], pending=self.pending, bare=bare)

    def _fresh_name(self) -> str:
        count = self._taken.get(self.name, 0)
        self._taken[self.name] = count + 1
        return f"{self.name}.{count}" if count else self.name


def _any_node(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return any(_any_node(v) for v in value)
    if isinstance(value, dict):
        return any(_any_node(v) for v in value.values())
    return isinstance(value, Node)


def _without_data(value: Any) -> Any:
    """A constant expression run on tensors without data."""
    if isinstance(value, Computed):
        kwargs = mapped(value.kwargs, _without_data)
        if "device" in kwargs:
            kwargs = {**kwargs, "device": torch.device("meta")}
            kwargs.pop("pin_memory", None)
        return value.op(*mapped(value.args, _without_data), **kwargs)
    return value.to("meta") if isinstance(value, Tensor) else value

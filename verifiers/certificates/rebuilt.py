"""The network of a certificate as a graph, node by node: the engine proves exactly what is written."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..builder import Build
from ..graph import Graph, Node
from .lowered import Lowered

__all__ = ["rebuilt"]

aten = torch.ops.aten


def rebuilt(made: Lowered, dtype: torch.dtype = torch.float64) -> tuple[Graph, list[Node]]:
    """The graph in `dtype`, and for each node of the certificate the one that computes it."""
    build = _Builder(made, dtype)
    found = [build.node(number) for number in range(len(made.nodes))]
    output = build.flat(found[-1])
    graph = build.new.graph(output, (dtype, torch.device("cpu")))
    by_name = {node.name: node for node in graph.nodes}
    return graph, [by_name.get(node.name, graph.input) for node in found]


class _Builder:
    def __init__(self, made: Lowered, dtype: torch.dtype) -> None:
        self.made, self.dtype, self.new = made, dtype, Build(eager=True)
        self.done: list[Node] = []

    def node(self, number: int) -> Node:
        """Enters node `number`, whose parents are there already."""
        about = self.made.nodes[number]
        self.new.name = f"node{number}"
        made = self._made(number, about, [self.done[p] for p in about["inputs"]])
        self.done.append(made)
        return made

    def flat(self, node: Node) -> Node:
        """The node as a vector."""
        return node if len(node.shape) == 1 else self._shaped(node, [node.numel])

    def _shaped(self, node: Node, shape: list[int]) -> Node:
        if list(node.shape) == shape:
            return node
        before, self.new.name = self.new.name, f"{self.new.name}.shape"
        result: Node = self.new.call(aten.reshape.default, node, [-1, *shape])
        self.new.name = before
        return result

    def _array(self, number: int, name: str) -> Tensor:
        array: NDArray[Any] = self.made.arrays[f"network/{number}.{name}"]
        return torch.from_numpy(np.array(array)).to(torch.int64 if array.dtype.kind == "i" else self.dtype)

    def _made(self, number: int, about: dict[str, Any], inputs: list[Node]) -> Node:
        op = about["op"]
        if op == "input":
            return self.new.enter(None, (), {}, (about["size"],), self.dtype)
        if op == "add":
            total = inputs[0]
            for other in inputs[1:]:
                total = self._call(aten.add.Tensor, total, self._shaped(other, list(total.shape)))
            one = torch.ones(1, dtype=self.dtype)
            return total if len(inputs) > 1 else self._call(aten.mul.Tensor, total, one)
        if op == "max":
            return self._call(aten.maximum.default, inputs[0], self._shaped(inputs[1], list(inputs[0].shape)))
        if op == "relu":
            slope = float(about["slope"])
            if slope:
                return self._call(aten.leaky_relu.default, inputs[0], slope)
            return self._call(aten.relu.default, inputs[0])
        if op == "sigmoid":
            return self._call(aten.sigmoid.default, inputs[0])
        weight, bias = self._array(number, "weight"), self._array(number, "bias")
        if op == "linear":
            return self._call(aten.linear.default, self.flat(inputs[0]), weight, bias)
        if op == "conv":
            image = self._shaped(inputs[0], list(about["shape"]))
            top, left, bottom, right = about["padding"]
            if (top, left) != (bottom, right):
                image = self._call(aten.constant_pad_nd.default, image, [left, right, top, bottom])
                top = left = 0
            return self._call(
                aten.conv2d.default, image, weight, bias, about["stride"], [top, left], [1, 1], 1
            )
        return self._picked(inputs[0], self._array(number, "index"), weight, bias)

    def _call(self, op: Callable[..., Any], *args: Any) -> Node:
        node: Node = self.new.call(op, *args)
        return node

    def _picked(self, parent: Node, index: Tensor, weight: Tensor, bias: Tensor) -> Node:
        if not (index.numel() == parent.numel and bool((index == torch.arange(parent.numel)).all())):
            parent = self._call(aten.index_select.default, self.flat(parent), 1, index)
        result, shape = parent, parent.shape
        assert math.prod(shape) == weight.numel()
        if not bool((weight == 1).all()):
            result = self._call(aten.mul.Tensor, result, weight.reshape(shape))
        if bool(bias.any()):
            result = self._call(aten.add.Tensor, result, bias.reshape(shape))
        return result

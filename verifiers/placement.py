"""Where the batch axis of a program's tensors is, and nodes that stand for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from robustbench_local.errors import GraphError

from .batch_axis import Layout, Moved, batch_sizes
from .builder import Build
from .graph import Node

__all__ = ["Placement", "elsewhere", "opened"]

aten = torch.ops.aten


@dataclass(frozen=True, slots=True)
class Placement:
    """Places nodes of the graph under construction as tensors of the program; `symbol` is the batch size."""

    new: Build
    symbol: Any

    def layout(self, node: fx.Node, value: Any, before: int = 1) -> Layout:
        """Where the batch axis of a tensor of the program is; `before` as in `Layout`."""
        found = batch_sizes(value.shape, self.symbol)
        if found is None or found[0][found[1]] % before:
            raise elsewhere(node, value)
        shape, axis = found
        return Layout(shape, axis, before, shape[axis] // before)

    def filled(self, value: Any, number: float) -> Any:
        """A constant like `value`, for a batch of one."""
        found = batch_sizes(value.shape, self.symbol)
        shape = list(value.shape if found is None else found[0])
        kind = {"dtype": value.dtype, "device": value.device}
        return self.new.constant(aten.full.default, (shape, number), kind)

    def placed(self, node: fx.Node, value: Any, result: Any, before: int) -> Any:
        """A node as the program's tensor `value`; GraphError where it has other samples."""
        layout = self.layout(node, value, before)
        if not isinstance(result, Node) or result.shape != layout.sample:
            raise elsewhere(node, value)
        return result if layout.is_plain else Moved(result, layout)

    def viewed(self, node: fx.Node, source: Node | Moved) -> Any:
        """A reshape of the sample."""
        inner, layout = opened(source)
        found = batch_sizes(node.meta["val"].shape, self.symbol)
        new = None if found is None else layout.viewed(*found)
        if new is None:
            raise elsewhere(node)
        if new.sample != inner.shape or (new.is_plain and layout.is_plain):
            inner = self.new.call(aten.reshape.default, inner, [-1, *new.sample])
        return inner if new.is_plain else Moved(inner, new)

    def permuted(self, source: Node | Moved, order: list[int]) -> Any:
        """A permutation of the axes, the batch axis included."""
        inner, layout = opened(source)
        new, axes = layout.permuted(order)
        if axes != sorted(axes):
            inner = self.new.call(aten.permute.default, inner, axes)
        return inner if new.is_plain else Moved(inner, new)


def opened(value: Node | Moved) -> tuple[Node, Layout]:
    """The node and where the batch axis is."""
    return (value.node, value.layout) if isinstance(value, Moved) else (value, Layout.plain(value.shape))


def elsewhere(node: fx.Node, value: Any = None) -> GraphError:
    """The error for a tensor whose samples are mixed or moved out of reach."""
    shape = (node.meta["val"] if value is None else value).shape
    return GraphError(
        f"the batch axis does not stay in front: result of shape {tuple(str(s) for s in shape)}",
        where=f"node {node.name}, {node.target}",
        cure="keep axis 0 for samples and never mix samples in forward",
    )

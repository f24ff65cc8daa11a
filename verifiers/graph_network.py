"""A graph as a torch module, so that attacks, hashing and `.to(...)` treat it like any other network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from .graph import Graph

__all__ = ["GraphNetwork"]


class GraphNetwork(nn.Module):
    """The module whose forward is `graph.run`: x (B, *input_shape) -> (B, *output_shape).

    The graph's constants are its buffers (each tensor once, in the order of the nodes), so `.to(device or
    dtype)`, `state_dict` and `models.model_hash` see the weights. `graph` is always the graph of the
    buffers' present values; `from_torch` returns it as it is.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph.resolved()
        for number, tensor in enumerate(self._constants()):
            self.register_buffer(f"constant{number}", tensor)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """The network's output (B, *output_shape) on x (B, *input_shape)."""
        return self.graph.run(x)

    def _constants(self) -> list[Tensor]:
        return list({id(t): t for t in self.graph.constants()}.values())

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> GraphNetwork:
        before = self._constants()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it without types
        after = dict(zip((id(t) for t in before), self.buffers(), strict=True))
        like = fn(self.graph.like)
        self.graph = self.graph.replaced(lambda t: after[id(t)], (like.dtype, like.device))
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> GraphNetwork:
        """A network with weights of its own; a graph's nodes are too deeply nested for a recursive copy."""
        new = {id(t): t.clone() for t in self._constants()}
        graph = self.graph
        copy = GraphNetwork(graph.replaced(lambda t: new[id(t)], (graph.dtype, graph.device)))
        memo[id(self)] = copy
        return copy

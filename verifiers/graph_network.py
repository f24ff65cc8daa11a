"""A graph as a torch module, so that attacks, hashing and `.to(...)` treat it like any other network."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from .graph import Graph
from .interface import Inner, Interface, plain_interface

__all__ = ["GraphNetwork"]


class GraphNetwork(nn.Module):
    """The module whose forward is `graph.run`: x (B, *input_shape) -> (B, *output_shape).

    The graph's constants are its buffers (each tensor once, in the order of the nodes), so `.to(device or
    dtype)`, `state_dict` and `models.model_hash` see the weights. `graph` is always the graph of the
    buffers' present values; `from_torch` returns it as it is.

    `interface` has the file's names and shapes. Where a file has several inputs or outputs, x and the
    result are all of them, flat, one by one in the file's order. `taps` computes inner values by name.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph.resolved()
        given = graph.interface or plain_interface(self.graph)
        self._ports = given if given.inner is not None else replace(given, inner=plain_interface(graph).inner)
        for number, tensor in enumerate(self._constants()):
            self.register_buffer(f"constant{number}", tensor)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """The network's output (B, *output_shape) on x (B, *input_shape)."""
        return self.graph.run(x)

    @property
    def interface(self) -> Interface:
        """Names and shapes of inputs, outputs and inner values."""
        return self._ports

    @property
    def input_names(self) -> tuple[str, ...]:
        """The file's inputs, in its order."""
        return tuple(port.name for port in self._ports.inputs)

    @property
    def input_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The file's shape of each input, its batch axis (if it has one) of length one."""
        return tuple(port.shape for port in self._ports.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """The file's outputs, in its order; `taps` takes them too."""
        return tuple(port.name for port in self._ports.outputs)

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The file's shape of each output, as in `input_shapes`."""
        return tuple(port.shape for port in self._ports.outputs)

    @property
    def value_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every value that `taps` takes, with its shape as in `input_shapes`; inputs and outputs too."""
        return {name: tap.shape for name, tap in self._inner.taps.items()}

    def taps(self, x: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """The values `names` on x (B, *input_shape), from one evaluation: name -> (B, *shape of one sample).

        A sample's shape is that of `value_shapes`, without the batch axis where the file has one. Outputs
        are values as well: ask for them together with inner ones, and both come from the same evaluation.
        Differentiable; a torch module that calls this traces like any other. UnknownNameError: there is no
        such value, or it does not depend on the input.
        """
        return self._inner.run(x, names)

    @property
    def _inner(self) -> Inner:
        inner = self._ports.inner
        assert inner is not None
        return inner

    def _constants(self) -> list[Tensor]:
        return list({id(t): t for t in self.graph.constants()}.values())

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> GraphNetwork:
        before = self._constants()
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch leaves it without types
        change = _Once(fn, dict(zip((id(t) for t in before), self.buffers(), strict=True)))
        like = fn(self.graph.like)
        self.graph = self.graph.replaced(change, (like.dtype, like.device))
        self._ports = replace(self._ports, inner=self._inner.replaced(change))
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> GraphNetwork:
        """A network with weights of its own; a graph's nodes are too deeply nested for a recursive copy."""
        change = _Once(Tensor.clone, {})
        graph = self.graph.replaced(change, (self.graph.dtype, self.graph.device))
        ports = replace(self._ports, inner=self._inner.replaced(change))
        copy = GraphNetwork(replace(graph, interface=ports))
        memo[id(self)] = copy
        return copy


class _Once:
    """A change of tensors that gives the same result for the same tensor: shared weights stay shared."""

    def __init__(self, change: Callable[[Tensor], Tensor], known: dict[int, Tensor]) -> None:
        self.change = change
        self.known = known
        self.seen: list[Tensor] = []  # alive, so that no other tensor takes the place of one

    def __call__(self, tensor: Tensor) -> Tensor:
        if id(tensor) not in self.known:
            self.seen.append(tensor)
            self.known[id(tensor)] = self.change(tensor)
        return self.known[id(tensor)]

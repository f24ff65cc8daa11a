"""One network under evaluation: its graph, traced once, and its float64 twin, made when first needed."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from robustbench_local.verifiers import Graph, from_torch

from .cases import Cases

__all__ = ["Subject"]


@dataclass(slots=True, eq=False)
class Subject:
    """A network in eval mode and an input (1, *in) to trace it with; graph and twin are made on first use.

    `seconds_load` is the time that tracing took, 0 while it has not happened.
    """

    network: nn.Module
    example: Tensor
    seconds_load: float = 0.0
    _graph: Graph | None = field(default=None, repr=False)
    _exact: tuple[nn.Module, Graph] | None = field(default=None, repr=False)

    @classmethod
    def of(cls, cases: Cases) -> Subject:
        """The network of the cases, with the first set's centre as the example."""
        bare = cls(cases.network, cases.query.inputs.centre()[:1])
        return cls(cases.network, bare.example.to(bare.dtype))

    def graph(self) -> Graph:
        """The network as a graph. Raises GraphError or UnsupportedOpError where that is impossible."""
        if self._graph is None:
            start = time.perf_counter()
            self._graph = from_torch(self.network, self.example)
            self.seconds_load = time.perf_counter() - start
        return self._graph

    def exact(self) -> tuple[nn.Module, Graph]:
        """The same network with float64 weights, as a module and as a graph."""
        if self._exact is None:
            twin = copy.deepcopy(self.network).double().eval()
            self._exact = (twin, self.graph().to(torch.float64))
        return self._exact

    @property
    def dtype(self) -> torch.dtype:
        """The dtype the network computes in: that of its first parameter or buffer, else of the example."""
        tensors = [*self.network.parameters(), *self.network.buffers()]
        return next((t.dtype for t in tensors if t.is_floating_point()), self.example.dtype)

    @property
    def device(self) -> torch.device:
        """The device the network is on."""
        tensors = [*self.network.parameters(), *self.network.buffers()]
        return next((t.device for t in tensors), self.example.device)

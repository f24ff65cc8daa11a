"""Networks written as functions, with weights from a seed; points of sets; queries; the engines."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from robustbench_local.verifiers.graph import assemble
from torch import Tensor, nn

from robustbench_local.specs import Any as AnyOf
from robustbench_local.specs import Atom, InputSet, Query
from robustbench_local.verifiers import CROWN, IBP, CrownIBP, Graph, Node, Verifier, from_torch

#: Our engines; the last two give pure backward bounds, which intervals cannot cover up for.
ENGINES: dict[str, Verifier] = {
    "ibp": IBP(),
    "crown-ibp": CrownIBP(),
    "crown": CROWN(),
    "pure crown-ibp": CrownIBP(intersect=False),
    "pure crown": CROWN(intersect=False),
}


class Fn(nn.Module):
    """`function(x, *parts)`; parts are modules, and tensors that become parameters. Weights from `seed`."""

    def __init__(self, function: Callable[..., Tensor], *parts: nn.Module | Tensor, seed: int = 0) -> None:
        super().__init__()
        self.function = function
        self.names: list[str] = []
        for i, part in enumerate(parts):
            self.names.append(f"part{i}")
            setattr(self, f"part{i}", nn.Parameter(part) if isinstance(part, Tensor) else part)
        fill(self, seed)
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *(getattr(self, name) for name in self.names))


@torch.no_grad()
def fill(module: nn.Module, seed: int) -> None:
    """Weights and statistics from a generator of their own."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            scale = 0.5 if tensor.ndim < 2 else 1 / math.sqrt(max(1, tensor[0].numel()))
            tensor.copy_(0.3 + noise.abs() if name.endswith("running_var") else scale * noise)


def uniform(seed: int, shape: tuple[int, ...], low: float = -1.0, high: float = 1.0) -> Tensor:
    """Float64 noise of a seed."""
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return low + (high - low) * noise


def box_points(lower: Tensor, upper: Tensor, count: int = 60, seed: int = 1) -> Tensor:
    """Points of B boxes, (2 * count + 3, B, *shape): random ones, random corners, both ends, the centre."""
    share = uniform(seed, (count, *lower.shape), 0, 1).to(lower)
    corner = (uniform(seed + 1, (count, *lower.shape)) > 0).to(lower)
    ends = (
        torch.tensor([0.0, 0.5, 1.0]).to(lower).reshape(3, *(1 for _ in lower.shape)).expand(3, *lower.shape)
    )
    weights = torch.cat((share, corner, ends))
    return torch.minimum(torch.maximum(lower + weights * (upper - lower), lower), upper)


def run_points(network: Callable[[Tensor], Tensor], points: Tensor) -> Tensor:
    """The network on points (N, B, *shape) -> (N, B, *out)."""
    with torch.no_grad():
        y = network(points.flatten(0, 1))
    return y.unflatten(0, points.shape[:2])


def set_points(inputs: InputSet, count: int, seed: int, dtype: torch.dtype) -> Tensor:
    """Random points of every set of the batch, (count, B, *shape), exactly inside."""
    found = []
    for i in range(count):
        radial = uniform(seed + 2 * i, (inputs.batch,), 0, 1) if i % 2 else torch.ones(inputs.batch)
        noise = uniform(seed + 2 * i + 1, (inputs.batch, *inputs.shape), 0, 1)
        found.append(inputs.sample(noise.to(dtype).clamp(max=1 - 1e-6), radial.to(dtype).clamp(max=1 - 1e-6)))
    return torch.stack(found)


def query_of(
    network: Callable[[Tensor], Tensor], inputs: InputSet, outputs: int, rows: int = 4, seed: int = 2
) -> Query:
    """Random rows on a flat output; the violation is their maximum, strict."""
    C = uniform(seed, (inputs.batch, rows, outputs))
    d = uniform(seed + 1, (inputs.batch, rows))
    return Query(network, inputs, C, d, AnyOf(tuple(Atom(i, strict=True) for i in range(rows))))


def traced(network: nn.Module, *shape: int, dtype: torch.dtype = torch.float32) -> Graph:
    """The graph of a network on samples of `shape`."""
    return from_torch(network, torch.zeros(1, *shape, dtype=dtype))


def up_to(graph: Graph, node: Node) -> Graph:
    """The part of a graph that computes `node`."""
    return assemble(
        list(graph.nodes[: node.index + 1]), node, pending=graph.pending, bare=(graph.dtype, graph.device)
    )


def value(bounds: Any) -> Tensor:
    """The rows of bounds, without history."""
    rows: Tensor = bounds.rows.detach()
    return rows

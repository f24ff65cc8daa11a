"""A problem as one of a single network whose outputs are the atoms of its violation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from ...query import Query
from ...sets.rounding import round_up
from .wiring import refused

__all__ = ["atoms_as_outputs"]


class _WithAtoms(nn.Module):
    """x -> C @ network(x) + d, (B, m)."""

    def __init__(self, network: Callable[[Tensor], Tensor], C: Tensor, d: Tensor) -> None:
        super().__init__()
        self.network = network
        self.C: Tensor
        self.d: Tensor
        self.register_buffer("C", C)
        self.register_buffer("d", d)
        self.train(network.training if isinstance(network, nn.Module) else False)

    def forward(self, x: Tensor) -> Tensor:
        """The atoms at x."""
        return nn.functional.linear(self.network(x).flatten(1), self.C.to(x.dtype), self.d.to(x.dtype))


def atoms_as_outputs(query: Query) -> Query:
    """The one problem of a query, of a network that ends in the violation's atoms: y_i > 0 or >= 0.

    Whatever the property speaks of (several networks, inputs beside outputs, nonlinear terms) is then inside
    one network, which an ONNX file can hold, and VNN-LIB 1.0 can say the rest. Constants are rounded up to
    the network's floating type, so that the new violation is never smaller.

    Raises SpecError (E-EXPORT) for a batch of problems, and for coefficients that the type does not hold.
    """
    if query.batch != 1:
        raise refused(f"the query has {query.batch} problems", "take one: query.select(torch.tensor([k]))")
    tensors = (
        (*query.network.parameters(), *query.network.buffers())
        if isinstance(query.network, nn.Module)
        else ()
    )
    dtype = next((t.dtype for t in tensors if t.is_floating_point()), torch.float64)
    C, d = query.C[0].to(dtype), round_up(query.d[0], dtype)
    if not torch.equal(C.to(torch.float64), query.C[0]):
        worst = query.C[0][C.to(torch.float64) != query.C[0]][0]
        raise refused(f"the coefficient {float(worst)!r} is no {dtype}", "give the network in float64")
    m = len(d)
    identity = torch.eye(m, dtype=torch.float64, device=query.C.device).unsqueeze(0)
    zero = torch.zeros(1, m, dtype=torch.float64, device=query.C.device)
    text = f"{query.text}\natoms as outputs"
    network = _WithAtoms(query.network, C, d)
    return replace(query, network=network, C=identity, d=zero, text=text, id="")

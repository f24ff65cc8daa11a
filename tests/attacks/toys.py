"""Small networks and queries whose worst case is known, or whose behaviour is awkward on purpose."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from robustbench_local.attacks import ATTACKS, Attack
from robustbench_local.specs import Any, Atom, Box, InputSet, Query, Tree, robustness

Network = Callable[[Tensor], Tensor]
NORMS = [1, 2, math.inf]
ATTACK_NAMES = sorted(ATTACKS)
_BRIEF = 20  # steps: what must hold for every attack holds for short ones, which take less time


def brief(name: str) -> Attack:
    """The attack of a name, with few steps if by default it takes 100 or more."""
    attack = ATTACKS[name]
    parameters = inspect.signature(attack).parameters
    long = [n for n in ("steps", "queries") if n in parameters and parameters[n].default >= 100]
    return partial(attack, **dict.fromkeys(long, _BRIEF))


class RowWise(nn.Module):
    """Two layers without matrix kernels: their arithmetic on a row is the same in every batch."""

    def __init__(self, inputs: int, hidden: int, outputs: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        source = torch.Generator().manual_seed(inputs + 100 * hidden + 10_000 * outputs)
        first = torch.randn(hidden, inputs, generator=source, dtype=torch.float64) / inputs**0.5
        second = torch.randn(outputs, hidden, generator=source, dtype=torch.float64) / hidden**0.5
        self.first, self.second = nn.Parameter(first.to(dtype)), nn.Parameter(second.to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        hidden = (x.flatten(1).unsqueeze(1) * self.first).sum(2).relu()  # (B, hidden)
        return (hidden.unsqueeze(1) * self.second).sum(2)  # (B, outputs)


class Affine(nn.Module):
    """y = W x + b in float64."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.double())
        self.bias = nn.Parameter(torch.zeros(weight.shape[0]).double() if bias is None else bias.double())

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.weight.T + self.bias


class Counting(nn.Module):
    """Counts the rows that pass through another network, forwards and backwards."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network, self.forwards, self.backwards = network, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.forwards += x.shape[0]
        y = self.network(x)
        if y.requires_grad:
            y.register_hook(self._count)
        return y

    def _count(self, gradient: Tensor) -> None:
        self.backwards += gradient.shape[0]


def walk_through(x: Tensor) -> Tensor:
    """(B, 1) -> (B, 1): positive on [0.4, 0.6] only, but rising elsewhere: a walk goes straight through."""
    inside = (x >= 0.4) & (x <= 0.6)
    return torch.where(inside, 1.0, -2.0) + x


def images(batch: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.rand(batch, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def predicted(network: Network, x: Tensor) -> Tensor:
    with torch.no_grad():
        return network(x).argmax(1)


def classification(
    network: Network,
    x: Tensor,
    *,
    eps: float,
    p: float = math.inf,
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> Query:
    """Robustness of the network's own predictions at x (B, *shape)."""
    with torch.no_grad():
        classes = network(x[:1]).shape[1]
    spec = robustness(tuple(x.shape[1:]), classes, p=p, bounds=bounds)
    return spec.query(network, x0=x, c=predicted(network, x), eps=eps)


def raise_output(network: Network, inputs: InputSet, *, tree: Tree | None = None, atoms: int = 1) -> Query:
    """The property that the network's first `atoms` outputs stay negative (or as `tree` says)."""
    batch = inputs.batch
    with torch.no_grad():
        outputs = network(inputs.project(inputs.centre().to(inputs.dtype))).flatten(1).shape[1]
    C = torch.eye(outputs, dtype=torch.float64)[:atoms].expand(batch, -1, -1)
    any_atom: Tree = Any(tuple(Atom(i, True) for i in range(atoms)))
    return Query(network, inputs, C, torch.zeros(batch, atoms, dtype=torch.float64), tree or any_atom)


def unit_interval(batch: int = 1, dtype: torch.dtype = torch.float32) -> Box:
    return Box(torch.zeros(batch, 1, dtype=dtype), torch.ones(batch, 1, dtype=dtype))

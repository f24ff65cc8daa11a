"""Worked examples of ready properties, and small networks in float64 to state them about."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from robustbench_local.specs import Query, Spec

DRAWS = 1000


@dataclass(frozen=True, eq=False)
class Worked:
    """A property of small networks, B problems of it, and what is known of them without this package.

    name: in `SPECS`. ok: the truth of the property's claim, written in plain torch: from the variables and
    values by name, (N, *shape) each, to (N,) bool. verdicts: a letter per problem, H holds, V violated.
    worst: the exact worst violation of each problem, where it can be worked out by hand. methods: verifiers
    to be tried in turn; none: `rbl.verify`, which looks at the members of a domain one by one.
    """

    name: str
    spec: Spec
    networks: Mapping[str, nn.Module]
    values: Mapping[str, object]
    ok: Callable[[SimpleNamespace], Tensor]
    verdicts: str
    worst: Sequence[float] | None = None
    methods: tuple[str, ...] = ("ibp", "crown", "alpha-crown")
    tags: str = field(default="")

    def __str__(self) -> str:
        return self.name + self.tags

    def query(self) -> Query:
        """The B problems."""
        return self.spec.query(self.networks, **self.values)

    def truth(self, query: Query, rows: Tensor, x: Tensor) -> Tensor:
        """`ok` at inputs x (N, *in) of the problems `rows` (N,)."""
        parts = {v.name: x for v in self.spec.variables} if query.layout is None else query.layout.split(x)
        known = {name: slot.bind(self._value(name, slot)) for name, slot in self.spec.slots.items()}
        for name, value in known.items():
            wide = value if value.dtype == torch.int64 else value.to(torch.float64)
            parts[name] = wide.expand(query.batch, *value.shape[1:])[rows]
        return self.ok(SimpleNamespace(**parts))

    def _value(self, name: str, slot: object) -> object:
        return self.values[name] if name in self.values else slot.default  # type: ignore[attr-defined]


class Plain(nn.Module):
    """A function of tensors (B, *in) as a network."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def mlp(*sizes: int, seed: int = 0) -> nn.Module:
    """A ReLU network with random weights."""
    source = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after, dtype=torch.float64), nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for parameter in network.parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.3
            parameter.copy_(torch.randn(parameter.shape, generator=source, dtype=torch.float64) * scale)
    return network.eval()


def linear(matrix: Sequence[Sequence[float]], bias: Sequence[float] | None = None) -> nn.Module:
    """x -> matrix @ x + bias."""
    A = torch.tensor(matrix, dtype=torch.float64)
    layer = nn.Linear(A.shape[1], A.shape[0], dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(A)
        layer.bias.copy_(torch.zeros(len(A)) if bias is None else torch.tensor(bias, dtype=torch.float64))
    return layer.eval()


def flat(network: nn.Module) -> nn.Module:
    """The network of the flattened input."""
    return nn.Sequential(nn.Flatten(), network).eval()


def points(*shape: int, seed: int = 0) -> Tensor:
    """Random points of [0, 1]."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def numbers(*values: float) -> Tensor:
    """A vector, one number per problem."""
    return torch.tensor(values, dtype=torch.float64)


def leads(y: Tensor, c: Tensor) -> Tensor:
    """Whether y_c (N,) is larger than every other element of y (N, K)."""
    own = y.gather(1, c.unsqueeze(1))
    rest = y.scatter(1, c.unsqueeze(1), -torch.inf)
    return (rest < own).all(1)

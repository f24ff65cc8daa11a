"""Tiny networks in float64, their exact maxima by brute force, and queries on them."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor, nn

from robustbench_local.specs import Any as AnyOf
from robustbench_local.specs import Atom, Box, InputSet, Query
from robustbench_local.verifiers import Budget

TIGHT = Budget(tighten=True)  # all rows, decided or not


def mlp(hidden: tuple[int, ...], seed: int, inputs: int = 2, outputs: int = 2) -> nn.Sequential:
    """A ReLU network with weights from a seed."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    widths = [inputs, *hidden, outputs]
    for a, b in pairwise(widths):
        layer = nn.Linear(a, b, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(b, a, generator=generator, dtype=torch.float64) / a**0.5)
            layer.bias.copy_(0.3 * torch.randn(b, generator=generator, dtype=torch.float64))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(*layers[:-1]).eval().requires_grad_(False)


def rows_query(network: nn.Module, inputs: InputSet, outputs: int, rows: int = 3, seed: int = 5) -> Query:
    """Random rows of the output; the violation is their maximum."""
    generator = torch.Generator().manual_seed(seed)
    C = torch.randn(inputs.batch, rows, outputs, generator=generator, dtype=torch.float64)
    d = torch.randn(inputs.batch, rows, generator=generator, dtype=torch.float64)
    return Query(network, inputs, C, d, AnyOf(tuple(Atom(i, strict=True) for i in range(rows))))


def random_box(seed: int, inputs: int = 2, radius: float = 0.7, batch: int = 1) -> Box:
    """Boxes around random centres."""
    centre = torch.randn(batch, inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Box(centre - radius, centre + radius)


def sampled(query: Query, count: int = 400, seed: int = 0) -> Tensor:
    """The largest atom values (B, m) seen on random points of the sets and near their faces."""
    generator = torch.Generator().manual_seed(seed)
    best = torch.full(tuple(query.d.shape), -torch.inf, dtype=torch.float64)
    for i in range(count):
        uniform = torch.rand(query.batch, *query.inputs.shape, generator=generator, dtype=torch.float64)
        radial = torch.rand(query.batch, generator=generator, dtype=torch.float64)
        uniform = uniform if i % 2 else uniform.round().clamp(max=1 - 1e-12)
        x = query.inputs.sample(uniform, radial)
        best = torch.maximum(best, query.atoms(query.network(x)))
    return best


def enumerated(network: nn.Sequential, query: Query) -> Tensor:
    """The exact maximum (B, m) of every row: one linear program per activation pattern."""
    linears = [m for m in network if isinstance(m, nn.Linear)]
    weights = [(m.weight.numpy(), m.bias.numpy()) for m in linears]
    lower, upper = query.inputs.box().cast(torch.float64)
    best = np.full(tuple(query.d.shape), -np.inf)
    for pattern in product((0.0, 1.0), repeat=sum(len(b) for _, b in weights[:-1])):
        signs, (A, c) = np.array(pattern), (np.eye(lower.shape[1]), np.zeros(lower.shape[1]))
        limits, values = [], []
        for W, b in weights[:-1]:
            on, signs = signs[: len(b)], signs[len(b) :]
            A, c = W @ A, W @ c + b  # `on` values are >= 0, the others <= 0
            side = 1 - 2 * on
            limits.append(side[:, None] * A)
            values.append(-side * c)
            A, c = on[:, None] * A, on * c
        A, c = weights[-1][0] @ A, weights[-1][0] @ c + weights[-1][1]
        for b, m in np.ndindex(*best.shape):
            row = query.C[b, m].numpy()
            ends = list(zip(lower[b].tolist(), upper[b].tolist(), strict=True))
            done = linprog(-(row @ A), A_ub=np.concatenate(limits), b_ub=np.concatenate(values), bounds=ends)
            if done.status == 0:
                best[b, m] = max(best[b, m], -done.fun + row @ c + float(query.d[b, m]))
    return torch.from_numpy(best)

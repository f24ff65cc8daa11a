"""Bounds against the exact maximum: every ReLU pattern of tiny networks, one linear program each."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import nn

from robustbench_local.attacks import pgd
from robustbench_local.specs import Atom, Box, Query

from .networks import ENGINES, fill, query_of, traced, uniform, value


def tiny(hidden: tuple[int, ...], seed: int, shift: float = 0.0) -> nn.Sequential:
    """An MLP on two inputs; `shift` moves the hidden biases, so that large ones make neurons stable."""
    layers: list[nn.Module] = []
    width = 2
    for n in hidden:
        layers += [nn.Linear(width, n), nn.ReLU()]
        width = n
    network = nn.Sequential(*layers, nn.Linear(width, 2)).double()
    fill(network, seed)
    with torch.no_grad():
        for layer in layers[::2]:
            assert isinstance(layer, nn.Linear)
            layer.bias += shift
    return network.eval().requires_grad_(False)


def exact_maximum(network: nn.Sequential, query: Query) -> torch.Tensor:
    """The largest value of every row over every box, (B, m)."""
    linears = [m for m in network if isinstance(m, nn.Linear)]
    weights = [(m.weight.numpy(), m.bias.numpy()) for m in linears]
    lower, upper = query.inputs.box().cast(torch.float64)
    best = np.full(tuple(query.d.shape), -np.inf)
    for pattern in product((0.0, 1.0), repeat=sum(len(b) for _, b in weights[:-1])):
        signs = np.array(pattern)
        A, c, limits, values = np.eye(2), np.zeros(2), [], []
        for W, b in weights[:-1]:
            on, signs = signs[: len(b)], signs[len(b) :]
            A, c = W @ A, W @ c + b  # the layer's values are A x + c; `on` ones are >= 0, the others <= 0
            side = 1 - 2 * on
            limits.append(side[:, None] * A)
            values.append(-side * c)
            A, c = on[:, None] * A, on * c
        A, c = weights[-1][0] @ A, weights[-1][0] @ c + weights[-1][1]
        for b, m in np.ndindex(*best.shape):
            row = query.C[b, m].numpy()
            done = linprog(
                -(row @ A),
                A_ub=np.concatenate(limits) if limits else None,
                b_ub=np.concatenate(values) if values else None,
                bounds=list(zip(lower[b].tolist(), upper[b].tolist(), strict=True)),
            )
            if done.status == 0:
                best[b, m] = max(best[b, m], -done.fun + row @ c + float(query.d[b, m]))
    return torch.from_numpy(best)


def boxes() -> Box:
    centre = uniform(1, (2, 2))
    return Box(centre - torch.tensor([[0.3], [1.0]]), centre + torch.tensor([[0.4], [1.0]]))


@pytest.mark.parametrize(("hidden", "seed"), [((3,), 1), ((4,), 2), ((3, 2), 3), ((2, 2), 4), ((2, 1, 2), 5)])
def test_bounds_and_attacks_bracket_the_exact_maximum(hidden: tuple[int, ...], seed: int) -> None:
    network = tiny(hidden, seed)
    query = query_of(network, boxes(), 2, rows=2, seed=seed)
    exact = exact_maximum(network, query)
    graph = traced(network, 2, dtype=torch.float64)
    for name, engine in ENGINES.items():
        assert bool((value(engine.bound(graph, query)) >= exact - 1e-9).all()), name
    found = pgd(query, steps=30, restarts=3, early_stop=False).violation
    assert bool((found <= query.combine(exact) + 1e-9).all())
    lower, upper = query.inputs.box().cast(torch.float64)
    grid = torch.cartesian_prod(*torch.linspace(0, 1, 41, dtype=torch.float64).expand(2, -1))
    reached = [query.atoms(network(lower + share * (upper - lower))) for share in grid]
    assert bool((torch.stack(reached).amax(0) >= exact - 0.05).all()), "the oracle itself"


@pytest.mark.parametrize(("hidden", "shift"), [((), 0.0), ((3,), 20.0), ((3,), -20.0), ((3, 2), 20.0)])
def test_networks_that_are_affine_on_the_set_are_exact(hidden: tuple[int, ...], shift: float) -> None:
    network = tiny(hidden, 7, shift)
    query = query_of(network, boxes(), 2, rows=3)
    exact = exact_maximum(network, query) if len(hidden) < 2 else None
    graph = traced(network, 2, dtype=torch.float64)
    bounds = {name: value(engine.bound(graph, query)) for name, engine in ENGINES.items()}
    for name in ("pure crown-ibp", "pure crown", "crown"):
        if exact is not None:
            torch.testing.assert_close(bounds[name], exact, msg=name)
        corners = torch.cartesian_prod(*torch.tensor([[0.0, 1.0], [0.0, 1.0]], dtype=torch.float64))
        lower, upper = query.inputs.box().cast(torch.float64)
        reached = [query.atoms(network(lower + c * (upper - lower))) for c in corners]
        torch.testing.assert_close(bounds[name], torch.stack(reached).amax(0), msg=name)


def test_one_neuron_is_bounded_exactly_from_above() -> None:
    network = nn.Sequential(nn.Linear(2, 1), nn.ReLU()).double().eval().requires_grad_(False)
    fill(network, 3)
    box = Box(torch.full((1, 2), -1.0), torch.full((1, 2), 2.0))
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    query = Query(network, box, one, 0 * one[0], Atom(0, strict=True))
    graph = traced(network, 2, dtype=torch.float64)
    weight, bias = network[0].weight[0], network[0].bias[0]
    exact = (2 * weight.clamp(min=0) - weight.clamp(max=0)).sum() + bias
    assert float(exact) > 0
    for name, engine in ENGINES.items():
        assert float(value(engine.bound(graph, query))) == pytest.approx(float(exact)), name

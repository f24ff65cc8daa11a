"""Attacks search every kind of input set: their points lie inside, and reach known worst cases."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.attacks import ATTACKS, AttackResult, fgsm, pgd
from robustbench_local.specs import (
    Any,
    Atom,
    Box,
    Choice,
    InputSet,
    Patch,
    Query,
    SparseBall,
    Union,
    axis_groups,
    one_hot_tokens,
)

from ..specs.sets.random_sets import KINDS, Draw, uniform
from .toys import brief

UNIONS = ["sparse", "patch", "choice", "levels", "segment", "weighted", "union"]
CUTS = ["polytope", "coupled", "coupled ball", "product", "meet", "tokens"]


def _query(inputs: InputSet, network: nn.Module, outputs: int = 2) -> Query:
    """The violation is the largest output."""
    C = torch.eye(outputs, dtype=torch.float64).expand(inputs.batch, -1, -1)
    tree = Any(tuple(Atom(i, True) for i in range(outputs)))
    return Query(network, inputs, C, torch.zeros(inputs.batch, outputs, dtype=torch.float64), tree)


def _network(n: int, dtype: torch.dtype, seed: int = 0) -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(n, 12), nn.ReLU(), nn.Linear(12, 2)).to(dtype).eval()
    with torch.no_grad():
        for i, weight in enumerate(network.parameters()):
            weight.copy_(uniform(seed + i, tuple(weight.shape)))
    return network


def _linear(weight: Tensor) -> nn.Module:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False).double()
    layer.weight.data.copy_(weight)
    return nn.Sequential(nn.Flatten(), layer).eval()


@pytest.mark.parametrize("name", sorted(ATTACKS))
@pytest.mark.parametrize("kind", [*UNIONS, *CUTS])
def test_points_of_every_attack_lie_inside(kind: str, name: str) -> None:
    for seed, dtype in ((3, torch.float32), (12, torch.float64)):
        inputs = KINDS[kind](Draw(seed, 3, (2, 3), dtype, 1.0, 2))
        n = inputs.box().lower[0].numel()
        query = _query(inputs, _network(n, dtype, seed))
        result: AttackResult = brief(name)(query)
        assert inputs.contains(result.points).all() and result.finite.all()
        with torch.no_grad():
            start = query.violation(inputs.project(inputs.centre().to(dtype)))
            assert (result.violation >= start - 1e-5).all()


@pytest.mark.parametrize("kind", [*UNIONS, *CUTS])
def test_walks_gain_on_the_centre_and_depend_on_the_seed_only(kind: str) -> None:
    inputs = KINDS[kind](Draw(9, 4, (2, 3), torch.float64, 1.0, 2))
    query = _query(inputs, _network(inputs.box().lower[0].numel(), torch.float64))
    found, again = (
        pgd(query, steps=15, step_size=0.5, restarts=4, early_stop=False, seed=7) for _ in range(2)
    )
    assert torch.equal(found.points, again.points) and inputs.contains(found.points).all()
    with torch.no_grad():
        assert (found.violation >= query.violation(inputs.centre())).all()


def test_one_step_finds_the_worst_case_of_a_linear_network() -> None:
    center = uniform(0, (6, 2, 3, 3), 0, 1)
    box = Box(torch.zeros_like(center), torch.ones_like(center))
    weight = uniform(1, (1, 18))
    sets: list[InputSet] = [
        SparseBall(center, torch.arange(6), box),
        SparseBall(center, 2, box, groups=axis_groups((2, 3, 3), [0])),
        Patch(center, (2, 2), box),
        Patch(center, (1, 3), box),
        Union([Patch(center, (1, 1), box), SparseBall(center, 2, box)]),
    ]
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(3, (6, 6), generator=generator), torch.randint(3, (6, 6, 2), generator=generator)
    sets.append(one_hot_tokens(3, *tokens, torch.arange(6)))
    for inputs in sets:
        query = _query(inputs, _linear(weight), 1)
        best = inputs.support(weight.reshape(1, 1, *inputs.shape))[:, 0]
        found = fgsm(query)
        assert torch.allclose(found.violation, best, rtol=1e-9), inputs


def test_restarts_meet_every_point_of_a_choice() -> None:
    points = uniform(0, (5, 4, 3))
    query = _query(Choice(points), _network(3, torch.float64))
    with torch.no_grad():
        values = torch.stack([query.violation(points[:, k]) for k in range(4)])
    found = pgd(query, steps=0, restarts=40, early_stop=False)
    assert torch.allclose(found.violation, values.amax(0))

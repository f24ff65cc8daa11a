"""Output constraints in hidden bounds: never looser, never wrong about conjunctions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.specs import All, Any, Atom, Box, Query
from robustbench_local.verifiers import AlphaCROWN, Budget, Graph, InvProp, Tuning

from .networks import Fn, traced, uniform

FEW = Tuning(steps=8)
BATCH = 6


def mlp(seed: int) -> Fn:
    layers = (nn.Linear(2, 16), nn.Linear(16, 16), nn.Linear(16, 2))
    return Fn(lambda x, a, b, c: c(torch.relu(b(torch.relu(a(x))))), *layers, seed=seed).requires_grad_(False)


def grid(box: Box, steps: int = 61) -> Tensor:
    """Points of two-dimensional boxes, (steps^2, B, 2)."""
    share = torch.cartesian_prod(*[torch.linspace(0, 1, steps)] * 2).unsqueeze(1)
    lower, upper = box.cast(torch.float32)
    return torch.minimum(torch.maximum(lower + share * (upper - lower), lower), upper)


def problem(seed: int, excess: float) -> tuple[Graph, Query, Tensor]:
    """Two atoms that are each positive somewhere; both at once only where `excess` < 0 (on the grid)."""
    network = mlp(seed)
    centre = uniform(seed, (BATCH, 2)).float()
    box = Box(centre - 0.6, centre + 0.6)
    y = torch.stack([network(x) for x in grid(box)])
    middle = y.mean(0)
    least = (y - middle).amin(2).amax(0)
    d = -(middle + (least + excess * least.abs()).unsqueeze(1)).double()
    query = Query(
        network, box, torch.eye(2).expand(BATCH, 2, 2).double(), d, All((Atom(0, False), Atom(1, False)))
    )
    violation = torch.stack([query.combine(query.atoms(v)) for v in y]).amax(0)
    return traced(network, 2), query, violation


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("excess", [-0.5, 0.05, 0.5, 2.0])
def test_bounds_are_tighter_and_never_below_a_point(seed: int, excess: float) -> None:
    graph, query, violation = problem(seed, excess)
    plain = AlphaCROWN(tuning=FEW).bound(graph, query)
    found = InvProp(tuning=FEW).bound(graph, query)
    assert bool((found.upper <= plain.upper).all())
    bad = violation > 0  # where nothing is violated the bound says only that
    assert bool((found.upper[bad] >= violation[bad] - 1e-4).all())
    assert not bool((query.holds(found.upper) & (violation >= 0)).any())
    if excess < 0:
        assert not bool(query.holds(found.upper).any())


def test_conjunctions_are_proved_that_single_atoms_do_not_prove() -> None:
    plain, found = 0, 0
    for seed in range(4):
        graph, query, _ = problem(seed, 1.0)
        plain += int(query.holds(AlphaCROWN(tuning=FEW).bound(graph, query).upper).sum())
        found += int(query.holds(InvProp(tuning=FEW).bound(graph, query).upper).sum())
    assert found > plain


def test_other_properties_get_the_bounds_of_alpha_crown() -> None:
    graph, query, _ = problem(0, 0.5)
    either = Query(query.network, query.inputs, query.C, query.d, Any((Atom(0, False), Atom(1, False))))
    assert torch.equal(
        InvProp(tuning=FEW).bound(graph, either).upper, AlphaCROWN(tuning=FEW).bound(graph, either).upper
    )


def test_no_time_leaves_valid_bounds() -> None:
    graph, query, violation = problem(1, 0.5)
    bounds = InvProp(tuning=FEW).bound(graph, query, Budget(seconds=0.0))
    assert not bounds.complete
    assert bool((bounds.upper[violation > 0] >= violation[violation > 0]).all())

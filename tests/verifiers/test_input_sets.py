"""Bounds over every kind of input set: they hold for its points, and are exact for affine networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.specs import Box, Divisible, InputSet, Patch, SparseBall
from robustbench_local.verifiers import CROWN, IBP, find_verifier

from ..specs.sets.random_sets import KINDS, Draw
from .networks import ENGINES, fill, query_of, set_points, traced, uniform, value

DRAWS = [
    Draw(3, 3, (2, 3), torch.float32, 1.0, 2),
    Draw(12, 2, (5,), torch.float64, 0.3, 1),
    Draw(33, 2, (1, 4, 4), torch.float32, 0.1, 2),
]
every_set = pytest.mark.parametrize("draw", DRAWS, ids=lambda d: str(d.shape))
every_kind = pytest.mark.parametrize("kind", [*KINDS])


def _size(inputs: InputSet) -> int:
    return inputs.box().lower[0].numel()


def _network(inputs: InputSet, dtype: torch.dtype, seed: int = 0) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(_size(inputs), 10), nn.ReLU(), nn.Linear(10, 3))
    fill(net, seed)
    return net.to(dtype).eval()


@every_kind
@every_set
def test_bounds_hold_for_the_points_of_the_set(kind: str, draw: Draw) -> None:
    inputs = KINDS[kind](draw)
    network = _network(inputs, draw.dtype, draw.seed)
    graph = traced(network, *inputs.shape, dtype=draw.dtype)
    query = query_of(network, inputs, 3)
    with torch.no_grad():
        points = set_points(inputs, 30, 1, draw.dtype)
        rows = torch.stack([query.atoms(network(x)) for x in points]).amax(0).double()
    for name, engine in {**ENGINES, "alpha-crown": find_verifier("alpha-crown")}.items():
        upper = value(engine.bound(graph, query)).double()
        assert (rows <= upper + 2e-5 * (1 + rows.abs())).all(), name


@every_kind
@every_set
def test_crown_is_exact_on_affine_networks(kind: str, draw: Draw) -> None:
    inputs = KINDS[kind](draw)
    layer = nn.Linear(_size(inputs), 3)
    fill(layer, draw.seed)
    network = nn.Sequential(nn.Flatten(), layer).double().eval()
    query = query_of(network, inputs, 3)
    rows = (query.C @ layer.weight).reshape(inputs.batch, -1, *inputs.shape)
    exact = inputs.support(rows) + query.C @ layer.bias + query.d
    upper = value(CROWN().bound(traced(network, *inputs.shape, dtype=torch.float64), query))
    assert torch.allclose(upper, exact, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["lp", "milp", "sdp", "lipschitz", "forward", "invprop"])
@pytest.mark.parametrize("kind", ["sparse", "patch", "weighted", "union", "segment"])
def test_other_verifiers_take_the_hull_where_they_know_no_better(kind: str, name: str) -> None:
    inputs = KINDS[kind](DRAWS[0]).select(torch.tensor([0]))
    network = _network(inputs, torch.float32)
    query = query_of(network, inputs, 3, rows=2)
    with torch.no_grad():
        points = set_points(inputs, 20, 1, torch.float32)
        rows = torch.stack([query.atoms(network(x)) for x in points]).amax(0)
    bounds = find_verifier(name).bound(traced(network, *inputs.shape), query)
    assert (rows <= value(bounds) + 1e-4).all()


def _parts_bound(engine: CROWN | IBP, network: nn.Module, inputs: InputSet) -> tuple[Tensor, Tensor]:
    """Bounds of the whole set, and the largest ones over its parts."""
    graph, query = traced(network, *inputs.shape), query_of(network, inputs, 3)
    assert isinstance(inputs, Divisible)
    found = inputs.parts()
    assert found is not None
    parts, owner = found
    divided = query.select(owner)
    each = value(engine.bound(graph, type(query)(network, parts, divided.C, divided.d, query.tree)))
    whole = value(engine.bound(graph, query))
    index = owner.unsqueeze(1).expand(-1, each.shape[1])
    return whole, torch.full_like(whole, -torch.inf).scatter_reduce(0, index, each, "amax")


@pytest.mark.parametrize("engine", [IBP(), CROWN()], ids=["ibp", "crown"])
def test_bounds_part_by_part_hold_and_are_tighter_on_the_whole(engine: CROWN | IBP) -> None:
    center = uniform(0, (3, 1, 4, 4), 0.2, 0.8).float()
    box = Box(torch.zeros_like(center), torch.ones_like(center))
    sets: list[InputSet] = [
        SparseBall(center, 2, box),
        Patch(center, (2, 2), box),
        Patch(center, (1, 2), box) | SparseBall(center, 1, box),
    ]
    for inputs in sets:
        network = _network(inputs, torch.float32, 4)
        whole, divided = _parts_bound(engine, network, inputs)
        assert divided.mean() < whole.mean() - 1e-2, inputs
        if isinstance(engine, IBP):  # CROWN picks other lines for other sets, not better ones in each row
            assert (divided <= whole + 1e-5).all(), inputs
        query = query_of(network, inputs, 3)
        with torch.no_grad():
            for x in set_points(inputs, 60, 3, torch.float32):
                assert (query.atoms(network(x)) <= divided + 1e-5).all()


def test_parts_that_are_points_give_the_exact_maximum() -> None:
    inputs = KINDS["choice"](DRAWS[0])
    network = _network(inputs, torch.float32)
    _, divided = _parts_bound(IBP(), network, inputs)
    query = query_of(network, inputs, 3)
    with torch.no_grad():
        points = set_points(inputs, 200, 0, torch.float32)
        best = torch.stack([query.atoms(network(x)) for x in points]).amax(0)
    assert torch.allclose(divided, best, atol=1e-5)

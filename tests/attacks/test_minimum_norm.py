"""Minimum-norm attacks reach the distances that a formula gives, and count only what replays."""

from __future__ import annotations

import math

import pytest
import torch
from robustbench_local.attacks.distances import DISTANCES, Plane
from torch import Tensor, nn

from robustbench_local.attacks import (
    ATTACKS,
    CW,
    DDN,
    EAD,
    FAB,
    FMN,
    DeepFool,
    Gauge,
    SigmaZero,
    Walk,
    smallest_scale,
)
from robustbench_local.errors import RobustBenchError, SpecError
from robustbench_local.specs import Ball, Box, Polytope, Query, SparseBall

from .toys import NORMS, Affine, classification, images, raise_output

EXACT = {"fab": FAB(steps=20, targeted=False), "fab-t": FAB(steps=20), "deepfool": DeepFool(steps=10)}
WALKS: dict[str, Walk] = {**EXACT, "fmn": FMN(steps=200)}  # the last knows one boundary at a time
EUCLIDEAN: dict[str, Walk] = {
    "ddn": DDN(steps=200),
    "cw": CW(steps=150),
    "ead": EAD(steps=100, sparsity=1e-4),
}


def linear(classes: int = 4, n: int = 10, seed: int = 0) -> Affine:
    return Affine(torch.randn(classes, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64))


def distances(network: Affine, x: Tensor, p: float) -> Tensor:
    """(B,) to the nearest hyperplane at which two classes tie: |margin| over the dual norm of its normal."""
    with torch.no_grad():
        y = network(x)
        label = y.argmax(1)
        normal = network.weight[label].unsqueeze(1) - network.weight  # (B, K, n)
        margin = y.gather(1, label.unsqueeze(1)) - y
        dual = {1: normal.abs().amax(2), 2: normal.norm(dim=2), math.inf: normal.abs().sum(2)}[p]
        every = (margin / dual).scatter(1, label.unsqueeze(1), torch.inf)
        return every.amin(1)


@pytest.mark.parametrize("name", WALKS)
@pytest.mark.parametrize("p", NORMS, ids=lambda p: f"l{p}")
def test_the_distance_to_a_linear_boundary(name: str, p: float) -> None:
    network, x = linear(4 if name in EXACT else 2), images(8, (10,), torch.float64)
    query = classification(network, x, eps=1.0, p=p, bounds=None)
    expected = distances(network, x, p)
    found = smallest_scale(query, WALKS[name])
    assert (found.scale >= expected * (1 - 1e-12)).all()
    torch.testing.assert_close(found.scale, expected, rtol=2e-3 if name in EXACT else 3e-2, atol=0.0)
    assert found.result.violated.all()


@pytest.mark.parametrize("name", EUCLIDEAN)
def test_the_euclidean_distance_to_a_linear_boundary(name: str) -> None:
    network, x = linear(), images(8, (10,), torch.float64)
    expected = distances(network, x, 2)
    found = smallest_scale(classification(network, x, eps=1.0, p=2, bounds=None), EUCLIDEAN[name])
    assert (found.scale >= expected * (1 - 1e-12)).all()
    torch.testing.assert_close(found.scale, expected, rtol=5e-2, atol=0.0)


def test_the_unit_of_a_radius_does_not_matter() -> None:
    network, x = linear(), images(4, (10,), torch.float64)
    one, tenth = (
        smallest_scale(classification(network, x, eps=eps, p=2, bounds=None), FAB(steps=10)).scale * eps
        for eps in (1.0, 0.1)
    )
    torch.testing.assert_close(one, tenth, rtol=1e-3, atol=0.0)


@pytest.mark.parametrize("walk", [FMN(steps=100), SigmaZero(steps=100), FAB(steps=20)], ids=repr)
def test_how_many_coordinates_must_change(walk: Walk) -> None:
    """y = 3 a + 2 b + c + d + ... - 4.5 from the origin of [0, 1]^8: the first two suffice, no one does."""
    weight = torch.tensor([[3.0, 2.0, 1.0, 1.0, 0.5, 0.5, 0.1, 0.1]])
    center = torch.zeros(2, 8, dtype=torch.float64)
    inputs = SparseBall(center, 1, Box(center, center + 1))
    query = raise_output(Affine(weight, torch.tensor([-4.5])), inputs)
    found = smallest_scale(query, walk)
    assert found.scale.tolist() == [2.0, 2.0]
    assert ((found.result.points != 0).sum(1) == 2).all()


def test_two_neurons() -> None:
    """relu(x - 1) + relu(-x - 2) - 0.5 is positive beyond 1.5 and beyond -2.5: from 0 the first is nearer."""
    network = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    for layer, weight, bias in ((0, [[1.0], [-1.0]], [-1.0, -2.0]), (2, [[1.0, 1.0]], [-0.5])):
        network[layer].weight.data = torch.tensor(weight, dtype=torch.float64)
        network[layer].bias.data = torch.tensor(bias, dtype=torch.float64)
    center = torch.tensor([[1.2], [-2.2]], dtype=torch.float64)  # where a neuron is active: gradients exist
    query = raise_output(network, Ball(center, 1.0))
    for walk in (*WALKS.values(), *EUCLIDEAN.values()):
        found = smallest_scale(query, walk)
        torch.testing.assert_close(found.scale, torch.full_like(found.scale, 0.3), rtol=2e-2, atol=0.0)


def test_limits_are_kept_outside_the_set_as_well() -> None:
    """y = x_0 + x_1 - 1.2 from (0.5, 0) in [0, 0.6] x [0, 1]: the first coordinate may only give 0.1."""
    center = torch.tensor([[0.5, 0.0]], dtype=torch.float64)
    limits = Box(torch.zeros(1, 2).double(), torch.tensor([[0.6, 1.0]]).double())
    query = raise_output(Affine(torch.ones(1, 2), torch.tensor([-1.2])), Ball(center, 0.1, 2) & limits)
    found = smallest_scale(query, FAB(steps=30))
    assert limits.contains(found.result.points).all()
    expected = math.hypot(0.1, 0.6) / 0.1
    assert expected * (1 - 1e-9) <= float(found.scale) <= expected * 1.01


def test_what_cannot_be_reached_has_no_distance() -> None:
    center = torch.zeros(3, 2, dtype=torch.float64)
    inputs = Ball(center, 0.1, 2) & Box(center - 1, center + 1)
    found = smallest_scale(raise_output(Affine(torch.ones(1, 2), torch.tensor([-3.0])), inputs), FAB(steps=5))
    assert torch.isinf(found.scale).all()
    assert not found.result.violated.any()
    assert inputs.contains(found.result.points).all()


def test_a_bad_origin_is_at_distance_nearly_zero() -> None:
    query = raise_output(Affine(torch.ones(1, 2), torch.tensor([1.0])), Ball(torch.zeros(2, 2).double(), 0.1))
    assert (smallest_scale(query, FAB(steps=5)).scale < 1e-12).all()


def test_points_outside_the_set_neither_break_it_nor_make_it_unsound() -> None:
    """Violated (and not finite) outside the set only."""

    def network(x: Tensor) -> Tensor:
        return torch.where(x > 1.5, torch.nan, torch.where(x > 1.05, 1.0, -1.0) + 0 * x + 0.1 * x)

    query = raise_output(network, Ball(torch.zeros(3, 1).double(), 1.0))
    for name in ("fab", "fab-t", "fmn", "ddn", "deepfool", "cw", "ead", "sigma-zero"):
        result = ATTACKS[name](query)
        assert not result.violated.any(), name
        assert result.finite.all(), name
        assert query.inputs.contains(result.points).all(), name


def test_sets_without_a_radius_are_refused() -> None:
    box = Box(torch.zeros(1, 2).double(), torch.ones(1, 2).double())
    inputs = Polytope(torch.ones(1, 1, 2).double(), torch.ones(1, 1).double(), box)
    with pytest.raises(SpecError, match="no radius"):
        smallest_scale(raise_output(Affine(torch.ones(1, 2)), inputs), FAB())
    assert not Gauge.of(inputs, torch.float64).free


def test_settings_out_of_range_raise() -> None:
    query: Query = raise_output(Affine(torch.ones(1, 2)), Ball(torch.zeros(1, 2).double(), 1.0))
    for walk in (FAB, FMN, DDN, DeepFool, CW, EAD, SigmaZero):
        with pytest.raises(RobustBenchError, match="steps is 0"):
            walk(steps=0)
    with pytest.raises(RobustBenchError, match="restarts is 0"):
        smallest_scale(query, FAB(), restarts=0)


@pytest.mark.parametrize("p", DISTANCES)
def test_projections_onto_planes_are_the_shortest(p: float) -> None:
    """No random displacement that meets the need within the limits is shorter."""
    generator = torch.Generator().manual_seed(1)
    normal = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    upper = torch.rand(5, 4, generator=generator, dtype=torch.float64)
    most = (normal.abs() * upper).sum(1)
    plane = Plane(normal, 0.6 * most, -upper, upper)
    d = DISTANCES[p].to_plane(plane)
    assert ((normal * d).sum(1) >= plane.need * (1 - 1e-5)).all()
    assert (d.abs() <= upper + 1e-12).all()
    others = (2 * torch.rand(4000, 5, 4, generator=generator, dtype=torch.float64) - 1) * upper
    reach = (others * normal).sum(2) >= plane.need
    lengths = torch.stack([DISTANCES[p].length(one) for one in others])
    assert reach.any(0).all()
    assert (torch.where(reach, lengths, torch.inf).amin(0) >= DISTANCES[p].length(d) * (1 - 1e-5)).all()
    lost = DISTANCES[p].to_plane(Plane(normal, 2 * most, -upper, upper))
    torch.testing.assert_close((normal * lost).sum(1), most)


@pytest.mark.parametrize("p", DISTANCES)
def test_shrunken_vectors_are_short_and_short_ones_stay(p: float) -> None:
    d = torch.randn(6, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    distance = DISTANCES[p]
    radius = torch.linspace(1.0, 4.0, 6, dtype=torch.float64)
    assert (distance.length(distance.shrink(d, radius)) <= radius * (1 + 1e-12)).all()
    torch.testing.assert_close(distance.shrink(d, distance.length(d) * (1 + 1e-9)), d)

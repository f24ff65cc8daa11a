"""Random networks: their mean at given draws, what counts as a bad point of theirs, and transfer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.attacks import MeanNetwork, autoattack_rand, eot, expected, pgd, transfer
from robustbench_local.errors import RobustBenchError
from robustbench_local.specs import Box

from .toys import Counting, RowWise, classification, images, predicted, raise_output, unit_interval


class Noisy(nn.Module):
    """y = slope x + offset + noise: the property y <= 0 is false in the mean where slope x > -offset."""

    def __init__(self, slope: float, offset: float, noise: float = 1.0) -> None:
        super().__init__()
        self.slope, self.offset, self.noise = slope, offset, noise

    def forward(self, x: Tensor) -> Tensor:
        return self.slope * x + self.offset + self.noise * torch.randn_like(x)


class Sources(nn.Module):
    """Draws by every function that torch has for it."""

    def forward(self, x: Tensor) -> Tensor:
        batch = x.shape[0]
        y = x + torch.rand(batch, 3) + torch.randn((batch, 3)) + torch.rand(3) + torch.randn(batch, 1)
        y = y + torch.empty_like(x).normal_() + torch.empty(batch, 3).uniform_(-1, 1)
        y = y + torch.bernoulli(x) + torch.normal(x, 1.0) + torch.randint(0, 9, (batch, 3))
        return F.dropout(y, 0.5, training=True) + nn.Dropout(0.3)(y) + torch.rand(size=(batch, 3))


def test_draws_are_functions_of_the_seed_whatever_the_batch() -> None:
    network, x = MeanNetwork(Sources(), draws=3, seed=4), images(7, (3,))
    state = torch.get_rng_state()
    whole = network(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert network.random and torch.equal(network(x), whole)
    for row in range(7):
        assert torch.equal(network(x[row : row + 1])[0], whole[row])
    assert not torch.equal(MeanNetwork(Sources(), draws=3, seed=5)(x), whole)


def test_the_mean_is_that_of_the_network() -> None:
    x = torch.full((1, 1), 0.5)
    mean = MeanNetwork(Noisy(2.0, 1.0), draws=4000)(x)
    assert abs(float(mean) - 2.0) < 4 / 4000**0.5
    steady = RowWise(3, 4, 2)
    mean_of_one = MeanNetwork(Counting(steady), draws=20)
    assert torch.equal(mean_of_one(images(2, (3,))), steady(images(2, (3,))))
    assert not mean_of_one.random and mean_of_one.network.forwards == 2  # type: ignore[union-attr]


def test_a_point_counts_if_the_mean_breaks_the_property() -> None:
    """Single draws break it everywhere, and so do means over 20 draws in places: neither counts."""
    bad = eot(raise_output(Noisy(2.0, -1.5), unit_interval(4)))
    assert bad.violated.all() and (bad.violation > 0).all()
    good = raise_output(
        Noisy(0.5, -0.6), unit_interval(4)
    )  # mean at most -0.1, a fifth of a mean's deviation
    for seed in range(6):
        result = eot(good, seed=seed)
        assert not result.violated.any()
    alone = [pgd(good, seed=seed) for seed in range(3)]
    assert torch.stack([one.violated for one in alone]).any()


def test_a_narrow_margin_is_found_by_going_on() -> None:
    """The mean is above zero by a third of its spread at one end only: first claims fail, later ones hold."""
    query = raise_output(Noisy(1.0, -0.65, 0.5), unit_interval(5))
    result = autoattack_rand(steps=20)(query)
    assert result.violated.all()
    assert (result.points > 0.65).all()
    assert torch.equal(result.points, autoattack_rand(steps=20)(query).points)


def test_samples_that_pass_the_test_leave_the_others_to_go_on() -> None:
    offsets = torch.tensor([1.0, -0.65, -1.5, -0.65])

    def network(x: Tensor) -> Tensor:
        rows = (x[:, 1] * 4).long()  # the second coordinate, which is fixed, says which sample it is
        return x[:, :1] + offsets[rows].unsqueeze(1) + 0.5 * torch.randn_like(x[:, :1])

    mark = torch.arange(4).reshape(4, 1) / 4
    inputs = Box(torch.cat([torch.zeros(4, 1), mark], 1), torch.cat([torch.ones(4, 1), mark], 1))
    result = eot(raise_output(network, inputs), steps=20)
    assert result.violated.tolist() == [True, True, False, True]


def test_numbers_that_are_not_finite_never_count() -> None:
    def sometimes(x: Tensor) -> Tensor:
        return torch.where(torch.rand(()) < 0.1, torch.nan, 1.0) + x

    result = eot(raise_output(sometimes, unit_interval(2)))
    assert not result.violated.any() and not result.finite.any()


def test_draws_are_paid_for() -> None:
    network = Counting(Noisy(0.5, -3.0))
    query = raise_output(network, unit_interval(3))
    network.forwards = network.backwards = 0
    result = expected(lambda query, **common: pgd(query, steps=5, **common), draws=4, replays=10)(query)
    assert int(result.forwards.sum()) == network.forwards
    assert int(result.backwards.sum()) == network.backwards


def test_wrong_settings_raise() -> None:
    for settings in ({"draws": 0}, {"replays": 1}):
        with pytest.raises(RobustBenchError, match="draws is"):
            expected(pgd, **settings)
    with pytest.raises(RobustBenchError, match="draws is 0"):
        MeanNetwork(nn.Identity(), draws=0)
    with pytest.raises(RobustBenchError, match="0 surrogates"):
        transfer([])


def test_bad_points_of_a_twin_transfer_and_cost_no_gradient() -> None:
    network = RowWise(12, 8, 3)

    def masked(x: Tensor) -> Tensor:
        return (network(x) * 1e6).round() / 1e6

    counting, x = Counting(masked), images(400, (12,))
    query = classification(counting, x, eps=0.08)
    counting.forwards = 0
    stranger = RowWise(12, 9, 3)
    result = transfer([stranger, network])(query)
    reference = pgd(classification(network, x, eps=0.08))
    assert int(result.forwards.sum()) == counting.forwards and not result.backwards.any()
    assert result.violated.sum() >= 0.9 * reference.violated.sum() > 0
    assert query.inputs.contains(result.points).all()
    assert torch.equal(result.violated, query.violated(result.points))
    rows = torch.tensor([5, 2])
    part = transfer([stranger, network])(query.select(rows), ids=rows)
    assert torch.equal(part.points, result.points[rows])
    assert torch.equal(predicted(masked, x), predicted(network, x))

"""PGD and FGSM on networks with known worst cases, and on awkward ones."""

from __future__ import annotations

import itertools
import math
import time
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.attacks import (
    Attack,
    Loss,
    cross_entropy_loss,
    decaying,
    falling,
    fgsm,
    pgd,
    smooth_violation_loss,
)
from robustbench_local.errors import GraphError, RobustBenchError
from robustbench_local.specs import Ball, Box, Query, robustness

from .toys import NORMS, Affine, RowWise, classification, images, raise_output, unit_interval, walk_through

DUAL = {1: math.inf, 2: 2, math.inf: 1}
every_norm = pytest.mark.parametrize("p", NORMS, ids=lambda p: f"l{p}")
full = partial(pgd, early_stop=False)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@every_norm
@pytest.mark.parametrize(
    "attack",
    [
        partial(full, random_start=False),
        partial(full, random_start=False, momentum=0.9),
        partial(full, step_size=decaying(1.0, 0.02), steps=80),
        fgsm,
    ],
    ids=["steps", "momentum", "random start", "fgsm"],
)
def test_a_linear_network_is_maximised_exactly(p: float, attack: Attack) -> None:
    """max of <w, x> + b over a ball = <w, centre> + b + radius * dual norm of w."""
    weight, centre, radius = numbers(1, 6), numbers(5, 6, seed=1), torch.linspace(0.1, 2, 5).double()
    bias = -(100 + numbers(1, seed=2).abs())
    result = attack(raise_output(Affine(weight, bias), Ball(centre, radius, p)))
    expected = centre @ weight[0] + bias + radius * weight[0].norm(p=DUAL[p])
    torch.testing.assert_close(result.violation, expected, rtol=0, atol=1e-6)
    assert (result.violation <= expected + 1e-9).all()
    assert not result.violated.any()


@every_norm
def test_the_smallest_radius_that_breaks_two_classes(p: float) -> None:
    """A linear classifier breaks exactly beyond margin / dual norm of the weights' difference."""
    weight, x = numbers(2, 8, seed=3), numbers(20, 8, seed=4)
    network = Affine(weight)
    margin = (network(x)[:, 0] - network(x)[:, 1]).abs().detach()
    distance = margin / (weight[0] - weight[1]).norm(p=DUAL[p])
    for factor, broken in ((1.001, True), (0.999, False)):
        spec = robustness((8,), 2, p=p, bounds=None)
        query = spec.query(network, x0=x, c=network(x).argmax(1), eps=factor * distance)
        for attack in (fgsm, partial(pgd, step_size=decaying(0.5, 0.01))):
            assert attack(query).violated.tolist() == [broken] * 20


def test_two_relu_neurons_are_maximised() -> None:
    """Worst cases of sums of two neurons on a square, against all vertices of the linear pieces."""
    square = Box(
        -torch.ones(12, 2).double(), torch.ones(12, 2).double()
    )  # 12 random starts: each id has its own
    gaps = []
    for seed in range(20):
        u, b, v = numbers(2, 2, seed=seed), 0.5 * numbers(2, seed=seed + 100), numbers(2, seed=seed + 200)

        def network(x: Tensor, u: Tensor = u, b: Tensor = b, v: Tensor = v) -> Tensor:
            return ((x @ u.T + b).relu() @ v).unsqueeze(1) - 50

        exact = float(network(vertices(u, b)).max())
        found = pgd(raise_output(network, square), step_size=decaying(0.5, 0.005))
        gaps.append(exact - float(found.violation.max()))
    assert min(gaps) >= -1e-9
    assert sum(gap < 0.01 for gap in gaps) >= 19  # ascent may miss the narrow basin of a rare network


def vertices(u: Tensor, b: Tensor) -> Tensor:
    """The points of the square [-1, 1]^2 where the lines u_i x + b_i = 0 and the sides cross, (n, 2)."""
    sides = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    lines, offsets = torch.cat([u, sides]), torch.cat([b, torch.tensor([-1.0, 1.0, -1.0, 1.0]).double()])
    pairs = torch.tensor(list(itertools.combinations(range(len(lines)), 2)))
    crossing = torch.linalg.det(lines[pairs]).abs() > 1e-9
    points = torch.linalg.solve(lines[pairs[crossing]], -offsets[pairs[crossing]])
    return points[(points.abs() <= 1 + 1e-9).all(1)].clamp(-1, 1)


@pytest.mark.parametrize("early_stop", [True, False])
def test_a_success_on_the_way_is_kept(early_stop: bool) -> None:
    query = raise_output(walk_through, unit_interval())
    last = pgd(query, start=torch.zeros(1, 1), steps=60, random_start=False, early_stop=early_stop)
    assert last.violated.all()
    assert 0.4 <= float(last.points) <= 0.6
    assert (int(last.backwards) < 15) is early_stop  # 0.4 is 8 steps away, the end of the interval 20
    straight = pgd(query, start=torch.zeros(1, 1), steps=1, step_size=2.0, random_start=False)
    assert not straight.violated.any()  # one long step lands beyond the region


def test_a_success_of_the_start_or_the_last_step_is_kept() -> None:
    query = raise_output(walk_through, unit_interval())
    assert pgd(query, start=torch.full((1, 1), 0.5), steps=0).violated.all()
    arrives = pgd(query, start=torch.zeros(1, 1), steps=1, step_size=0.9, random_start=False)
    assert arrives.violated.all()
    assert int(arrives.forwards) == 3  # start, last step, replay
    assert int(arrives.backwards) == 1


def test_what_one_walk_costs() -> None:
    query = raise_output(lambda x: x - 9, unit_interval(4))
    for restarts, random_start, forwards in ((1, True, 1 + 6 + 1), (3, True, 1 + 18 + 1), (2, False, 12 + 1)):
        even = decaying(0.1, 0.1)  # a schedule's walks do not end in cycles
        result = pgd(query, steps=5, step_size=even, restarts=restarts, random_start=random_start)
        assert result.forwards.tolist() == [forwards] * 4
        assert result.backwards.tolist() == [5 * restarts] * 4


def test_more_restarts_never_do_worse() -> None:
    query = classification(RowWise(12, 8, 4), images(20, (12,)), eps=0.1)
    one, four = full(query, steps=5), full(query, steps=5, restarts=4)
    assert (four.violation >= one.violation).all()
    assert (four.violation > one.violation).any()
    assert not torch.equal(full(query, seed=1, steps=5).points, one.points)


@pytest.mark.parametrize("loss", [cross_entropy_loss, smooth_violation_loss])
def test_other_losses_break_samples_too(loss: object) -> None:
    query = classification(RowWise(12, 8, 4), images(50, (12,)), eps=0.1)
    plain, other = pgd(query), pgd(query, loss=loss)  # type: ignore[arg-type]
    assert abs(int(plain.violated.sum()) - int(other.violated.sum())) <= 3
    assert plain.violated.any()


def test_a_saturated_loss_is_left_by_random_steps() -> None:
    """Cross-entropy has no gradient where the class leads by 1,000; the violation itself has one."""
    network = Affine(torch.tensor([[1e4], [0.0]]), torch.tensor([-5e3, 0.0])).float()
    query = classification(network, torch.full((4, 1), 0.9), eps=0.85)
    assert (network(torch.full((1, 1), 0.9))[0, 0] > 1_000).all()
    assert fgsm(query).violated.all()
    assert not fgsm(query, loss=cross_entropy_loss, start=torch.full((4, 1), 0.9)).finite.logical_not().any()
    walks = pgd(query, start=torch.full((4, 1), 0.9), loss=cross_entropy_loss, random_start=False, steps=60)
    assert walks.finite.all()
    assert walks.violated.any()


def test_tiny_and_huge_gradients_give_steps_of_full_size() -> None:
    for scale in (1e-38, 1e30):
        for p in NORMS:
            ball = Ball(torch.zeros(2, 3), 1.0, p)
            result = full(
                raise_output(lambda x, scale=scale: x.sum(1, keepdim=True) * scale, ball), random_start=False
            )
            assert (result.points.sum(1) > 0.99 * 3 ** (1 - 1 / p)).all()


def test_infinite_gradients_are_flagged_and_do_not_count() -> None:
    query = raise_output(lambda x: (x - x.detach()).abs().sqrt() - 1, unit_interval(2))
    result = pgd(query, steps=3)
    assert not result.finite.any()
    assert not result.violated.any()
    assert query.inputs.contains(result.points).all()


def test_a_network_without_gradient_is_named_with_the_cure() -> None:
    class Labels(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.one_hot((x[:, 0] > 0.5).long(), 2).float()

    query = classification(Labels(), images(3, (2,)), eps=0.1)
    for name, attack in (("pgd", pgd), ("fgsm", fgsm)):
        with pytest.raises(
            GraphError, match=rf"attack '{name}' follows gradients.*Labels.*without gradients"
        ):
            attack(query)
    constant = raise_output(walk_through, unit_interval())
    query = constant.with_network(lambda x: (torch.ones(1, requires_grad=True) * -1).expand(x.shape[0], 1))
    with pytest.raises(GraphError, match="has none in its input"):
        pgd(query)


def test_a_verdict_on_the_boundary_is_that_of_the_sample_alone() -> None:
    """A network whose last bits depend on the batch size, as matrix kernels' do."""

    def network(x: Tensor) -> Tensor:
        return 0 * x + 1e-7 * (1 if x.shape[0] > 1 else -1) + torch.tensor([[0.0, 1.0]])

    query = raise_output(network, Box(torch.zeros(3, 2), torch.ones(3, 2)))
    result = pgd(query, steps=2)
    assert not result.violated.any()
    assert (result.violation < 0).all()


def test_the_deadline_stops_a_walk() -> None:
    def slow(x: Tensor) -> Tensor:
        time.sleep(0.01)
        return x - 9

    began = time.monotonic()
    sizes = decaying(0.1, 0.1)  # a schedule's walks do not end in cycles
    result = pgd(raise_output(slow, unit_interval(2)), steps=10_000, step_size=sizes, deadline=began + 0.15)
    assert time.monotonic() - began < 2
    assert not result.complete.any()
    assert 2 <= int(result.forwards[0]) < 100
    assert (result.violation > -9).all()


def test_step_sizes_follow_the_schedule() -> None:
    seen: list[tuple[int, int]] = []

    def schedule(step: int, steps: int) -> float:
        seen.append((step, steps))
        return 0.1

    query = raise_output(lambda x: x - 9, unit_interval())
    scheduled = pgd(query, steps=3, step_size=schedule)
    assert seen == [(0, 3), (1, 3), (2, 3)]
    assert torch.equal(scheduled.points, pgd(query, steps=3, step_size=0.1).points)
    sizes = [decaying(0.8, 0.1)(step, 4) for step in range(4)]
    assert sizes == pytest.approx([0.8, 0.4, 0.2, 0.1])
    assert decaying(0.8, 0.1)(0, 1) == 0.8
    assert [falling(1.0)(step, 4) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]


def test_the_second_half_of_a_walk_may_have_another_loss() -> None:
    seen: list[str] = []

    def named(name: str) -> Loss:
        def loss(query: Query, atoms: Tensor) -> Tensor:
            seen.append(name)
            return query.combine(atoms)

        return loss

    pgd(raise_output(lambda x: x - 9, unit_interval()), steps=4, loss=named("a"), last_loss=named("b"))
    assert seen == ["a", "a", "b", "b"]


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": -1},
        {"restarts": 0},
        {"step_size": 0.0},
        {"step_size": math.nan},
        {"step_size": math.inf},
        {"momentum": -0.1},
        {"momentum": math.nan},
    ],
    ids=str,
)
def test_settings_out_of_range_raise(settings: dict[str, float]) -> None:
    query = raise_output(walk_through, unit_interval())
    (name,) = settings
    with pytest.raises(RobustBenchError, match=f"{name} is "):
        pgd(query, **settings)  # type: ignore[arg-type]

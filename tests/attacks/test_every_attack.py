"""What holds for every attack of the registry: one that is added to the folder is tested here unseen."""

from __future__ import annotations

import math
import random
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from robustbench_local.attacks import AttackResult
from robustbench_local.errors import DtypeError, NonFiniteError, ShapeError
from robustbench_local.specs import Query, output_bounds, targeted

from .toys import (
    ATTACK_NAMES,
    NORMS,
    Counting,
    RowWise,
    brief,
    classification,
    images,
    predicted,
    raise_output,
    unit_interval,
    walk_through,
)

RADIUS = {1: 0.9, 2: 0.4, math.inf: 0.08}
every_attack = pytest.mark.parametrize("name", ATTACK_NAMES)
every_norm = pytest.mark.parametrize("p", NORMS, ids=lambda p: f"l{p}")


def assert_sound(result: AttackResult, query: Query, start: Tensor | None = None) -> None:
    """Points exactly inside, numbers as a clean forward pass gives them, never below the start."""
    batch = query.batch
    for column in (result.violation, result.violated, result.forwards, result.backwards, result.finite):
        assert column.shape == (batch,)
    assert result.points.shape == (batch, *query.inputs.shape)
    assert query.inputs.contains(result.points).all()
    with torch.no_grad():
        assert torch.equal(result.violated, query.violated(result.points))
        torch.testing.assert_close(
            result.violation, query.violation(result.points).double(), rtol=1e-4, atol=1e-5
        )
        begin = query.inputs.centre() if start is None else start
        begin = query.inputs.project(begin.to(result.points.dtype))
        assert (result.violation >= query.violation(begin) - 1e-5).all()
    assert (result.forwards >= 1).all()
    assert not result.points.requires_grad
    assert not result.violation.requires_grad


@every_attack
@every_norm
@pytest.mark.parametrize("bounds", [(0.0, 1.0), None], ids=["boxed", "free"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_results_are_sound(
    name: str, p: float, bounds: tuple[float, float] | None, dtype: torch.dtype
) -> None:
    network = RowWise(12, 8, 4, dtype)
    query = classification(network, images(9, (3, 2, 2), dtype), eps=RADIUS[p], p=p, bounds=bounds)
    result = brief(name)(query)
    assert result.points.dtype == dtype
    assert result.finite.all()
    assert result.complete.all()
    assert_sound(result, query)


@every_attack
@given(
    eps=st.floats(0, 2),
    p=st.sampled_from(NORMS),
    shape=st.sampled_from([(1,), (5,), (2, 3), (1, 2, 2)]),
    classes=st.integers(2, 5),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=15)
def test_results_are_sound_on_any_shape_norm_and_radius(
    name: str, eps: float, p: float, shape: tuple[int, ...], classes: int, seed: int
) -> None:
    network = RowWise(math.prod(shape), 4, classes)
    query = classification(network, images(3, shape, seed=seed), eps=eps, p=p)
    assert_sound(brief(name)(query, seed=seed), query)


@every_attack
def test_results_are_sound_on_other_properties(name: str) -> None:
    """A target class (an AND of atoms) and output intervals (strict atoms), broken for some samples."""
    network, x = RowWise(6, 8, 3, torch.float64), images(20, (6,), torch.float64)
    targets = (predicted(network, x) + 1) % 3
    eps = torch.linspace(0.001, 0.3, 20)
    for query in (
        targeted((6,), 3).query(network, x0=x, t=targets, eps=eps),
        output_bounds((6,), 3).query(network, x0=x, eps=eps, low=-0.5, high=0.5),
    ):
        result = brief(name)(query)
        assert result.violated.any() and not result.violated.all()
        assert_sound(result, query)


@every_attack
@every_norm
def test_one_sample_does_not_depend_on_the_batch(name: str, p: float) -> None:
    network = RowWise(12, 8, 3)
    query = classification(network, images(250, (12,)), eps=RADIUS[p], p=p)
    ids = [f"image {row}" for row in range(250)]
    whole = brief(name)(query, ids=ids)
    assert whole.violated.any() and not whole.violated.all()
    order = torch.randperm(250, generator=torch.Generator().manual_seed(1))
    for size in (250, 7, 1):
        for rows in order.split(size)[:5]:
            part = brief(name)(query.select(rows), ids=[ids[row] for row in rows])
            assert torch.equal(part.points, whole.points[rows])
            assert torch.equal(part.violation, whole.violation[rows])
            assert torch.equal(part.violated, whole.violated[rows])
            assert torch.equal(part.forwards, whole.forwards[rows])


@every_attack
def test_matrix_kernels_change_a_sample_by_rounding_only(name: str) -> None:
    network = nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 3)).double()
    for number, weight in enumerate(network.parameters()):
        weight.data = torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)).double()
    query = classification(network, images(40, (6,), torch.float64), eps=0.05)
    whole = brief(name)(query)
    for row in range(0, 40, 3):
        alone = brief(name)(query.select(torch.tensor([row])), ids=[row])
        assert abs(float(alone.violation - whole.violation[row])) < 1e-9
        assert bool(alone.violated) == bool(whole.violated[row])


@every_attack
def test_same_call_same_result_and_no_global_generator(name: str) -> None:
    query = classification(RowWise(12, 8, 3), images(20, (12,)), eps=0.1)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    first, second = brief(name)(query, seed=5), brief(name)(query, seed=5)
    assert torch.equal(first.points, second.points)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]


@every_attack
def test_the_network_is_left_alone(name: str) -> None:
    network = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.ReLU(), nn.Linear(5, 3))
    network[0].weight.requires_grad_(False)
    for mode in (True, False):
        network.train(mode)
        spec_network = (
            network if not mode else nn.Sequential(*network[::2])
        )  # no random layer while in training mode
        before = {key: value.clone() for key, value in network.state_dict().items()}
        flags = [weight.requires_grad for weight in network.parameters()]
        brief(name)(classification(spec_network, images(4, (4,)), eps=0.2))
        assert network.training is mode
        assert all(module.training is mode for module in network)
        assert [weight.requires_grad for weight in network.parameters()] == flags
        assert all(weight.grad is None for weight in network.parameters())
        assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


@every_attack
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_results_do_not_depend_on_the_gradient_mode(name: str, mode: type) -> None:
    network, x = RowWise(6, 8, 3), images(10, (6,))
    expected = brief(name)(classification(network, x, eps=0.1))
    with mode():
        inside = brief(name)(classification(network, x, eps=0.1))
    assert torch.equal(inside.points, expected.points)
    assert torch.equal(inside.violated, expected.violated)


@every_attack
@every_norm
def test_two_classes_and_one_input(name: str, p: float) -> None:
    query = classification(RowWise(1, 6, 2), images(6, (1,)), eps=0.5, p=p)
    assert_sound(brief(name)(query), query)


@every_attack
def test_passes_are_counted(name: str) -> None:
    network = Counting(RowWise(12, 8, 3))
    query = classification(network, images(60, (12,)), eps=0.06)
    network.forwards = network.backwards = 0
    result = brief(name)(query)
    assert int(result.forwards.sum()) == network.forwards
    assert int(result.backwards.sum()) == network.backwards
    broken = result.violated
    assert broken.any() and not broken.all()
    assert result.forwards[broken].double().mean() <= result.forwards[~broken].double().mean()


@every_attack
def test_a_start_that_is_broken_costs_no_search(name: str) -> None:
    query = raise_output(lambda x: x + 1, unit_interval(3))
    result = brief(name)(query)
    assert result.violated.all()
    assert (result.forwards <= 2).all()
    assert (result.backwards == 0).all()


@every_attack
def test_the_given_start_is_used_and_moved_into_the_set(name: str) -> None:
    def spike(x: Tensor) -> Tensor:
        return torch.where(x == 0.125, 1.0, -1.0) + 0 * x

    query = raise_output(spike, unit_interval(2))
    result = brief(name)(query, start=torch.full((2, 1), 0.125))
    assert result.violated.all()
    assert result.points.flatten().tolist() == [0.125, 0.125]
    outside = brief(name)(query, start=torch.full((2, 1), 7.0))
    assert query.inputs.contains(outside.points).all()


@every_attack
def test_wrong_starts_raise(name: str) -> None:
    query = raise_output(walk_through, unit_interval(2))
    with pytest.raises(ShapeError, match="start"):
        brief(name)(query, start=torch.zeros(2, 2))
    with pytest.raises(NonFiniteError, match="start"):
        brief(name)(query, start=torch.full((2, 1), torch.nan))
    with pytest.raises(ShapeError, match="ids"):
        brief(name)(query, ids=[1, 2, 3])


@every_attack
def test_a_past_deadline_still_gives_replayed_points_of_the_set(name: str) -> None:
    query = classification(RowWise(12, 8, 3), images(5, (12,)), eps=0.1)
    result = brief(name)(query, deadline=time.monotonic() - 1)
    assert not result.complete.any()
    assert (result.forwards == 1).all()
    assert (result.backwards == 0).all()
    assert_sound(result, query)


@every_attack
def test_nothing_that_is_not_finite_counts(name: str) -> None:
    for value in (torch.nan, torch.inf):
        result = brief(name)(raise_output(lambda x, value=value: x * value, unit_interval(3)))
        assert not result.violated.any()
        assert not result.finite.any()
        assert result.violation.isnan().all()


@every_attack
def test_a_network_that_returns_labels_is_refused(name: str) -> None:
    query = raise_output(walk_through, unit_interval(2)).with_network(lambda x: (x > 0.5).long())
    with pytest.raises(DtypeError, match=r"returned torch.int64.*[Aa]ttack the scores"):
        brief(name)(query)


@every_attack
def test_a_network_may_overwrite_its_input(name: str) -> None:
    query = raise_output(lambda x: x - 0.75, unit_interval(2))
    rude = brief(name)(query.with_network(lambda x: x.sub_(0.75)))
    assert torch.equal(rude.points, brief(name)(query).points)
    assert rude.violated.all()


@every_attack
def test_rows_that_are_not_finite_do_not_harm_the_others(name: str) -> None:
    network = RowWise(4, 8, 3)

    def sick(x: Tensor) -> Tensor:
        return torch.where(x[:, :1] > 2, torch.nan, 1.0) * network(x)

    x = images(6, (4,))
    healthy = brief(name)(classification(sick, x, eps=0.1, bounds=None))
    x[2] += 5
    mixed_query = classification(network, x, eps=0.1, bounds=None).with_network(sick)
    mixed = brief(name)(mixed_query)
    others = torch.arange(6) != 2
    assert mixed.finite.tolist() == others.tolist()
    assert not mixed.violated[2]
    assert torch.equal(mixed.points[others], healthy.points[others])
    assert mixed_query.inputs.contains(mixed.points).all()


@every_attack
def test_a_set_of_one_point(name: str) -> None:
    query = classification(RowWise(4, 8, 3), images(4, (4,)), eps=0.0)
    result = brief(name)(query)
    assert_sound(result, query)
    assert torch.equal(result.points, images(4, (4,)))

"""Losses: they bound one another as their theory says, and differentiate into the network's weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robustbench_local.data import load_dataset
from robustbench_local.models import load_model
from robustbench_local.training import LOSSES, Minibatch, Schedule
from robustbench_local.training.losses.neighbourhood import margin_cross_entropy

EPS = 0.03


def minibatch(epoch: float = 0.0) -> Minibatch:
    data = load_dataset("digits", split="train")
    return Minibatch(data.inputs[:16], data.labels[:16], data.ids[:16], epoch, seed=1)


def value(kind: str, network: nn.Module, eps: float = EPS, **settings: float) -> Tensor:
    fields = {
        name: Schedule.constant(number) for name, number in {"eps": eps, "kappa": 0.0, **settings}.items()
    }
    objective = LOSSES[kind](**fields).bind(network, minibatch().inputs[:1], 10)
    return objective(minibatch()).value


def number(loss: Tensor) -> float:
    return float(loss.detach())


@pytest.fixture(scope="module", params=["digits-mlp", "digits-cnn", "digits-resnet"])
def network(request: pytest.FixtureRequest) -> nn.Module:
    return load_model(request.param, "certified")


def test_margins_give_the_cross_entropy() -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])
    labels = torch.tensor([2, 0])
    rows = torch.stack([logits[0, [0, 1]] - 0.5, logits[1, [1, 2]] - 0.0])
    assert float(margin_cross_entropy(rows)) == pytest.approx(float(cross_entropy(logits, labels)), rel=1e-6)


def test_clean_is_below_attacked_is_below_verified(network: nn.Module) -> None:
    clean = number(cross_entropy(network(minibatch().inputs), minibatch().labels))
    attacked = number(value("pgd", network))
    linear = number(value("crown-ibp", network, beta=1.0))
    interval = number(value("ibp", network))
    assert clean < attacked < min(linear, interval)


def test_radius_zero_is_standard_training(network: nn.Module) -> None:
    clean = cross_entropy(network(minibatch().inputs), minibatch().labels)
    for kind, more in [("pgd", {}), ("ibp", {}), ("crown-ibp", {"beta": 1.0})]:
        assert torch.equal(value(kind, network, eps=0.0, **more), clean)


def test_weights_of_the_mixtures(network: nn.Module) -> None:
    clean = number(cross_entropy(network(minibatch().inputs), minibatch().labels))
    worst = number(value("ibp", network))
    assert number(value("ibp", network, kappa=0.25)) == pytest.approx(0.25 * clean + 0.75 * worst, rel=1e-5)
    assert number(value("ibp", network, kappa=1.0)) == pytest.approx(clean, rel=1e-6)
    assert number(value("crown-ibp", network, beta=0.0)) == pytest.approx(worst, rel=1e-6)


def test_schedules_follow_the_epoch(network: nn.Module) -> None:
    ramp = Schedule.through([[0, 0.0], [2, EPS]])
    objective = LOSSES["ibp"](eps=ramp, kappa=Schedule.constant(0.0)).bind(
        network, minibatch().inputs[:1], 10
    )
    values = [objective(minibatch(epoch)) for epoch in (0.0, 1.0, 2.0)]
    assert [term.shown["eps"] for term in values] == pytest.approx([0.0, EPS / 2, EPS])
    assert values[0].value < values[1].value < values[2].value


@pytest.mark.parametrize(("kind", "more"), [("pgd", {}), ("ibp", {}), ("crown-ibp", {"beta": 0.5})])
def test_gradients_reach_every_weight(network: nn.Module, kind: str, more: dict[str, float]) -> None:
    gradients = torch.autograd.grad(value(kind, network, **more), list(network.parameters()))
    assert all(bool(torch.isfinite(gradient).all()) and bool(gradient.any()) for gradient in gradients)


def test_the_verified_gradient_is_that_of_the_bound() -> None:
    """By hand: one layer y = W x over [a, b] has the worst margin max((w_1 - w_0) a, (w_1 - w_0) b)."""
    layer = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0], [3.0]]))
    fields = {"eps": Schedule.constant(0.25), "kappa": Schedule.constant(0.0)}
    batch = Minibatch(torch.tensor([[0.5]]), torch.tensor([0]), torch.tensor([0]), 0.0, 0)
    loss = LOSSES["ibp"](**fields).bind(layer, batch.inputs, 2)(batch).value
    assert float(loss.detach()) == pytest.approx(math.log1p(math.exp(2 * 0.75)), rel=1e-6)
    (gradient,) = torch.autograd.grad(loss, [layer.weight])
    slope = 0.75 / (1 + math.exp(-1.5))
    assert gradient.flatten().tolist() == pytest.approx([-slope, slope], rel=1e-5)

"""Initialisers: reproducible, off the global generator, with the spread their sources give."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from robustbench_local.errors import UnsupportedOpError
from robustbench_local.models import build_model, model_hash
from robustbench_local.training import INITIALISERS, load_recipe, recipe_names


def filled(name: str, network: nn.Module, seed: int) -> nn.Module:
    INITIALISERS[name](network, torch.Generator().manual_seed(seed))
    return network


@pytest.mark.parametrize("model", sorted({load_recipe(name).model for name in recipe_names()}))
@pytest.mark.parametrize("name", INITIALISERS)
def test_the_generator_alone_decides(name: str, model: str) -> None:
    before = torch.get_rng_state()
    first, same, other = (model_hash(filled(name, build_model(model), seed)) for seed in (1, 1, 2))
    assert first == same != other
    assert torch.equal(before, torch.get_rng_state())


def test_uniform_range() -> None:
    layer = nn.Linear(400, 100)
    filled("uniform", layer, 0)
    for values in (layer.weight, layer.bias):
        assert 0.9 / 20 < float(values.detach().abs().max()) <= 1 / 20


def test_ibp_spread_and_untouched_last_layer() -> None:
    network = nn.Sequential(nn.Conv2d(4, 64, 5), nn.Flatten(), nn.Linear(64, 500), nn.Linear(500, 3))
    filled("ibp", network, 0)
    conv, _, hidden, last = (dict(layer.named_parameters()) for layer in network)
    assert float(conv["weight"].detach().std()) == pytest.approx(math.sqrt(2 * math.pi) / 100, rel=0.05)
    assert float(hidden["weight"].detach().std()) == pytest.approx(math.sqrt(2 * math.pi) / 64, rel=0.05)
    assert float(last["weight"].detach().abs().max()) <= 1 / math.sqrt(500)


def test_normalisation_starts_as_the_identity() -> None:
    network = filled("uniform", nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), 0)
    assert torch.equal(network[1].weight, torch.ones(4)) and torch.equal(network[1].bias, torch.zeros(4))  # type: ignore[index]


def test_layers_without_a_rule() -> None:
    with pytest.raises(UnsupportedOpError, match=r"no initialisation for a layer of type LSTM .*layer '0'"):
        filled("uniform", nn.Sequential(nn.LSTM(2, 3)), 0)

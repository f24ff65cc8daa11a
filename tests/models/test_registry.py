"""Every registered model: builds, matches its card, exports; its shipped weights are what the index says."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace

import pytest
import torch
from torch import nn

from robustbench_local.attacks import fgsm, pgd
from robustbench_local.data import load_dataset
from robustbench_local.errors import DataError, UnknownNameError
from robustbench_local.models import (
    MODELS,
    SHIPPED,
    ModelCard,
    ModelEntry,
    build_model,
    load_model,
    model,
    model_hash,
    parameter_count,
    read_index,
    split_name,
)
from robustbench_local.specs import robustness
from robustbench_local.verifiers import CROWN, IBP, from_torch

WEIGHTS = [(name, weights) for name, entry in MODELS.items() for weights in entry.card.weights]
CLASSIFIERS = [
    (name, weights)
    for name, weights in WEIGHTS
    if (MODELS[name].card.input_shape, MODELS[name].card.outputs) == ((1, 8, 8), 10)
    and name != "masked-resized"  # stochastic: its answer at a point is not one number
]


def stochastic(network: nn.Module, x: torch.Tensor) -> bool:
    """Whether the network draws random numbers: then no two answers can be compared."""
    with torch.inference_mode():
        return not torch.equal(network(x), network(x))


def test_only_one_model_is_stochastic() -> None:
    found = {n for n, e in MODELS.items() if stochastic(build_model(n), torch.rand(9, *e.card.input_shape))}
    assert found == {"masked-resized"}


def test_the_milestone_models_are_there() -> None:
    assert {"digits-mlp", "digits-cnn", "digits-resnet"} <= set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_builds_as_its_card_says(name: str) -> None:
    card = MODELS[name].card
    network = build_model(name)
    assert card.name == name and not network.training
    assert parameter_count(network) == card.parameters
    assert network(torch.zeros(3, *card.input_shape)).shape == (3, card.outputs)


@pytest.mark.parametrize("name", MODELS)
def test_building_leaves_the_global_generator_alone(name: str) -> None:
    before = torch.get_rng_state()
    build_model(name)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", MODELS)
def test_exports_with_a_dynamic_batch(name: str) -> None:
    network = build_model(name)
    example = torch.rand(2, *MODELS[name].card.input_shape, generator=torch.Generator().manual_seed(0))
    exported = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("B")},))
    batch = torch.rand(5, *MODELS[name].card.input_shape, generator=torch.Generator().manual_seed(1))
    answer = exported.module()(batch)
    assert answer.shape == network(batch).shape
    assert stochastic(network, batch) or torch.allclose(answer, network(batch))


@pytest.mark.parametrize(("name", "weights"), WEIGHTS)
def test_shipped_weights(name: str, weights: str) -> None:
    record = read_index()[f"{name}:{weights}"]
    card = MODELS[name].card
    network = load_model(name, weights)
    assert model_hash(network) == model_hash(load_model(f"{name}:{weights}"))
    assert not network.training
    assert (SHIPPED / record.file).stat().st_size < 300_000
    assert card.recipe(weights) == f"{name}-{weights}"
    if "row" in record.recipe:
        return  # a row of the lectures: its gate is tested with the rows
    assert record.recipe["name"] == card.recipe(weights) and record.recipe["model"] == name
    test = load_dataset(card.dataset)
    with torch.inference_mode():
        correct = int((network(test.inputs).argmax(1) == test.labels).sum())
    # One image of slack: another machine's kernels may round a tie the other way. Random answers vary.
    slack = 1 + stochastic(network, test.inputs) * round(0.03 * len(test))
    assert correct >= round(record.metrics["clean"] * len(test)) - slack


def test_every_shipped_weight_set_is_on_a_card() -> None:
    assert set(read_index()) == {f"{name}:{weights}" for name, weights in WEIGHTS}
    files = {path.name for path in SHIPPED.glob("*.safetensors")}
    assert files == {record.file for record in read_index().values()}


def test_weight_sets_differ() -> None:
    hashes = {model_hash(load_model(name, weights)) for name, weights in WEIGHTS}
    assert len(hashes) == len(WEIGHTS)


@pytest.mark.parametrize(("name", "weights"), CLASSIFIERS)
def test_no_attack_gets_above_a_verifier(name: str, weights: str) -> None:
    data = load_dataset("digits", split="test").select(torch.arange(3))
    network = load_model(name, weights)
    query = robustness((1, 8, 8), 10).query(network, x0=data.inputs, c=data.labels, eps=0.05)
    reached = torch.stack([fgsm(query, seed=0).points, pgd(query, steps=3, seed=0).points])
    assert all(bool(query.inputs.contains(points).all()) for points in reached)
    lower = torch.stack([query.violation(points) for points in reached]).amax(0).double()
    graph = from_torch(network, data.inputs[:1])
    for verifier in (IBP(), CROWN()):
        upper = verifier.bound(graph, query).upper
        assert bool((lower <= upper + 1e-5 * (1 + upper.abs())).all()), verifier.name


def test_model_hash_sees_every_bit_and_the_names() -> None:
    layer = nn.Linear(2, 2)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.fill_(0.0)
        first = model_hash(layer)
        layer.bias[0] = -0.0
        assert model_hash(layer) != first
        layer.bias[0] = 0.0
    assert model_hash(layer) == first
    assert model_hash(nn.Sequential(layer)) != first
    assert model_hash(layer.double()) != first


def test_split_name() -> None:
    assert split_name("digits-cnn:certified") == ("digits-cnn", "certified")
    assert split_name("digits-cnn") == ("digits-cnn", None)


def test_unknown_names_have_a_cure() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown model 'digits-cn'.*Did you mean 'digits-cnn'"):
        load_model("digits-cn")
    with pytest.raises(UnknownNameError, match="unknown model 'digits-cn'"):
        build_model("digits-cn")
    with pytest.raises(UnknownNameError, match=r"unknown weight set of 'digits-cnn' 'certifed'"):
        load_model("digits-cnn:certifed")
    with pytest.raises(UnknownNameError, match=r"two weight sets, 'pgd' and 'nominal'"):
        load_model("digits-cnn:pgd", "nominal")


def test_the_card_requires_every_field() -> None:
    card = MODELS["digits-cnn"].card
    for field in fields(ModelCard):
        empty = type(getattr(card, field.name))()
        with pytest.raises(DataError, match=field.name):
            replace(card, **{field.name: empty})
    with pytest.raises(DataError, match="3 weight sets and 1 recipes"):
        replace(card, recipes=("one",))
    with pytest.raises(DataError, match="no weight set 'best'"):
        card.recipe("best")


def test_a_model_is_one_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    table: dict[str, ModelEntry] = dict(MODELS)
    monkeypatch.setattr("robustbench_local.models.registry._MODELS", table)

    @model(replace(MODELS["digits-mlp"].card, name="dummy"))
    def dummy() -> nn.Module:
        return nn.Flatten()

    assert table["dummy"].build is dummy


def test_listing_builds_no_network() -> None:
    code = (
        "from torch import nn\n"
        "def refuse(self, *args, **kwargs): raise SystemExit('a network was built')\n"
        "nn.Module.__init__ = refuse\n"
        "from robustbench_local.models import MODELS, read_index\n"
        "assert len(MODELS) >= 3 and [entry.card.summary for entry in MODELS.values()] and read_index()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)

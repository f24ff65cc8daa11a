"""The shipped Hypothesis strategies give valid, reproducible, shrinkable things."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

from robustbench_local.errors import UnknownNameError
from robustbench_local.random_networks import Layer
from robustbench_local.specs import Ball, Box, Intersection
from robustbench_local.strategies import (
    LAYERS,
    RandomNetwork,
    balls,
    boxes,
    input_sets,
    networks,
    queries,
    shapes,
    tensors,
)

QUICK = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
FEW = settings(QUICK, max_examples=10)


def batch(network: RandomNetwork, count: int = 3) -> torch.Tensor:
    return torch.rand(count, *network.input_shape, generator=torch.Generator().manual_seed(0))


@QUICK
@given(network=networks())
def test_every_network_runs_on_a_batch(network: RandomNetwork) -> None:
    y = network(batch(network))
    assert y.shape == (3, *network.output_shape)
    assert 2 <= network.output_shape[0] <= 4
    assert bool(y.isfinite().all())
    assert not network.training


@pytest.mark.parametrize("kind", LAYERS)
def test_every_layer_kind_runs_and_exports(kind: str) -> None:
    @settings(FEW, max_examples=4)
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        axes = sorted(LAYERS[kind].axes)
        network = data.draw(networks(inputs=shapes(axes=axes), depth=2, layers=[kind]))
        x = batch(network)
        exported = torch.export.export(network, (x,)).module()
        assert torch.allclose(exported(x), network(x))
        assert any(layer.kind == kind or layer.kind.startswith(kind) for layer in network.layers)

    check()


@QUICK
@given(network=networks())
def test_each_sample_is_computed_by_itself(network: RandomNetwork) -> None:
    x = batch(network)
    alone = torch.cat([network(one[None]) for one in x])
    assert torch.allclose(network(x), alone, rtol=1e-4, atol=1e-5)


@FEW
@given(network=networks(dtype=torch.float64))
def test_a_description_gives_the_same_weights(network: RandomNetwork) -> None:
    again = RandomNetwork(network.input_shape, network.layers, network.seed, torch.float64)
    for old, new in zip(network.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(old, new)


def test_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    layers = [Layer("conv2d", options=(("in_channels", 2), ("out_channels", 3), ("kernel_size", 3)))]
    assert RandomNetwork((2, 4, 4), layers, 3).output_shape == (3, 2, 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_networks_shrink_to_the_same_smallest_example() -> None:
    def has_relu(network: RandomNetwork) -> bool:
        return any(layer.kind == "relu" for layer in network.layers)

    found = [find(networks(), has_relu, settings=settings(QUICK, max_examples=500)) for _ in range(2)]
    assert repr(found[0]) == repr(found[1])
    assert [layer.kind for layer in found[0].layers] == ["relu", "linear"]
    assert found[0].input_shape == (1,)
    assert found[0].seed == 0


def test_an_unknown_layer_kind_is_named() -> None:
    with pytest.raises(UnknownNameError, match="conv2d"):
        find(networks(layers=["conv2"]), lambda n: True)


@QUICK
@given(data=st.data(), shape=shapes())
def test_sets_contain_their_centres(data: st.DataObject, shape: tuple[int, ...]) -> None:
    kinds = {
        Box: boxes(shape, batch=2),
        Ball: balls(shape, batch=2),
        (Box, Ball, Intersection): input_sets(shape, batch=2),
    }
    for kind, strategy in kinds.items():
        inputs = data.draw(strategy)
        assert isinstance(inputs, kind)
        assert (inputs.batch, inputs.shape) == (2, shape)
        assert bool(inputs.contains(inputs.centre()).all())


def test_every_kind_of_set_is_drawn() -> None:
    for kind in (Box, Ball, Intersection):
        assert isinstance(find(input_sets((2,)), lambda s, k=kind: isinstance(s, k)), kind)
    for p in (1, 2, float("inf")):
        assert find(balls((2,)), lambda b, p=p: b.p == p).p == p


@QUICK
@given(data=st.data(), network=networks(depth=2))
def test_queries_fit_their_network(data: st.DataObject, network: RandomNetwork) -> None:
    query = data.draw(queries(network))
    x = query.inputs.project(query.inputs.centre().to(torch.float32))
    violation = query.violation(x)
    assert violation.shape == (query.batch,)
    assert bool(violation.isfinite().all())
    assert torch.equal(query.violated(x), violation > 0) or bool((violation == 0).any())


@FEW
@given(x=tensors((3, 2), low=0.25, high=0.5))
def test_tensors_keep_their_range(x: torch.Tensor) -> None:
    assert bool(((x >= 0.25) & (x <= 0.5)).all())


def test_without_hypothesis_the_error_says_how_to_install_it() -> None:
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from robustbench_local.errors import MissingPackageError\n"
        "try:\n    import robustbench_local.strategies\n"
        "except MissingPackageError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install hypothesis" in done.stdout

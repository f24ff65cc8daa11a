"""A graph as a module: hashing, dtypes, copies, attacks' gradients, and bounds of a file's network."""

from __future__ import annotations

import copy

import torch
from torch import nn

from robustbench_local.models import model_hash
from robustbench_local.specs import robustness
from robustbench_local.verifiers import VERIFIERS, GraphNetwork, from_onnx, from_torch

from .models import floats
from .test_reading import small


def network() -> GraphNetwork:
    return GraphNetwork(from_onnx(small()))


def test_forward_is_the_graph_and_has_gradients() -> None:
    net = network()
    x = torch.tensor(floats(2, 5, 6)).requires_grad_()
    net(x).sum().backward()
    assert torch.equal(net(x), net.graph.run(x)) and x.grad is not None and bool(x.grad.any())


def test_weights_are_buffers_and_follow_conversions() -> None:
    net = network()
    assert [tuple(b.shape) for b in net.buffers()] == [(3, 6)] and not list(net.parameters())
    before = model_hash(net)
    assert before == model_hash(network())
    net.double()
    assert net.graph.dtype is torch.float64 and model_hash(net) != before
    x = torch.rand(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert net(x).dtype is torch.float64
    assert next(net.buffers()) is next(net.graph.constants())
    assert model_hash(net.float()) == before


def test_loading_a_state_changes_the_graph() -> None:
    net = network()
    net.load_state_dict({"constant0": torch.zeros(3, 6)})
    assert not bool(net(torch.ones(1, 6)).any())


def test_copies_have_their_own_weights() -> None:
    net = network()
    other = copy.deepcopy(net)
    next(other.buffers()).zero_()
    x = torch.ones(1, 6)
    assert not bool(other(x).any()) and bool(net(x).any())


def test_from_torch_returns_the_graph() -> None:
    net = network()
    assert from_torch(net, torch.zeros(1, 6)) is net.graph


def test_bounds_equal_those_of_the_same_torch_network() -> None:
    net = network()
    twin = nn.Sequential(nn.Linear(6, 3, bias=False), nn.ReLU())
    twin.load_state_dict({"0.weight": torch.tensor(floats(1, 6, 3)).T})
    values = {"x0": torch.tensor(floats(3, 4, 6)).abs(), "c": torch.tensor([0, 1, 2, 0]), "eps": 0.1}
    spec = robustness((6,), 3)
    for name in ("ibp", "crown"):
        ours = VERIFIERS[name].bound(net.graph, spec.query(net, **values))
        theirs = VERIFIERS[name].bound(from_torch(twin, torch.zeros(1, 6)), spec.query(twin, **values))
        assert torch.allclose(ours.upper, theirs.upper, atol=1e-6)

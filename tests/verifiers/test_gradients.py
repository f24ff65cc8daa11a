"""Bounds differentiate into every weight; they work with and without autograd's recording."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.specs import Ball, Box, InputSet
from robustbench_local.verifiers import CROWN, Budget, Graph

from .networks import ENGINES, Fn, query_of, traced, uniform

ENGINE = pytest.mark.parametrize("engine", ENGINES)


def _image(x: Tensor, a: nn.Module, n: nn.Module, b: nn.Module, v: Tensor, c: nn.Module) -> Tensor:
    h = torch.relu(n(a(x)))
    h = F.leaky_relu(h + b(h), 0.1)
    return c(torch.relu(F.avg_pool2d(h, 2).flatten(1) * v.exp()))


NETWORKS: dict[str, Callable[[], Fn]] = {
    "mlp": lambda: Fn(
        lambda x, a, b, c: c(F.leaky_relu(b(torch.relu(a(x.flatten(1)))), -0.3)),
        nn.Linear(16, 5),
        nn.Linear(5, 4),
        nn.Linear(4, 3),
    ).double(),
    "image": lambda: Fn(
        _image,
        nn.Conv2d(1, 2, 3, padding=1),
        nn.BatchNorm2d(2),
        nn.Conv2d(2, 2, 3, padding=1, bias=False),
        torch.zeros(8),
        nn.Linear(8, 3),
    ).double(),
    "max": lambda: Fn(
        lambda x, a, b: b(F.max_pool2d(a(x), 2).flatten(1)), nn.Conv2d(1, 2, 1), nn.Linear(8, 3)
    ).double(),
}
#: Tangent points of S-shaped functions are constants to autograd: only interval bounds have a full gradient.
SMOOTH: dict[str, Callable[[], Fn]] = {
    "smooth": lambda: Fn(
        lambda x, a, b, c: c(torch.sigmoid(b(torch.tanh(a(x.flatten(1)))))),
        nn.Linear(16, 5),
        nn.Linear(5, 4),
        nn.Linear(4, 3),
    ).double()
}
SETS: dict[str, Callable[[Tensor], InputSet]] = {
    "box": lambda x: Box(x - 0.1, x + 0.2),
    "l2": lambda x: Ball(x, 0.3, 2),
}


def problem(name: str, inputs: str = "box") -> tuple[Fn, Graph, Callable[[str], Tensor]]:
    network = {**NETWORKS, **SMOOTH}[name]()
    graph = traced(network, 1, 4, 4, dtype=torch.float64)
    query = query_of(network, SETS[inputs](uniform(1, (2, 1, 4, 4))), 3)
    return network, graph, lambda engine: ENGINES[engine].bound(graph, query).rows


CASES = [(name, inputs, engine) for name in NETWORKS for inputs in SETS for engine in ENGINES]


@pytest.mark.parametrize(
    ("name", "inputs", "engine"), [*CASES, ("smooth", "box", "ibp"), ("smooth", "l2", "ibp")]
)
def test_gradients_equal_finite_differences(name: str, inputs: str, engine: str) -> None:
    network, _, rows = problem(name, inputs)
    weights = uniform(4, (2, 4), 0.5, 1.5)
    (rows(engine) * weights).sum().backward()
    step = 1e-6
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        direction = uniform(5, tuple(parameter.shape))
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * step * direction
                ends.append(float((rows(engine) * weights).sum()))
                parameter -= sign * step * direction
        slope = (ends[0] - ends[1]) / (2 * step)
        assert float((parameter.grad * direction).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-6), key


@ENGINE
def test_smooth_networks_have_a_gradient_in_every_weight(engine: str) -> None:
    network, _, rows = problem("smooth")
    rows(engine).sum().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.isfinite().all()), key
        assert float(parameter.grad.abs().sum()) > 0, key


@ENGINE
def test_every_mode_of_autograd_gives_the_same_bounds(engine: str) -> None:
    _, _, rows = problem("image")
    recorded = rows(engine)
    assert recorded.requires_grad
    with torch.no_grad():
        quiet = rows(engine)
    with torch.inference_mode():
        fast = rows(engine)
    assert not quiet.requires_grad and fast.is_inference()
    torch.testing.assert_close(quiet, recorded.detach())
    torch.testing.assert_close(fast.clone(), quiet)
    again = rows(engine)  # nothing kept from the inference mode spoils later training
    again.sum().backward()


def test_gradients_pass_through_memory_chunks() -> None:
    found = []
    for memory in (None, 2000):
        network, graph, _ = problem("mlp")
        query = query_of(network, SETS["box"](uniform(1, (3, 1, 4, 4))), 3)
        CROWN().bound(graph, query, Budget(memory_bytes=memory)).rows.sum().backward()
        found.append([p.grad for p in network.parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_bounds_follow_the_weights_through_training() -> None:
    network, _, rows = problem("mlp")
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    before = float(rows("crown-ibp").clamp(min=-1).sum().detach())
    for _ in range(20):
        optimizer.zero_grad()
        rows("crown-ibp").clamp(min=-1).sum().backward()
        optimizer.step()
    assert float(rows("crown-ibp").clamp(min=-1).sum().detach()) < before - 0.1


def test_frozen_weights_get_no_gradient() -> None:
    network, _, rows = problem("mlp")
    network.part0.requires_grad_(False)
    rows("crown").sum().backward()
    assert network.part0.weight.grad is None and network.part1.weight.grad is not None

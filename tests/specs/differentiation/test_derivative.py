"""Derivatives of networks: torch's own everywhere but at kinks, where there is none; refusals."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from robustbench_local.specs.differentiation import derivative
from robustbench_local.verifiers.graph_network import GraphNetwork
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.errors import UnsupportedOpError
from robustbench_local.specs import jump
from robustbench_local.verifiers import from_torch

Network = Callable[[Tensor], Tensor]


class Attention(nn.Module):
    """One head over the rows of x."""

    def forward(self, x: Tensor) -> Tensor:
        scores = x @ x.transpose(1, 2) / 2.0
        return (scores.softmax(-1) @ x).mean(1)


class Residual(nn.Module):
    """Layers, sums, joins and products of branches."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = x + torch.relu(self.first(x))
        joined = torch.cat((h, 1 - h * torch.sigmoid(x)), 1)
        return self.second(joined) - 2 * x[:, :3]


class Plain(nn.Module):
    """A function as a network."""

    def __init__(self, function: Network) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


CONV = nn.Sequential(
    nn.Conv2d(2, 3, 3, padding=1),
    nn.BatchNorm2d(3),
    nn.ReLU(),
    nn.AvgPool2d(2),
    nn.Flatten(),
    nn.Linear(12, 3),
)
NETWORKS: dict[str, tuple[tuple[int, ...], Network]] = {
    "relu": ((4,), nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 3))),
    "smooth": ((4,), nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3), nn.Sigmoid())),
    "leaky": ((4,), nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.LeakyReLU(0.2), nn.Linear(6, 3))),
    "images": ((2, 4, 4), CONV),
    "residual": ((4,), Residual()),
    "attention": ((3, 2), Attention()),
    "softmax": ((4,), nn.Sequential(nn.Linear(4, 3), nn.LogSoftmax(1))),
    "curves": ((4,), lambda x: torch.stack((x.exp(), x.sin() * x.cos(), (2 + x * x).log(), x**3), 2)),
    "quotients": ((4,), lambda x: (1 / (2 + x * x) + x / 3).sum(1, keepdim=True) - torch.square(x)),
    "extremes": ((4,), lambda x: torch.maximum(x, x.flip(1)) - torch.minimum(x, 0.1 * x) + abs(x)),
    "powers": ((4,), lambda x: torch.pow(x, 2) + x**1),
    "spread": ((4,), lambda x: x[:, :1] + torch.ones(4, dtype=x.dtype) * x.unsqueeze(1).mean(1)),
    "pieces": ((4,), lambda x: sum(part * k for k, part in enumerate(x.chunk(2, 1), 1)) - x.split(2, 1)[0]),
    "affine": ((4,), lambda x: 0.1 - 3 * x.unflatten(1, (2, 2)).flatten(1)[:, 1:] + 1),
    "strided": ((2, 4, 4), lambda x: F.conv2d(x, torch.ones(1, 2, 2, 2, dtype=x.dtype), stride=2)),
    "constant": ((4,), lambda x: torch.ones(len(x), 2, dtype=x.dtype)),
    "shapes": ((2, 4, 4), lambda x: x.permute(0, 2, 3, 1).reshape(len(x), -1, 2).transpose(1, 2).flatten(1)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_derivative_is_that_of_torch(name: str) -> None:
    shape, network = NETWORKS[name]
    if isinstance(network, nn.Module):
        network = network.double().eval().requires_grad_(False)
    source = torch.Generator().manual_seed(3)
    x, v = (torch.randn(n, *shape, generator=source, dtype=torch.float64) for n in (5, 1))
    rows = torch.autograd.functional.jacobian(lambda x: network(x).sum(0), x)  # (*out, 5, *shape)
    want = (rows * v).flatten(rows.ndim - len(shape)).sum(-1).movedim(-1, 0)
    found = derivative(network, x, v[0])
    torch.testing.assert_close(found, want)
    assert found.shape == network(x).shape


@pytest.mark.parametrize(
    "name", ["relu", "smooth", "leaky", "softmax", "residual", "spread", "affine", "strided"]
)
def test_networks_made_of_operators_have_the_same_derivative(name: str) -> None:
    shape, network = NETWORKS[name]
    module = network if isinstance(network, nn.Module) else Plain(network)
    module = module.double().eval().requires_grad_(False)
    x = torch.randn(5, *shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    read = GraphNetwork(from_torch(module, x))
    direction = torch.ones(shape, dtype=torch.float64)
    torch.testing.assert_close(derivative(read, x, direction), derivative(module, x, direction))


def test_at_a_kink_there_is_no_derivative() -> None:
    x, one = torch.tensor([[-1.0], [0.0], [2.0]]), torch.ones(1)
    assert derivative(torch.relu, x, one).flatten().tolist()[::2] == [0, 1]
    assert derivative(torch.relu, x, one)[1].isnan()
    # x itself, but the formula has kinks at zero, where a sum of one-sided slopes would be 0 or 2
    line = derivative(lambda x: torch.relu(x) - torch.relu(-x), x, one)
    assert line.flatten().tolist()[::2] == [1, 1] and line[1].isnan()
    assert derivative(torch.abs, x, one).flatten().tolist()[::2] == [-1, 1]


def test_gradients_for_attacks_leave_values_alone() -> None:
    x = torch.linspace(-2, 2, 40, dtype=torch.float64).unsqueeze(1).requires_grad_()
    one = torch.ones(1, dtype=torch.float64)
    led = derivative(torch.relu, x, one)
    assert torch.equal(led.detach(), jump(x.detach()))
    (slope,) = torch.autograd.grad(led.sum(), x)
    assert bool((slope > 0).all())


def _in_place(x: Tensor) -> Tensor:
    x += 1
    return x


def _assigned(x: Tensor) -> Tensor:
    x[:, 0] = 0
    return x


REFUSED: dict[str, Network] = {
    "max_pool1d": lambda x: F.max_pool1d(x, 2),
    "gelu": F.gelu,
    "in place": nn.ReLU(inplace=True),
    "in place, or a comparison": _in_place,
    "assignment in place": _assigned,
    "comparison of values": lambda x: torch.where(x > 0, x, -x),
    "condition on values": lambda x: x if x.sum() else -x,
    "power": lambda x: x**0.5,
    "dropout in training": nn.Dropout(),
    "own statistics": nn.BatchNorm1d(4, track_running_stats=False),
    "detach": lambda x: x.detach(),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_has_no_rule_is_refused_by_name(what: str) -> None:
    with pytest.raises(UnsupportedOpError, match=f"no derivative is known of .*{what}"):
        derivative(REFUSED[what], torch.rand(2, 4), torch.ones(4))

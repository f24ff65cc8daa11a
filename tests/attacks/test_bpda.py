"""Networks with steps: the gradient that passes through them, and what attacks say of those that stop one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.attacks import SurrogateGradient, apgd, bpda, pgd, square
from robustbench_local.errors import GraphError, UnknownNameError
from robustbench_local.specs import robustness

from .toys import images, predicted

WIDTH, CLASSES, EPS = 16, 3, 0.2


class Numpy(nn.Module):
    """A step that torch cannot see into."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.round(x.detach().numpy() * 8) / 8).to(x)


class Stepped(nn.Module):
    """A linear classifier of a step function of its inputs, coordinate by coordinate, each one monotone."""

    def __init__(self, step: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        weight = torch.randn(CLASSES, WIDTH, generator=torch.Generator().manual_seed(5))
        self.step, self.weight = step, nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.step(x.flatten(1)) @ self.weight.T

    def worst(self, x: Tensor, c: Tensor) -> Tensor:
        """The largest margin (B,) of a wrong class in the ball, exactly: each coordinate is at an end."""
        low, high = self.step((x - EPS).clamp(min=0)), self.step((x + EPS).clamp(max=1))
        rows = self.weight.unsqueeze(0) - self.weight[c].unsqueeze(1)  # (B, K, n)
        margins = torch.maximum(rows * low.unsqueeze(1), rows * high.unsqueeze(1)).sum(2)
        return margins.scatter(1, c.unsqueeze(1), -torch.inf).amax(1)


def _shielded(x: Tensor) -> Tensor:
    with torch.no_grad():
        return 2 * x


STEPS: dict[str, Callable[[Tensor], Tensor]] = {
    "round": lambda x: (x * 8).round() / 8,
    "round in place": lambda x: (x * 8).round_() / 8,
    "floor": lambda x: (x * 8).floor(),
    "floor division": lambda x: x // 0.25,
    "sign": lambda x: (x - 0.5).sign(),
    "bytes": lambda x: (x * 255).to(torch.uint8).float() / 255,
    "integers": lambda x: (x * 255).int() // 32 * 32 / 255.0,
    "comparison": lambda x: (x > 0.5).float(),
    "comparison below": lambda x: 1 - (x <= 0.5).to(x.dtype),
    "product with a truth value": lambda x: (x > 0.5) * 1.0,
    "choice": lambda x: torch.where(x > 0.5, 1.0, 0.25),
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data * 3,
    "no_grad": _shielded,
}


@pytest.mark.parametrize("name", STEPS)
def test_values_are_the_networks_own_and_the_worst_case_is_found(name: str) -> None:
    network, x = Stepped(STEPS[name]), images(40, (WIDTH,))
    leaf = x.clone().requires_grad_()
    with torch.no_grad():
        assert torch.equal(SurrogateGradient(network)(leaf).detach(), network(x))
    assert torch.equal(SurrogateGradient(network)(leaf).detach(), network(x))
    c = predicted(network, x)
    query = robustness((WIDTH,), CLASSES).query(network, x0=x, c=c, eps=EPS)
    result = bpda(query, early_stop=False)
    worst = network.worst(x, c)
    assert (result.violation <= worst + 1e-4).all()
    broken, breakable = result.violated, worst > 1e-3
    assert breakable.any() and not breakable.all()
    assert (broken & breakable).sum() >= 0.9 * breakable.sum()  # a first-order walk, not a proof


def test_modules_that_leave_torch_and_choices_of_rows() -> None:
    table = torch.eye(4) * torch.tensor([1.0, 2.0, 3.0, 4.0])
    x = images(40, (WIDTH,))
    for step in (
        Numpy(),
        lambda x: F.one_hot(x.reshape(-1, 4, 4).argmax(-1), 4).float().flatten(1),
        lambda x: F.embedding(x.reshape(-1, 4, 4).argmax(dim=-1), table).flatten(1),
        lambda x: table[x.reshape(-1, 4, 4).argmax(-1)].flatten(1),
    ):
        network = Stepped(step)
        query = robustness((WIDTH,), CLASSES).query(network, x0=x, c=predicted(network, x), eps=EPS)
        with pytest.raises(GraphError, match=r"detach|argmax"):
            apgd(query)
        found, sought = bpda(query), square(query, steps=300)
        assert found.violated.sum() >= sought.violated.sum() > 0
        assert not found.blind.any()


def test_a_twin_takes_the_place_of_a_module() -> None:
    network = Stepped(Numpy())
    leaf = images(3, (WIDTH,)).requires_grad_()
    for twins, factor in (({"step": lambda x: 5 * x}, 5.0), ({"": lambda x: 7 * x @ network.weight.T}, 7.0)):
        y = SurrogateGradient(network, twins)(leaf)
        assert torch.equal(y.detach(), network(leaf.detach()))
        (gradient,) = torch.autograd.grad(y[:, 0].sum(), leaf)
        torch.testing.assert_close(gradient, factor * network.weight[0].expand(3, -1))
    with pytest.raises(UnknownNameError, match=r"'stepp'.*Did you mean 'step'"):
        SurrogateGradient(network, {"stepp": nn.Identity()})
    assert not network.step._forward_hooks


def test_smooth_networks_keep_their_gradient() -> None:
    network = nn.Sequential(nn.Linear(WIDTH, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, CLASSES)).eval()
    x = images(5, (WIDTH,)).requires_grad_()
    plain, surrogate = (
        torch.autograd.grad(f(x).square().sum(), x)[0] for f in (network, SurrogateGradient(network))
    )
    assert torch.equal(plain, surrogate)


def test_an_error_says_which_function_ends_the_gradient() -> None:
    x = images(4, (WIDTH,))
    for name, word in (("comparison", "gt"), ("detach", "detach"), ("bytes", "to"), ("no_grad", "no_grad")):
        network = Stepped(STEPS[name])
        query = robustness((WIDTH,), CLASSES).query(network, x0=x, c=predicted(network, x), eps=EPS)
        with pytest.raises(GraphError, match=rf": .*{word}.*\(test_bpda.py:\d+\) ends it.*'bpda'.*'square'"):
            pgd(query)
    network = Stepped(STEPS["floor division"])
    query = robustness((WIDTH,), CLASSES).query(network, x0=x, c=predicted(network, x), eps=EPS)
    with pytest.raises(GraphError, match=r"floor_divide is not implemented.*'bpda'"):
        pgd(query)


def test_walks_without_any_gradient_are_flagged() -> None:
    x = images(30, (WIDTH,))
    network = Stepped(STEPS["round"])
    query = robustness((WIDTH,), CLASSES).query(network, x0=x, c=predicted(network, x), eps=0.01)
    result = pgd(query, steps=5)
    asked = result.backwards > 0
    assert asked.any() and torch.equal(result.blind, asked)
    assert not bpda(query).blind.any()
    assert not square(query, steps=5).blind.any()

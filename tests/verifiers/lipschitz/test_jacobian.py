"""Bounds of Jacobians: around the derivatives at points, for every operator and for whole networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustbench_local.errors import ShapeError, UnsupportedOpError
from robustbench_local.specs import Ball, Box
from robustbench_local.verifiers import (
    Budget,
    Graph,
    Interval,
    find_rule,
    interval_bounds,
    jacobian_bounds,
)

from ..networks import Fn, box_points, fill, run_points, traced, uniform
from ..rules.cases import CASES

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
MODES = pytest.mark.parametrize("forward", [True, False], ids=["forward", "backward"])


def jacobians(run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Derivatives at points x (N, *shape) by autograd: (N, n_out, n_in)."""
    x = x.clone().requires_grad_()
    y = run(x).reshape(len(x), -1)
    if not y.requires_grad:  # truth values, places: constant wherever they do not jump
        return x.new_zeros(len(x), y.shape[1], x[0].numel())
    try:
        rows = [torch.autograd.grad(y[:, k].sum(), x, retain_graph=True)[0] for k in range(y.shape[1])]
    except RuntimeError as error:
        steps = ("derivative for aten::heaviside is not implemented", "through robustbench_local.jump")
        assert any(step in str(error) for step in steps)
        return x.new_zeros(len(x), y.shape[1], x[0].numel())
    return torch.stack(rows, 1).flatten(2)


def encloses(found: Interval, points: Tensor, run: Callable[[Tensor], Tensor]) -> None:
    """Points (N, B, *shape) of B boxes; NaN bounds claim nothing. 1e-7: torch's hardsigmoid errs by it."""
    J = jacobians(run, points.flatten(0, 1)).unflatten(0, points.shape[:2])
    slack = 1e-7 * (1 + J.abs())
    assert not bool((found.lower - slack > J).any()), "above a derivative"
    assert not bool((J > found.upper + slack).any()), "below a derivative"


def boxes_of(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """A tiny box, a middling and a wide one, one on each side of zero, one that touches zero."""
    centre = uniform(3, (6, *shape))
    radius = torch.tensor([1e-5, 0.2, 3.0, 0.4, 0.4, 0.5], dtype=torch.float64)
    radius = radius.reshape(6, *(1 for _ in shape)).expand_as(centre)
    centre[3], centre[4] = 0.5 + centre[3].abs(), -0.5 - centre[4].abs()
    lower, upper = centre - radius, centre + radius
    lower[5] = 0
    upper[5] = 1
    return lower, upper


@pytest.mark.parametrize("name", CASES)
def test_every_operator_encloses_its_derivatives(name: str) -> None:
    case = CASES[name]
    network = Fn(case.function, *(make() for make in case.parts), seed=len(name)).requires_grad_(False)
    graph = traced(network, *case.shape).to(torch.float64)
    lower, upper = boxes_of(case.shape)
    points = box_points(lower, upper, count=2)
    boxes = interval_bounds(graph, Box(lower, upper))
    for forward in (True, False):
        try:
            found = jacobian_bounds(graph, Box(lower, upper), boxes=boxes, forward=forward)
        except UnsupportedOpError as error:
            assert "derivative" in str(error)
            continue
        assert found.lower.shape == (6, graph.output.numel, graph.input.numel)
        encloses(found, points, graph.run)
        steepest = torch.maximum(found.lower.abs(), found.upper.abs())
        y = run_points(graph.run, points).reshape(*points.shape[:2], -1)
        moved, step = (points[1:] - points[:-1]).flatten(2), y[1:] - y[:-1]
        limit = (steepest @ moved.abs().unsqueeze(3)).squeeze(3)
        assert not bool((step.abs() > limit + 1e-7 * (1 + y[1:].abs())).any()), "a jump"
        if all(find_rule(node).affine for node in graph.nodes[1:]):
            torch.testing.assert_close(found.upper, found.lower)
            torch.testing.assert_close(found.lower[0], jacobians(graph.run, points[0])[0])


class Residual(nn.Module):
    """x + f(x) twice, an average, a line."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
        self.last = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + torch.relu(self.first(x))
        x = torch.relu(x + torch.tanh(self.second(x)))
        y: Tensor = self.last(x.mean((2, 3)))
        return y


NETWORKS: dict[str, tuple[tuple[int, ...], Callable[[], nn.Module]]] = {
    "relu": (
        (5,),
        lambda: nn.Sequential(
            nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 9), nn.ReLU(), nn.Linear(9, 3),
        ),
    ),
    "tanh": ((5,), lambda: nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 3), nn.Sigmoid())),
    "conv": (
        (2, 6, 6),
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.BatchNorm2d(3), nn.LeakyReLU(0.2),
            nn.MaxPool2d(2, 1), nn.Flatten(), nn.Linear(12, 3),
        ),
    ),
    "residual": ((2, 4, 4), Residual),
}  # fmt: skip


def network_of(name: str) -> tuple[Graph, tuple[int, ...]]:
    shape, make = NETWORKS[name]
    network = make().eval().requires_grad_(False)
    fill(network, 4)
    return traced(network, *shape).to(torch.float64), shape


@pytest.mark.parametrize("name", NETWORKS)
@MODES
def test_networks_enclose_their_jacobians(name: str, forward: bool) -> None:
    graph, shape = network_of(name)
    lower, upper = boxes_of(shape)
    points = box_points(lower, upper, count=10)
    found = jacobian_bounds(graph, Box(lower, upper), forward=forward)
    assert bool(found.lower.isfinite().all() and found.upper.isfinite().all())
    encloses(found, points, graph.run)
    C = uniform(9, (6, 2, 3))
    rows = jacobian_bounds(graph, Box(lower, upper), C=C, forward=forward)
    for b in range(6):
        one = Interval(rows.lower[b : b + 1], rows.upper[b : b + 1])
        encloses(one, points[:, b : b + 1], lambda x, b=b: graph.run(x) @ C[b].T)


@pytest.mark.parametrize("name", NETWORKS)
@MODES
def test_memory_and_batch_change_nothing(name: str, forward: bool) -> None:
    graph, shape = network_of(name)
    box = Box(*boxes_of(shape)).select(torch.tensor([1, 2, 5]))
    boxes = interval_bounds(graph, box)
    want = jacobian_bounds(graph, box, forward=forward, boxes=boxes)
    for memory in (1, 20_000):
        got = jacobian_bounds(graph, box, Budget(memory_bytes=memory), forward=forward, boxes=boxes)
        torch.testing.assert_close((got.lower, got.upper), (want.lower, want.upper))
    alone = jacobian_bounds(graph, box.select(torch.tensor([1])), forward=forward)
    whole = jacobian_bounds(graph, box, forward=forward)
    torch.testing.assert_close((alone.lower[0], alone.upper[0]), (whole.lower[1], whole.upper[1]))


def test_a_network_by_hand() -> None:
    """relu(x + y) - relu(x - y) on [0, 1] x [2, 3]: the first is active, the second is not."""
    graph = traced(Fn(lambda x: torch.relu(x[:, :1] + x[:, 1:]) - torch.relu(x[:, :1] - x[:, 1:])), 2)
    found = jacobian_bounds(graph, Box(torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 3.0]])))
    assert torch.equal(found.lower, torch.ones(1, 1, 2)) and torch.equal(found.upper, torch.ones(1, 1, 2))
    wide = jacobian_bounds(
        graph, Box(torch.zeros(1, 2), torch.ones(1, 2))
    )  # x - y has either sign, x + y >= 0
    assert torch.equal(wide.lower, torch.tensor([[[-1.0, 0.0]]]))
    assert torch.equal(wide.upper, torch.tensor([[[1.0, 2.0]]]))


def test_the_kink_of_relu_has_all_slopes() -> None:
    """Clarke's derivative at 0 is [0, 1], also where the box is a point."""
    graph = traced(Fn(torch.relu), 1)
    found = jacobian_bounds(graph, Box(torch.zeros(1, 1), torch.zeros(1, 1)))
    assert (float(found.lower), float(found.upper)) == (0.0, 1.0)


def bounds_of(network: Fn, lower: list[float], upper: list[float], *, forward: bool) -> tuple[Tensor, Tensor]:
    graph = traced(network.double(), len(lower), dtype=torch.float64)
    box = Box(torch.tensor([lower], dtype=torch.float64), torch.tensor([upper], dtype=torch.float64))
    found = jacobian_bounds(graph, box, forward=forward)
    return found.lower[0], found.upper[0]


@MODES
def test_sorting_by_hand(forward: bool) -> None:
    """x in [0, 1] and y in [0.5, 2] may change places, z in [3, 4] is the largest."""
    ends = [0.0, 0.5, 3.0], [1.0, 2.0, 4.0]
    low, high = bounds_of(Fn(lambda x: x.sort(1).values), *ends, forward=forward)
    assert torch.equal(low, torch.tensor([[0.0, 0, 0], [0, 0, 0], [0, 0, 1]]).double())
    assert torch.equal(high, torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]]).double())
    low, high = bounds_of(Fn(lambda x: x.topk(2, 1).values.sum(1, keepdim=True)), *ends, forward=False)
    assert torch.equal(low, torch.tensor([[0.0, 0, 1]]).double())
    assert torch.equal(high, torch.tensor([[1.0, 1, 1]]).double())
    low, high = bounds_of(Fn(lambda x: x.sort(1).values.sum(1, keepdim=True)), *ends, forward=False)
    assert torch.equal(low, torch.ones(1, 3).double()) and torch.equal(high, low)


@MODES
def test_choices_are_sharp_where_they_are_decided(forward: bool) -> None:
    """The mask x > 0 is true, then false, then open; open masks promise nothing."""
    network = Fn(lambda x: torch.where(x > 0, 2 * x, torch.lerp(x, -x, torch.sigmoid(x))))
    low, high = bounds_of(network, [0.5, -0.5, -0.5], [1.0, -0.4, 0.5], forward=forward)
    assert (float(low[0, 0]), float(high[0, 0])) == (2.0, 2.0)
    x = torch.linspace(-0.5, -0.4, 9).double()
    slope = 1 - 2 * x.sigmoid() - 2 * x * x.sigmoid() * (1 - x.sigmoid())
    assert float(low[1, 1]) <= float(slope.min()) <= float(slope.max()) <= float(high[1, 1])
    assert float(high[1, 1] - low[1, 1]) < 0.2
    assert not bool(low[2, 2].isfinite()) and not bool(high[2, 2].isfinite())


@MODES
def test_normalisation_keeps_its_slopes_small(forward: bool) -> None:
    """No coordinate of y = d r is beyond sqrt(n), so |dy / dx| <= r (1 + n) however small the variance."""
    norm = nn.LayerNorm(3, elementwise_affine=False, eps=1e-2)
    low, high = bounds_of(Fn(lambda x, m: m(x), norm), [-0.5] * 3, [0.5] * 3, forward=forward)
    steepest = 10 * (1 + 3)  # r <= 1 / sqrt(eps)
    assert bool((low >= -steepest).all() and (high <= steepest).all())
    points = box_points(torch.full((1, 3), -0.5).double(), torch.full((1, 3), 0.5).double(), count=40)
    encloses(Interval(low[None], high[None]), points, Fn(lambda x, m: m(x), norm).double())
    tight = bounds_of(Fn(lambda x, m: m(x), norm), [0.0, 0.5, -1.0], [0.0, 0.5, -1.0], forward=forward)
    torch.testing.assert_close(*tight)


def test_balls_and_constant_networks() -> None:
    graph, shape = network_of("tanh")
    centre = uniform(1, (2, *shape))
    ball = jacobian_bounds(graph, Ball(centre, 0.3, p=2.0))
    hull = jacobian_bounds(graph, Ball(centre, 0.3, p=2.0).box())
    assert bool((ball.lower >= hull.lower - 1e-12).all() and (ball.upper <= hull.upper + 1e-12).all())
    zero = traced(Fn(lambda x: x.mul(0) + 1), 3)
    assert not bool(jacobian_bounds(zero, Box(torch.zeros(1, 3), torch.ones(1, 3))).upper.any())


def test_an_overflow_is_never_a_finite_bound() -> None:
    graph = traced(Fn(lambda x: torch.relu(x * 1e30)), 2)
    found = jacobian_bounds(graph, Box(-torch.ones(1, 2) * 1e30, torch.ones(1, 2)))
    assert not bool(found.upper.diagonal(dim1=1, dim2=2).isfinite().any())


def test_errors_say_what_fits() -> None:
    graph, _ = network_of("relu")
    box = Box(torch.zeros(2, 5), torch.ones(2, 5))
    with pytest.raises(ShapeError, match="takes"):
        jacobian_bounds(graph, Box(torch.zeros(1, 4), torch.ones(1, 4)))
    for C in (torch.ones(2, 4), torch.ones(3, 1, 3), torch.ones(3)):
        with pytest.raises(ShapeError, match="C has shape"):
            jacobian_bounds(graph, box, C=C)

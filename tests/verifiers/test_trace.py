"""What `from_torch` makes of modules, and what it refuses: every message names the place and the cure."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from robustbench_local.verifiers.graph import Piece
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.errors import (
    DtypeError,
    GraphError,
    NonFiniteError,
    RobustBenchError,
    ShapeError,
    UnsupportedOpError,
)
from robustbench_local.verifiers import VERIFIERS, AutoLirpa, from_torch, output_bounds

from .networks import Fn, traced, uniform

aten = torch.ops.aten
Function = Callable[..., Tensor]


def refusal(function: Function, *shape: int, parts: tuple[nn.Module, ...] = ()) -> RobustBenchError:
    """The error that tracing the function, or else bounding it, raises."""
    with pytest.raises(RobustBenchError) as caught:
        graph = traced(Fn(function, *parts), *shape)
        x = torch.zeros(2, *shape)
        output_bounds(graph, x, x, VERIFIERS["crown"])
    return caught.value


@pytest.mark.parametrize(
    ("function", "node", "op"),
    [
        (lambda x: torch.lgamma(x), "lgamma", "aten.lgamma.default"),
        (lambda x: torch.nextafter(x, x + 1), "nextafter", "aten.nextafter.default"),
        (lambda x: x.zero_(), "zero_", "aten.zero.default"),
    ],
)
def test_an_operator_without_a_rule_is_named(function: Function, node: str, op: str) -> None:
    error = refusal(function, 3)
    assert isinstance(error, UnsupportedOpError)
    assert str(error).startswith(f"no bound rule for {op} (node {node}). Use other operators")
    assert "docs/operators.md" in str(error)


@pytest.mark.parametrize(
    ("function", "op", "index"),
    [
        (lambda x: x.max(dim=1, keepdim=True)[0], aten.max.dim, 0),
        (lambda x: x.topk(2, 1)[0], aten.topk.default, 0),
        (lambda x: x.sort(dim=1, descending=True)[0], aten.sort.default, 0),
        (lambda x: torch.aminmax(x, dim=1, keepdim=True)[1], aten.aminmax.default, 1),
        (lambda x: x.cummax(1)[0], aten.cummax.default, 0),
        (
            lambda x: F.max_pool1d(x[:, None], 2, return_indices=True)[0],
            aten.max_pool1d_with_indices.default,
            0,
        ),
    ],
)
def test_one_result_of_several_is_an_operator(function: Function, op: Function, index: int) -> None:
    network = Fn(function)
    graph = traced(network, 6)
    assert graph.output.op == Piece(op, index) and str(graph.output.op) == f"{op}[{index}]"
    x = uniform(1, (4, 6)).float()
    torch.testing.assert_close(graph.run(x), network(x))


def test_pieces_are_equal_by_value() -> None:
    assert Piece(aten.max.dim, 0) == Piece(aten.max.dim, 0) != Piece(aten.max.dim, 1)
    assert len({Piece(aten.max.dim, 0), Piece(aten.max.dim, 0)}) == 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: torch.special.erfcx(x), "aten.special_erfcx"),
        (lambda x: torch.addmm(x, torch.ones(2, 4), torch.ones(4, 4)), "batch"),
        (lambda x: F.avg_pool1d(x, 2), "needs (batch, channels, *space), one sample has shape (4,)"),
        (lambda x: F.adaptive_avg_pool1d(x, 2), "needs (batch, channels, *space)"),
        (lambda x: F.max_pool1d(x, 2), "needs (batch, channels, *space)"),
        (lambda x: F.batch_norm(x, None, None, training=True), "batch statistics"),
        (lambda x: F.linear(x, x.flatten()[:4][None]), "batch"),
        (lambda x: F.conv1d(x[:, None], x[:1, None]), ""),
    ],
)
def test_arguments_that_a_rule_cannot_take_are_refused(function: Function, words: str) -> None:
    assert words in str(refusal(function, 4))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.reshape(4, -1),
        lambda x: x.reshape(-1),
        lambda x: x.reshape(-1, 2),
        lambda x: x.mean(0, keepdim=True) + x,
        lambda x: x.softmax(0),
        lambda x: x.sum(),
        lambda x: x.transpose(0, 1),
        lambda x: x.T,
        lambda x: x @ x.T,
        lambda x: x.flip(0),
        lambda x: x.roll(1),
        lambda x: x.roll(1, 0),
        lambda x: x[:1],
        lambda x: x[1:],
        lambda x: torch.cat([x, x]),
        lambda x: x.chunk(2)[0],
        lambda x: x[0],
        lambda x: F.pad(x, (0, 0, 1, 0)),
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: x / x.shape[0],
        lambda x: x + torch.arange(x.shape[0])[:, None],
        lambda x: x + torch.ones(2, 4),
        lambda x: x - x.unsqueeze(0).mean(1),
        lambda x: x.cumsum(0),
    ],
)
def test_networks_that_mix_samples_are_refused(function: Function) -> None:
    error = refusal(function, 4)
    assert isinstance(error, (GraphError, UnsupportedOpError))
    assert error.cure


def test_messages_on_mixed_samples() -> None:
    assert str(refusal(lambda x: x.reshape(-1, 2), 4)) == (
        "the batch axis does not stay in front: result of shape ('2*s77', '2') "
        "(node reshape, aten.reshape.default). Keep axis 0 for samples and never mix samples in forward"
    )
    assert str(refusal(lambda x: x.flip(0), 4)) == (
        "aten.flip.default works along the batch axis (node flip). Never mix samples in forward"
    )
    assert str(refusal(lambda x: x / x.shape[0], 4)) == (
        "the traced graph of Fn computes something else than the module. Forward must not compute with the "
        "batch size, nor overwrite views of a tensor in place"
    )


def test_a_fixed_batch_size_is_refused() -> None:
    error = refusal(lambda x: x.view(2, 4) * 1, 4)
    assert str(error) == "the network fixes the batch size to 2. Let forward take any batch size"


class Two(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x + 1, x * 2


class TwoInputs(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


def test_two_outputs_or_inputs_are_refused() -> None:
    with pytest.raises(GraphError, match="1 inputs and 2 outputs") as caught:
        traced(Two(), 3)
    assert caught.value.cure == "wrap it in a module with one tensor in and one tensor out"
    with pytest.raises(GraphError, match=r"torch\.export cannot trace TwoInputs"):
        traced(TwoInputs(), 3)


def test_control_flow_on_data_is_refused() -> None:
    error = refusal(lambda x: x if bool(x.sum() > 0) else -x, 3)
    assert str(error).startswith("torch.export cannot trace Fn: ")
    assert str(error).endswith(
        "Remove data-dependent control flow from forward; it must take one batched tensor"
    )
    assert "\n" not in str(error)


def test_errors_of_forward_are_graph_errors() -> None:
    assert isinstance(refusal(lambda x, m: m(x), 3, parts=(nn.Linear(4, 2),)), GraphError)


def test_an_output_without_the_input_is_refused() -> None:
    assert "does not depend on its input" in str(refusal(lambda x: torch.ones(x.shape[0], 2), 3))


def test_examples_are_checked() -> None:
    network = nn.Linear(3, 2)
    with pytest.raises(DtypeError, match=r"torch\.int64.*Give a float32 or float64"):
        from_torch(network, torch.zeros(1, 3, dtype=torch.int64))
    for shape in ((), (3,), (0, 3)):
        with pytest.raises(ShapeError, match="axis 0 counts samples"):
            from_torch(network, torch.zeros(shape))
    with pytest.raises(GraphError):
        from_torch(network, torch.zeros(1, 4))
    with pytest.raises(GraphError):
        from_torch(network, torch.zeros(1, 3, dtype=torch.float64))


def _view(x: Tensor, m: nn.Module) -> Tensor:
    h = m(x)
    h.view(-1, 2, 2).relu_()
    return h + 0


def _dropout(x: Tensor, m: nn.Module) -> Tensor:
    h = m(x)
    F.dropout(h, 0.5, training=False).relu_()
    return h + 0


@pytest.mark.parametrize("function", [_view, _dropout])
def test_writing_through_another_name_is_refused(function: Function) -> None:
    error = refusal(function, 3, parts=(nn.Linear(3, 4),))
    assert "computes something else than the module" in str(error)


def test_the_module_is_left_as_it_was() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.9))
    network[1].eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    random = torch.get_rng_state()
    traced(network, 3)
    assert [m.training for m in network] == [True, False, True] and network.training
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_the_graph_follows_the_live_weights() -> None:
    network = Fn(lambda x, m, v: m(x) * v.exp(), nn.Linear(3, 2), torch.zeros(2))
    graph = traced(network, 3)
    x = uniform(1, (4, 3)).float()
    with torch.no_grad():
        network.part0.weight.mul_(2)
        network.part1.add_(1)
    torch.testing.assert_close(graph.run(x), network(x))
    frozen = graph.to(torch.float64)
    with torch.no_grad():
        network.part1.add_(1)
    torch.testing.assert_close(graph.run(x), network(x))
    assert not torch.allclose(frozen.run(x.double()).float(), network(x))


def test_tied_weights_and_dropout() -> None:
    layer = nn.Linear(3, 3)
    network = nn.Sequential(layer, nn.ReLU(), nn.Dropout(), nn.Identity(), layer)
    graph = traced(network.train(), 3)
    assert [node.op for node in graph.nodes[1:]] == [
        aten.linear.default, aten.relu.default, aten.linear.default]  # fmt: skip
    x = uniform(1, (4, 3)).float()
    torch.testing.assert_close(graph.run(x), network.eval()(x))


def test_casts_to_the_same_dtype_are_nothing() -> None:
    graph = traced(Fn(lambda x: (x.float() + 1).to(torch.float32)), 3)
    assert [node.op for node in graph.nodes[1:]] == [aten.add.Tensor]
    assert isinstance(refusal(lambda x: x.double() + 1, 3), RobustBenchError)


def test_the_identity_network() -> None:
    x = uniform(1, (4, 3)).float()
    graph = traced(nn.Identity(), 3)
    assert graph.output is graph.input
    for engine in VERIFIERS.values():
        if not isinstance(engine, AutoLirpa):
            lower, upper = output_bounds(graph, x - 0.5, x, engine)
            torch.testing.assert_close(lower, x - 0.5, check_dtype=False)
            torch.testing.assert_close(upper, x, check_dtype=False)


class Masked(nn.Module):
    mask: Tensor

    def __init__(self, entry: float) -> None:
        super().__init__()
        self.register_buffer("mask", torch.full((3, 3), entry).triu(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = x.unsqueeze(1) + self.mask
        return scores.softmax(2)


def test_buffers_may_hold_minus_infinity_to_mask_by() -> None:
    network, x = Masked(-torch.inf), uniform(1, (4, 3)).float()
    torch.testing.assert_close(traced(network, 3).run(x), network(x))
    for entry in (torch.inf, torch.nan):
        with pytest.raises(NonFiniteError, match="mask"):
            traced(Masked(entry), 3)
    with pytest.raises(NonFiniteError, match="node add"):
        traced(Fn(lambda x, m: m(x).clamp(max=0), Unmasked()), 3)


class Unmasked(Masked):
    def __init__(self) -> None:
        super().__init__(-torch.inf)

    def forward(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1) + self.mask


class Prototypes(nn.Module):
    """Minus half the squared distances to fixed points, but for what all classes share."""

    def __init__(self) -> None:
        super().__init__()
        points = torch.rand(7, 5, generator=torch.Generator().manual_seed(0))
        self.points = nn.Parameter(points)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.points.T - (self.points / 3).square().sum(1)


def test_constants_that_are_computed_are_computed_anew_in_another_dtype() -> None:
    """In float64 the graph is the float64 module: constants rounded to float32 on the way would differ."""
    network = Prototypes()
    x = torch.rand(11, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    exact = from_torch(network, x[:1].float()).to(torch.float64).run(x)
    with torch.no_grad():
        assert torch.equal(exact, copy.deepcopy(network).double()(x))


def test_a_network_that_makes_objects_of_its_own_is_refused() -> None:
    class Drawing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.rand(3, generator=torch.Generator().manual_seed(0))

    with pytest.raises(GraphError, match="makes an object of its own when it runs"):
        from_torch(Drawing(), torch.zeros(1, 3))

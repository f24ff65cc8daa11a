"""Every expansion computes what its operator does, for any batch; bounds of the result enclose samples."""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from robustbench_local.errors import GraphError, RobustBenchError, UnsupportedOpError
from robustbench_local.verifiers import CROWN, IBP, RULES, Graph, output_bounds

from ..networks import Fn, box_points, run_points, traced, uniform
from .cases import CASES

NAMES = pytest.mark.parametrize("name", CASES)


@cache
def network(name: str) -> nn.Module:
    _, function, parts = CASES[name]
    return Fn(function, *(copy.deepcopy(p) for p in parts))


@cache
def graph(name: str) -> Graph:
    return traced(network(name), *CASES[name][0])


@NAMES
def test_the_graph_computes_the_same(name: str) -> None:
    for batch in (1, 2, 5):
        x = uniform(batch, (batch, *CASES[name][0])).float()
        want = network(name)(x.clone())
        torch.testing.assert_close(graph(name).run(x), want.reshape(batch, *graph(name).output_shape))


@NAMES
def test_nothing_composite_is_left(name: str) -> None:
    for node in graph(name).nodes[1:]:
        assert node.op in RULES, f"{node.op} has no rule"
        assert node.shape == tuple(node.run(*(torch.zeros(2, *p.shape) for p in node.inputs)).shape[1:])


@NAMES
def test_bounds_enclose_samples(name: str) -> None:
    shape = CASES[name][0]
    centre, radius = uniform(3, (3, *shape)), torch.tensor([0.05, 1e-4, 0.0]).double()
    radius = radius.reshape(3, *(1 for _ in shape))
    lower, upper = (centre - radius).float(), (centre + radius).float()
    y = run_points(graph(name).run, box_points(lower, upper, count=10))
    slack = 1e-4 * (1 + y.abs().amax())
    for engine in (IBP(), CROWN()):
        low, high = output_bounds(graph(name), lower, upper, engine)
        assert bool((low - slack <= y).all() and (y <= high + slack).all()), engine.name
        assert bool(((high - low)[2] <= 10 * slack).all()), f"{engine.name} is exact at points"


def test_gradients_reach_all_weights() -> None:
    for name in (
        "lstm, time first",
        "gru",
        "encoder layer",
        "group norm",
        "bilinear",
        "weight norm",
    ):
        module, x = network(name), uniform(1, (2, *CASES[name][0])).float()
        low, high = output_bounds(graph(name), x - 0.01, x + 0.01, IBP())
        for parameter in module.parameters():
            (found,) = torch.autograd.grad((high - low).sum(), parameter, retain_graph=True)
            assert bool(torch.isfinite(found).all()), name


def test_what_cannot_be_expanded_is_refused() -> None:
    def refused(function: object, *shape: int) -> RobustBenchError:
        with pytest.raises(RobustBenchError) as caught:
            traced(Fn(function), *shape)  # type: ignore[arg-type]
        return caught.value

    assert isinstance(refused(lambda x: F.batch_norm(x, None, None, training=True), 3), UnsupportedOpError)
    mask = torch.ones(2, 5, 5).tril() * torch.tensor([[[1.0]], [[0.0]]]) + torch.eye(5)
    per_head = refused(lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=mask.bool()), 2, 5, 4)
    assert "differ between heads" in str(per_head)
    hidden = refused(lambda x: x.masked_fill(torch.ones(3).bool(), -torch.inf).softmax(1), 3)
    assert "is NaN" in str(hidden)
    assert isinstance(refused(lambda x: torch.einsum("bi,cj->bc", x, x), 3), (GraphError, UnsupportedOpError))
    diagonal = refused(lambda x: torch.einsum("bib->bi", x[:, :, : x.shape[0]]), 3, 4)
    assert isinstance(diagonal, (GraphError, UnsupportedOpError))
    three = refused(lambda x: torch.einsum("bi,ci,bj->bcj", x, x, x), 3)
    assert isinstance(three, (GraphError, UnsupportedOpError))
    for per_sample in (lambda x: x.prod(0), lambda x: x.cumprod(0), lambda x: x.prod()):
        assert isinstance(refused(per_sample, 3), (GraphError, UnsupportedOpError))
    assert isinstance(refused(lambda x: x.transpose(0, 1).flip(1).transpose(0, 1), 3), GraphError)

"""Rows on windows of an image against dense rows, and the adjoints of convolutions against autograd."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.backward import lower_bounds, neuron_rows
from robustbench_local.verifiers.windows import WindowRows
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.specs import Ball, Box
from robustbench_local.verifiers import CROWN, adjoint, from_torch, interval_bounds

from .networks import Fn, query_of, uniform, value

SOME = settings(max_examples=40)


@dataclass(frozen=True)
class Conv:
    """One convolution's numbers, from maps of `shape` to maps of `out`; its weights come from a seed."""

    shape: tuple[int, int, int]
    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    @property
    def weight(self) -> Tensor:
        return uniform(5, (self.channels, self.shape[0] // self.groups, *self.kernel))

    def run(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, None, self.stride, self.padding, self.dilation, self.groups)

    @property
    def out(self) -> tuple[int, int, int]:
        reach = [self.dilation[i] * (self.kernel[i] - 1) for i in range(2)]
        room = [self.shape[1 + i] + 2 * self.padding[i] - reach[i] - 1 for i in range(2)]
        assume(min(room) >= 0)
        return self.channels, room[0] // self.stride[0] + 1, room[1] // self.stride[1] + 1

    def adjoint(self, rows: Tensor) -> Tensor:
        """Dense rows (N, *out) -> (N, *shape) by autograd."""
        x = torch.zeros(rows.shape[0], *self.shape, dtype=rows.dtype, requires_grad=True)
        return torch.autograd.grad(self.run(x), x, rows)[0]


@st.composite
def convs(draw: Any, shape: tuple[int, int, int] | None = None) -> Conv:
    pairs = {n: st.tuples(st.integers(a, b), st.integers(a, b)) for n, a, b in
             (("kernel", 1, 3), ("stride", 1, 3), ("padding", 0, 2), ("dilation", 1, 2))}  # fmt: skip
    size = st.integers(3, 9)
    start = shape or (draw(st.sampled_from([1, 2, 4, 6])), draw(size), draw(size))
    groups = draw(st.sampled_from([g for g in (1, 2) if start[0] % g == 0]))
    numbers = {name: draw(pair) for name, pair in pairs.items()}
    return Conv(start, groups * draw(st.integers(1, 3)), groups=groups, **numbers)


def pull(rows: WindowRows, conv: Conv) -> WindowRows:
    weight, shape = conv.weight, conv.shape
    return rows.cleaned().pulled(weight, conv.stride, conv.padding, conv.dilation, conv.groups, shape)


def start_rows(shape: tuple[int, int, int]) -> WindowRows:
    count = shape[0] * shape[1] * shape[2]
    neurons = (uniform(1, (min(count, 12),), 0, 1) * count).long()
    return WindowRows.of_neurons(neurons, shape, torch.float64)


@SOME
@given(data=st.data(), first=convs())
def test_rows_pulled_through_two_convolutions_equal_dense_rows(data: st.DataObject, first: Conv) -> None:
    last = data.draw(convs(first.out))
    rows = start_rows(last.out)
    dense = rows.dense()[0]
    assert torch.equal(dense.flatten(1).sum(1), torch.ones(len(dense), dtype=torch.float64))
    for conv in (last, first):
        rows, dense = pull(rows, conv), conv.adjoint(dense)
        torch.testing.assert_close(rows.dense()[0], dense)
        torch.testing.assert_close(rows.cleaned().dense()[0], dense)
        v = uniform(9, (3, *conv.shape))
        torch.testing.assert_close(rows.contract(v), torch.einsum("kchw,bchw->bk", dense, v))
        torch.testing.assert_close(rows.contract(v[:1]), torch.einsum("kchw,bchw->bk", dense, v[:1]))


@SOME
@given(conv=convs())
def test_a_view_shows_the_map_under_each_window(conv: Conv) -> None:
    rows = pull(start_rows(conv.out), conv)
    v = uniform(3, (2, *conv.shape))
    seen = replace(rows, a=rows.view(v), position=rows.position.expand(2, -1, -1)).dense()
    covered = replace(rows, a=torch.ones_like(rows.a)).dense()
    torch.testing.assert_close(seen, covered * v.unsqueeze(1))


@SOME
@given(data=st.data(), shape=st.tuples(st.integers(1, 2), st.integers(4, 8), st.integers(4, 8)))
def test_sums_of_rows_with_other_windows(data: st.DataObject, shape: tuple[int, int, int]) -> None:
    out, stride = 3, data.draw(st.sampled_from([(1, 1), (2, 1), (2, 2)]))
    paths = []
    for kernel, padding in ((3, 1), (1, 0), (5, 2)):  # same output size for every stride
        paths.append(Conv(shape, out, (kernel, kernel), stride, (padding, padding), (1, 1), 1))
    one, other = data.draw(st.permutations(paths))[:2]
    assert one.out == other.out
    rows = start_rows(one.out)
    total = pull(rows, one).plus(pull(rows, other))
    assert total is not None
    dense = rows.dense()[0]
    torch.testing.assert_close(total.dense()[0], one.adjoint(dense) + other.adjoint(dense))


def test_windows_that_move_differently_are_not_added() -> None:
    rows = WindowRows.of_neurons(torch.tensor([0, 3]), (1, 4, 4), torch.float32)
    assert rows.plus(replace(rows, stride=(2, 1))) is None
    assert rows.plus(replace(rows, shape=(1, 4, 5))) is None


@pytest.mark.parametrize("form", ["_dense", "_sub_pixel", "_transposed"])
@settings(max_examples=30)
@given(conv=convs())
def test_every_form_of_the_adjoint_equals_autograd(form: str, conv: Conv) -> None:
    if form == "_sub_pixel":
        conv = replace(conv, dilation=(1, 1), groups=1)
    numbers = (conv.shape[1:], conv.stride, conv.padding, conv.dilation, conv.groups)
    geometry, rows = adjoint.Geometry(*numbers), uniform(2, (5, *conv.out))
    torch.testing.assert_close(getattr(adjoint, form)(rows, conv.weight, geometry), conv.adjoint(rows))
    torch.testing.assert_close(adjoint.pull_conv2d(rows, conv.weight, geometry), conv.adjoint(rows))
    many = uniform(2, (2 * rows[0].numel() + 1, *conv.out))
    torch.testing.assert_close(adjoint.pull_conv2d(many, conv.weight, geometry), conv.adjoint(many))


def _skip(x: Tensor, a: nn.Module, b: nn.Module, c: nn.Module, d: nn.Module) -> Tensor:
    h = torch.tanh(a(x))
    return d(torch.relu(h + c(b(h))).flatten(1))


BLOCKS: dict[str, Fn] = {
    "no bias": Fn(
        lambda x, a, b, c: c(torch.relu(b(a(x))).flatten(1)),
        nn.Conv2d(1, 2, 3, padding=1, bias=False),
        nn.Conv2d(2, 2, 3, padding=1, bias=False),
        nn.Linear(2 * 144, 3),
    ),
    "residual": Fn(
        _skip,
        nn.Conv2d(1, 2, 3, stride=2, padding=2),
        nn.BatchNorm2d(2),
        nn.Conv2d(2, 2, 3, padding=1, bias=False),
        nn.Linear(2 * 49, 3),
    ),
    "leaky": Fn(
        lambda x, a, b, c: c(F.leaky_relu(b(F.leaky_relu(a(x), 1.5)), -0.5).flatten(1)),
        nn.Conv2d(1, 2, (3, 2), stride=(1, 2), padding=(2, 1)),
        nn.Conv2d(2, 3, 3, padding=1, groups=1),
        nn.Linear(3 * 14 * 7, 3),
    ),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_hidden_neurons_of_image_networks_have_the_bounds_of_dense_rows(name: str) -> None:
    network = BLOCKS[name].double()
    x = uniform(1, (2, 1, 12, 12))
    graph = from_torch(network, x)
    for inputs in (Box(x - 0.1, x + 0.2), Ball(x, 0.5, 2), Ball(x, 1.0, 1)):
        with torch.no_grad():
            boxes = interval_bounds(graph, inputs)
            for node in graph.nodes[1:]:
                if len(node.shape) == 3:
                    neurons = torch.arange(0, node.numel, 5)
                    rows = neuron_rows(neurons, node, torch.float64)
                    assert isinstance(rows, WindowRows)
                    small, dense = (
                        lower_bounds(graph, {node: r}, inputs, boxes) for r in (rows, rows.dense())
                    )
                    torch.testing.assert_close(small, dense)
            query = query_of(network, inputs, 3)
            whole, parts = CROWN().bound(graph, query), CROWN().bound(graph, query.select(torch.tensor([1])))
            torch.testing.assert_close(value(whole)[1:], value(parts))

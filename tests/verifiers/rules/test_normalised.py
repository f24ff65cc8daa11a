"""The last step of normalisation, interpolation: exact ranges, and planes valid for any free parameters."""

from __future__ import annotations

import pytest
import torch
from robustbench_local.verifiers.rules.normalised import normalised
from torch import Tensor, nn

from robustbench_local.verifiers import RULES, Graph, Interval, Node

from ..networks import Fn, traced, uniform

aten = torch.ops.aten


def the_node(graph: Graph, op: object) -> Node:
    return next(node for node in graph.nodes if node.op == op)


def corners(box: Interval, count: int) -> Tensor:
    """Points of boxes (B, n), ends among them: (count, B, n)."""
    share = uniform(5, (count, *box.lower.shape), -0.5, 1.5).clamp(0, 1)
    return box.lower + share * (box.upper - box.lower)


def boxes(*shape: int) -> Interval:
    """Narrow and wide boxes, around zero, on one side, and a point."""
    centre = uniform(1, shape) * torch.tensor([0.1, 1, 1, 30, 1]).double().reshape(-1, 1)
    radius = torch.tensor([0.2, 0.01, 1, 40, 0]).double().reshape(-1, 1) * uniform(2, shape, 0.2, 1)
    return Interval(centre - radius, centre + radius)


def valid(node: Node, rows: Tensor, table: dict[Node, Interval], values: list[Tensor], y: Tensor) -> None:
    """<a, y> is above the pulled planes for the default, the first and random free parameters."""
    rule = RULES[node.op]  # type: ignore[index]  # the operator's rule
    start = rule.start(node, table)
    assert start is not None and bool(((start >= 0) & (start <= 1)).all())
    random = uniform(7, (start.shape[0], rows.shape[1], *start.shape[1:]), 0, 1)
    for free in (None, start.unsqueeze(1), random, random.round()):
        pulled = rule.backward(node, rows, table, free)
        assert pulled.offset is not None
        low = pulled.offset
        for coefficients, value in zip(pulled.coefficients, values, strict=True):
            low = low + (coefficients * value.unsqueeze(2)).sum(-1)
        exact = (rows * y.unsqueeze(2)).sum(-1)
        scale = 1e-12 * (1 + exact.abs().amax(0) + rows.abs().sum())
        assert bool((low <= exact + scale).all())


@pytest.mark.parametrize("n", [1, 2, 5])
def test_planes_of_normalisation(n: int) -> None:
    graph = traced(nn.RMSNorm(n, eps=1e-3).double(), n, dtype=torch.float64)
    node = the_node(graph, normalised)
    box = boxes(5, n)
    d = corners(box, 400)
    rate = torch.rsqrt(d.square().mean(-1, keepdim=True) + 1e-3)
    y = d * rate
    table = {node.inputs[0]: box, node.inputs[1]: Interval(rate.amin(0), rate.amax(0))}
    found = RULES[normalised].interval(node, *(table[p] for p in node.inputs))
    assert bool((found.lower <= y + 1e-12).all() and (y <= found.upper + 1e-12).all())
    valid(
        node, torch.cat((torch.eye(n), -torch.eye(n), uniform(3, (3, n))))[None].double(), table, [d, rate], y
    )


def test_ranges_of_normalisation_by_hand() -> None:
    """d_1 in [1, 2], d_2 in [-1, 3], eps = 1: y_1 = d_1 / sqrt((d_1^2 + S) / 2 + 1) with S in [0, 9]."""
    graph = traced(nn.RMSNorm(2, eps=1.0).double(), 2, dtype=torch.float64)
    node = the_node(graph, normalised)
    box = Interval(torch.tensor([[1.0, -1.0]]).double(), torch.tensor([[2.0, 3.0]]).double())
    wide = Interval(torch.zeros(1, 1).double(), torch.ones(1, 1).double())
    found = RULES[normalised].interval(node, box, wide)
    want = torch.tensor([[1 / 6**0.5, -1 / 2**0.5], [2 / 3**0.5, 3 / 6**0.5]]).double()
    torch.testing.assert_close(torch.cat((found.lower, found.upper)), want)


def test_a_large_deviation_is_bounded_by_the_number_of_coordinates() -> None:
    """Of n coordinates that sum to zero none exceeds sqrt(n - 1), however small the variance may be."""
    graph = traced(nn.LayerNorm(5, elementwise_affine=False).double(), 5, dtype=torch.float64)
    node = the_node(graph, normalised)
    box = Interval(torch.full((1, 5), -1e3).double(), torch.full((1, 5), 1e3).double())
    rate = Interval(torch.full((1, 1), 1e-4).double(), torch.full((1, 1), 1e3).double())
    found = RULES[normalised].interval(node, box, rate)
    assert bool((found.upper <= 2).all() and (found.lower >= -2).all())


def test_planes_of_interpolation() -> None:
    function = lambda x: torch.lerp(x[:, :3], x[:, 3:6], x[:, 6:])  # noqa: E731
    graph = traced(Fn(function), 9, dtype=torch.float64)
    node = the_node(graph, aten.lerp.Tensor)
    box = boxes(5, 9)
    for squeeze in (False, True):  # weights of any size, and within [0, 1]
        if squeeze:
            box = Interval(torch.sigmoid(box.lower), torch.sigmoid(box.upper))
        values = list(corners(box, 400).split(3, -1))
        table = {
            p: Interval(box.lower[:, 3 * i : 3 * i + 3], box.upper[:, 3 * i : 3 * i + 3])
            for i, p in enumerate(node.inputs)
        }
        y = torch.lerp(*values)
        found = RULES[aten.lerp.Tensor].interval(node, *(table[p] for p in node.inputs))
        assert bool((found.lower <= y + 1e-9).all() and (y <= found.upper + 1e-9).all())
        rows = torch.cat((torch.eye(3), -torch.eye(3), uniform(3, (3, 3))))[None].double()
        valid(node, rows, table, values, y)

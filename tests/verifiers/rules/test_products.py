"""Products, quotients, matrix products, softmax: enclosure for any free parameters; products: tightness."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from robustbench_local.verifiers.mccormick import balanced_shares, matrix_interval, product_planes
from robustbench_local.verifiers.rules.gathered import ReductionRule
from robustbench_local.verifiers.rules.matmul import MatrixPair
from robustbench_local.verifiers.rules.product import Product, SelfProduct
from robustbench_local.verifiers.rules.quotient import Quotient, reciprocal_lines
from robustbench_local.verifiers.rules.softmax import Softmax
from torch import Tensor, nn

from robustbench_local.specs import Box
from robustbench_local.verifiers import (
    CROWN,
    IBP,
    RULES,
    Graph,
    Interval,
    Node,
    Verifier,
    find_rule,
    find_verifier,
    interval_bounds,
    output_bounds,
)

from ..networks import Fn, box_points, run_points, traced, uniform
from .cases import CASES
from .test_every_rule import graphs

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
BATCH = 28


def bilinear_node(name: str) -> Node | None:
    """The case's node where its rule is not affine."""
    nodes = [n for n in graphs(name)[0].nodes[1:] if n.op == CASES[name].op]
    return next((n for n in nodes if not find_rule(n).affine), None)


OURS = (Product, SelfProduct, Quotient, MatrixPair, Softmax, ReductionRule)
NAMES = [n for n, c in CASES.items() if isinstance(RULES.get(c.op), OURS) and bilinear_node(n) is not None]
CASE_NAMES = pytest.mark.parametrize("name", NAMES)


def input_boxes(node: Node, dtype: torch.dtype, reach: float) -> dict[Node, Interval]:
    """Boxes of all widths up to `reach` around centres up to `reach`, every seventh a point."""
    found: dict[Node, Interval] = {}
    for i, parent in enumerate(dict.fromkeys(node.inputs)):
        ones = (1,) * len(parent.shape)
        centre = uniform(10 * i + 1, (BATCH, *parent.shape), -reach, reach)
        radius = 10 ** uniform(10 * i + 2, (BATCH, *ones), -8, math.log10(reach))
        radius = radius * uniform(10 * i + 3, centre.shape, 0, 1) * (uniform(10 * i + 4, centre.shape) > -0.6)
        radius[::7] = 0
        lower, upper = centre - radius, centre + radius
        if isinstance(find_rule(node), Quotient) and parent is node.inputs[-1]:  # a divisor of known sign
            near, far = torch.minimum(lower.abs(), upper.abs()), torch.maximum(lower.abs(), upper.abs())
            positive = uniform(10 * i + 5, (BATCH, *ones)) > 0
            lower, upper = near + 0.1, far + 0.1
            lower, upper = torch.where(positive, lower, -upper), torch.where(positive, upper, -lower)
        found[parent] = Interval(lower.to(dtype), torch.maximum(lower.to(dtype), upper.to(dtype)))
    return found


def rows_of(node: Node, dtype: torch.dtype) -> Tensor:
    """Rows (BATCH, 8, *shape): random ones, unit rows and their negatives, a constant one."""
    size = max(1, node.numel)
    unit = torch.eye(size, dtype=dtype)[: min(size, 2)].expand(BATCH, -1, -1)
    noise = uniform(7, (BATCH, 3, size)).to(dtype)
    return torch.cat((noise, unit, -unit, torch.ones_like(noise[:, :1])), 1).reshape(BATCH, -1, *node.shape)


def contracted(a: Tensor, v: Tensor) -> Tensor:
    """<a_k, v> for points v (N, B, *shape): (N, B, K)."""
    a, v = a.reshape(*a.shape[:2], -1), v.reshape(*v.shape[:2], -1)
    return (a.unsqueeze(0) * v.unsqueeze(2)).sum(3)


def choices(start: Tensor | None, rows: int) -> list[Tensor | None]:
    """Values of the free parameters: the rule's own, the first ones, all 0, all 1, random, one per row."""
    if start is None:
        return [None]
    first = start.unsqueeze(1)
    noise = uniform(8, (first.shape[0], rows, *first.shape[2:]), 0, 1).to(first)
    return [None, first, torch.zeros_like(first), torch.ones_like(first), noise[:, :1], noise, noise.round()]


@DTYPES
@pytest.mark.parametrize("reach", [3.0, 100.0])
@CASE_NAMES
def test_any_parameters_give_bounds(name: str, reach: float, dtype: torch.dtype) -> None:
    node = bilinear_node(name)
    assert node is not None
    rule, boxes, a = find_rule(node), input_boxes(node, dtype, reach), rows_of(node, dtype)
    points = {p: box_points(b.lower, b.upper, 40, seed=i) for i, (p, b) in enumerate(boxes.items())}
    y = torch.stack([node.run(*(points[p][i] for p in node.inputs)) for i in range(83)])
    want, eps = contracted(a, y), torch.finfo(dtype).eps
    size = contracted(a.abs(), y.abs())
    means = []
    for free in choices(rule.start(node, boxes), a.shape[1]):
        pulled = rule.backward(node, a, boxes, free)
        assert pulled.offset is not None
        got, far = pulled.offset.expand(want.shape), size + pulled.offset.abs()
        for parent, rows in zip(node.inputs, pulled.coefficients, strict=True):
            got = got + contracted(rows, points[parent])
            far = far + contracted(rows.abs() + a.abs().mean(), points[parent].abs())
        slack = 20 * eps * (1 + far.amax(0))
        assert bool((got <= want + slack).all())
        assert bool(((want - got).abs() <= slack)[:, ::7].all()), "exact at points"
        means.append(float((want - got).mean()))
    if len(means) > 1:
        assert means[1] == pytest.approx(means[0], rel=1e-4), "the first parameters are the rule's own choice"


@CASE_NAMES
def test_bounds_differentiate_in_the_parameters(name: str) -> None:
    node = bilinear_node(name)
    assert node is not None
    rule = find_rule(node)
    boxes, a = input_boxes(node, torch.float64, 3.0), rows_of(node, torch.float64)
    start = rule.start(node, boxes)
    if start is None:
        return
    assert bool(((start >= 0) & (start <= 1)).all())
    for value in (start, torch.zeros_like(start), torch.ones_like(start)):
        free = value.unsqueeze(1).requires_grad_()
        pulled = rule.backward(node, a, boxes, free)
        assert pulled.offset is not None
        middles = [boxes[p].mid_radius()[0].unsqueeze(0) for p in node.inputs]
        total = pulled.offset.sum() + sum(
            contracted(c, m).sum() for c, m in zip(pulled.coefficients, middles, strict=True)
        )
        (gradient,) = torch.autograd.grad(total, free)
        assert bool(torch.isfinite(gradient).all())
        assert bool((gradient != 0).any()) or "infinity" in name  # there few coordinates leave a choice


@CASE_NAMES
def test_derivatives_are_enclosed(name: str) -> None:
    node = bilinear_node(name)
    assert node is not None
    rule, boxes = find_rule(node), input_boxes(node, torch.float64, 2.0)
    points = {p: box_points(b.lower, b.upper, 10, seed=i) for i, (p, b) in enumerate(boxes.items())}
    directions = tuple(uniform(20 + i, (BATCH, 1, *p.shape)) for i, p in enumerate(node.inputs))
    if len(node.inputs) == 2 and node.inputs[0] is node.inputs[1]:
        directions = directions[:1] * 2
    row = uniform(30, (BATCH, 1, *node.shape))
    forward = rule.tangent(node, boxes, tuple(Interval(d, d) for d in directions))
    backward = rule.cotangent(node, boxes, Interval(row, row))
    for i in range(23):
        x = tuple(points[p][i] for p in node.inputs)
        _, along = torch.autograd.functional.jvp(node.run, x, tuple(d.squeeze(1) for d in directions))
        assert bool((forward.lower.squeeze(1) <= along + 1e-9).all())
        assert bool((along <= forward.upper.squeeze(1) + 1e-9).all())
        _, back = torch.autograd.functional.vjp(node.run, x, row.squeeze(1))
        for bound, gradient in zip(backward, back, strict=True):
            assert bool((bound.lower.squeeze(1) <= gradient + 1e-9).all())
            assert bool((gradient <= bound.upper.squeeze(1) + 1e-9).all())


def pairs(count: int = 300) -> tuple[Interval, Interval]:
    centre, radius = uniform(1, (2, count), -2, 2), uniform(2, (2, count), 0, 3)
    return tuple(Interval(c - r, c + r) for c, r in zip(centre, radius, strict=True))  # type: ignore[return-value]


def test_planes_of_products_are_the_convex_hull() -> None:
    """The two planes below, and above, meet the corners of the hull, which corners alone span."""
    x, y = pairs()
    zero, one = torch.zeros_like(x.lower), torch.ones_like(x.lower)
    weights = uniform(5, (50, 4, x.lower.shape[0]), 0, 1)
    weights = weights / weights.sum(1, keepdim=True)
    corners = [(a, b) for a in (x.lower, x.upper) for b in (y.lower, y.upper)]
    values = torch.stack([a * b for a, b in corners])
    planes = [product_planes(x, y, share, share) for share in (zero, one)]
    for a, b in corners:
        low = torch.stack([p.lower[0] * a + p.lower[1] * b + p.lower[2] for p in planes]).amax(0)
        high = torch.stack([p.upper[0] * a + p.upper[1] * b + p.upper[2] for p in planes]).amin(0)
        torch.testing.assert_close(low, a * b)
        torch.testing.assert_close(high, a * b)
    mean = (weights * values).sum(1)  # values of the hull's points: never outside the planes
    at_x = sum(w * a for w, (a, _) in zip(weights.unbind(1), corners, strict=True))
    at_y = sum(w * b for w, (_, b) in zip(weights.unbind(1), corners, strict=True))
    for p in planes:
        assert bool((p.lower[0] * at_x + p.lower[1] * at_y + p.lower[2] <= mean + 1e-9).all())
        assert bool((p.upper[0] * at_x + p.upper[1] * at_y + p.upper[2] >= mean - 1e-9).all())


def test_the_first_planes_lose_nothing_against_intervals() -> None:
    x, y = pairs()
    planes = product_planes(x, y, *balanced_shares(x, y))
    want = x.times(y)
    for (by_x, by_y, constant), end, sign in ((planes.lower, want.lower, 1), (planes.upper, want.upper, -1)):
        box = [torch.minimum(sign * s * v.lower, sign * s * v.upper) for s, v in ((by_x, x), (by_y, y))]
        torch.testing.assert_close(sign * (box[0] + box[1]) + constant, end)


def test_product_by_hand() -> None:
    x, y = (Interval(torch.tensor([a]), torch.tensor([b])) for a, b in ((1.0, 3.0), (-1.0, 2.0)))
    planes = product_planes(x, y, torch.tensor([0.0]), torch.tensor([1.0]))
    # below: ly x + lx y - lx ly = -x + y + 1; above: ly x + ux y - ux ly = -x + 3 y + 3
    assert [float(v) for v in planes.lower] == [-1, 1, 1]
    assert [float(v) for v in planes.upper] == [-1, 3, 3]


def bounds_of(graph: Graph, lower: list[float], upper: list[float], engine: str) -> tuple[float, float]:
    ends = (torch.tensor([v], dtype=graph.dtype) for v in (lower, upper))
    low, high = output_bounds(graph, *ends, find_verifier(engine))
    return float(low), float(high)


def test_square_by_hand() -> None:
    graph = traced(Fn(lambda x: (x * x).sum(1)), 2)
    # intervals [0, 4] + [1, 4]; from below tangents at 1/2 and 3/2: x - 1/4 >= -5/4 and 3 y - 9/4 >= 3/4
    assert bounds_of(graph, [-1.0, 1.0], [2.0, 2.0], "ibp") == (1.0, 8.0)
    low, high = output_bounds(
        graph, torch.tensor([[-1.0, 1.0]]), torch.tensor([[2.0, 2.0]]), CROWN(intersect=False)
    )
    assert (float(low), float(high)) == (-0.5, 8.0)


def test_quotient_by_hand() -> None:
    y = Interval(torch.tensor([1.0, -4.0]), torch.tensor([4.0, -1.0]))
    below, above = reciprocal_lines(y, torch.tensor([1 / 3, 1 / 3]))
    # tangents at 2 and -3, chords through the ends
    torch.testing.assert_close(below[0], torch.tensor([-1 / 4, -1 / 4]))
    torch.testing.assert_close(below[1], torch.tensor([1.0, -5 / 4]))
    torch.testing.assert_close(above[0], torch.tensor([-1 / 4, -1 / 9]))
    torch.testing.assert_close(above[1], torch.tensor([5 / 4, -2 / 3]))


@cache
def divided(position: int) -> Graph:
    functions = (lambda x: x[:, :1] / x[:, 1:], lambda x: torch.sigmoid(2 / x[:, 1:]) + 0 * x[:, :1])
    return traced(Fn(functions[position]), 2)


@pytest.mark.parametrize("engine", ["ibp", "crown", "crown-ibp"])
@pytest.mark.parametrize("low", [-1.0, 0.0, -3.0])
def test_a_divisor_that_may_vanish_proves_nothing(low: float, engine: str) -> None:
    for position in (0, 1):
        found = bounds_of(divided(position), [1.0, low], [2.0, -low if low < 0 else 1.0], engine)
        assert not any(math.isfinite(v) for v in found)


def test_what_is_not_finite_stays_so() -> None:
    """0 * inf is NaN, never a finite bound."""
    for name in ("mul of two", "matmul of two", "mul with itself"):
        node = bilinear_node(name)
        assert node is not None
        for end in (math.inf, math.nan):
            boxes = {}
            for parent in dict.fromkeys(node.inputs):
                lower = torch.zeros(1, *parent.shape)
                boxes[parent] = Interval(lower, lower + end)
            found = find_rule(node).interval(node, *(boxes[p] for p in node.inputs))
            assert not bool(torch.isfinite(found.upper).any())
            pulled = find_rule(node).backward(node, torch.ones(1, 1, *node.shape), boxes)
            assert pulled.offset is not None
            whole = pulled.offset + sum(c.reshape(1, 1, -1).sum(2) for c in pulled.coefficients)
            assert not bool(torch.isfinite(whole).any())


@pytest.mark.parametrize("kind", ["mixed", "left known", "right known", "stacked"])
def test_matrix_intervals_sum_exact_products(kind: str) -> None:
    shapes = ((5, 3, 4), (5, 4, 2)) if kind != "stacked" else ((5, 1, 3, 4), (2, 4, 2))
    found = []
    for i, shape in enumerate(shapes):
        centre, radius = uniform(i, shape, -1, 1), uniform(9 + i, shape, 0, 1)
        if kind == ("left known", "right known")[i]:
            centre, radius = centre, radius * centre.abs()
        found.append(Interval(centre - radius, centre + radius))
    x, y = found
    got = matrix_interval(x, y)
    entries = x.unsqueeze(-1).times(y.unsqueeze(-3))
    torch.testing.assert_close(got.lower, entries.lower.sum(-2))
    torch.testing.assert_close(got.upper, entries.upper.sum(-2))


def test_single_entries_of_matrix_products_lose_nothing_against_intervals() -> None:
    node = traced(Fn(lambda x: x[:, :3] @ x[:, 3:].transpose(1, 2)), 5, 4, dtype=torch.float64).output
    rule = find_rule(node)
    for known in (None, 0, 1):
        boxes = {}
        for i, parent in enumerate(node.inputs):
            centre, radius = uniform(i, (6, *parent.shape)), uniform(9 + i, (6, *parent.shape), 0, 1)
            radius = radius * centre.abs() if known == i else radius
            boxes[parent] = Interval(centre - radius, centre + radius)
        want = rule.interval(node, *(boxes[p] for p in node.inputs))
        eye = torch.eye(node.numel, dtype=torch.float64).reshape(1, -1, *node.shape).expand(6, -1, -1, -1)
        for a, end in ((eye, want.lower), (-eye, -want.upper)):
            pulled = rule.backward(node, a, boxes)
            assert pulled.offset is not None
            least = pulled.offset + sum(
                boxes[p].minimum(c) for p, c in zip(node.inputs, pulled.coefficients, strict=True)
            )
            torch.testing.assert_close(least, end.flatten(1))


class Attention(nn.Module):
    """One head on tokens (n, d), residual, and a readout."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(d, d) for _ in range(4))
        self.d = d

    def forward(self, x: Tensor) -> Tensor:
        scores = self.q(x) @ self.k(x).transpose(1, 2) / math.sqrt(self.d)
        weights = torch.softmax(scores, -1)
        return (x + self.out(weights @ self.v(x))).mean(1)


def test_attention_is_bounded_and_tuning_helps() -> None:
    network = Fn(lambda x, m: m(x), Attention(2), seed=3).requires_grad_(False)
    graph = traced(network, 2, 2).to(torch.float64)
    for reach in (0.2, 1.0):
        centre = uniform(4, (2, 2, 2))
        lower, upper = centre - reach, centre + reach
        y = run_points(graph.run, box_points(lower, upper, 2000))
        widths = []
        for engine in (IBP(), CROWN(), find_verifier("alpha-crown")):
            low, high = output_bounds(graph, lower, upper, engine)
            assert bool((low - 1e-9 <= y).all() and (y <= high + 1e-9).all())
            widths.append(float((high - low).mean()))
        assert widths[0] > widths[1] > widths[2]
    assert all(torch.isfinite(b.lower).all() for b in interval_bounds(graph, Box(lower, upper)).values())


@pytest.mark.parametrize("engine", [IBP(), CROWN(intersect=False)], ids=["ibp", "crown"])
def test_bounds_differentiate_in_the_weights(engine: Verifier) -> None:
    def function(x: Tensor, attention: nn.Module, readout: nn.Module) -> Tensor:
        y = readout(attention(x))
        scaled = y / (y.norm(dim=1, keepdim=True) + torch.sigmoid(y))
        return torch.log_softmax(y, 1) * scaled + y.logsumexp(1, keepdim=True)

    network = Fn(function, Attention(2), nn.Linear(2, 3), seed=3)
    graph = traced(network, 2, 2)
    centre = uniform(4, (3, 2, 2)).float()
    radius = torch.tensor([0.0, 1e-4, 0.1]).reshape(3, 1, 1)
    low, high = output_bounds(graph, centre - radius, centre + radius, engine)
    gradients = torch.autograd.grad((high - low).sum() + high.sum(), list(network.parameters()))
    assert all(bool(torch.isfinite(g).all()) and bool((g != 0).any()) for g in gradients)

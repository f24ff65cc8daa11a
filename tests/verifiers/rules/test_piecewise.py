"""Piecewise linear rules: any free parameters are sound, and numbers by hand."""

from __future__ import annotations

import pytest
import torch
from robustbench_local.verifiers.rules.clip import HardSwish
from robustbench_local.verifiers.rules.extremes import Extreme, Place, contested, upper_plane
from robustbench_local.verifiers.rules.hull import Corner, fan_below
from robustbench_local.verifiers.rules.piecewise import Kinked, PiecewiseLinear
from robustbench_local.verifiers.rules.ranks import Ranked
from robustbench_local.verifiers.rules.selection import Choice
from robustbench_local.verifiers.rules.steps import Compare
from torch import Tensor

from robustbench_local.verifiers import (
    CROWN,
    RULES,
    Elementwise,
    Interval,
    Node,
    find_rule,
    output_bounds,
)

from ..networks import Fn, box_points, traced, uniform
from .cases import CASES
from .test_every_rule import boxes as sample_boxes
from .test_every_rule import graphs
from .test_lines import boxes, the_node, values_at


def _lined() -> list[str]:
    """Cases of piecewise linear functions that hold numbers only."""
    kinds = (PiecewiseLinear, HardSwish)
    return [n for n, c in CASES.items() if isinstance(RULES.get(c.op), kinds) and not c.parts]


@pytest.mark.parametrize("name", _lined())
@pytest.mark.parametrize("choice", ["zeros", "ones", "random"])
def test_lines_enclose_for_any_free_parameters(name: str, choice: str) -> None:
    node, box = the_node(name, torch.float64), boxes(torch.float64)
    rule = find_rule(node)
    assert isinstance(rule, Elementwise)
    free = [uniform(i, box.lower.shape, 0, 1) for i in range(rule.parameters)]
    if choice != "random":
        free = [torch.full_like(f, float(choice == "ones")) for f in free]
    lines = rule.lines(node, box, free)
    x = box.lower + torch.linspace(0, 1, 101, dtype=torch.float64).unsqueeze(1) * (box.upper - box.lower)
    x = torch.minimum(torch.maximum(x, box.lower), box.upper)
    y, most = values_at(node, x)
    ulp = 20 * torch.finfo(torch.float64).eps * (1 + torch.maximum(box.lower.abs(), box.upper.abs()))
    low, high = lines.lower_slope * x, lines.upper_slope * x
    assert lines.lower_offset is not None and lines.upper_offset is not None
    assert bool((low + lines.lower_offset <= y + ulp).all())
    assert bool((most <= high + lines.upper_offset + ulp).all())


def _planes() -> list[str]:
    """Cases whose rules enclose a function by planes."""
    kinds = (Extreme, Ranked, Compare, Choice)
    return [n for n, c in CASES.items() if isinstance(RULES.get(c.op), kinds)]


@pytest.mark.parametrize("name", _planes())
def test_planes_enclose_for_any_free_parameters(name: str) -> None:
    graph = graphs(name)[0].to(torch.float64)
    node = next(n for n in graph.nodes[1:] if n.op == CASES[name].op)
    rule = find_rule(node)
    lower, upper = sample_boxes(CASES[name].shape, torch.float64)
    points = box_points(lower, upper, 20)
    values = dict(zip(graph.nodes, _values(graph.nodes, points), strict=True))
    hidden = {n: Interval(values[n].amin(0), values[n].amax(0)) for n in node.inputs}
    start = rule.start(node, hidden)
    if start is None:
        return
    assert bool(((start >= 0) & (start <= 1)).all())
    rows = uniform(3, (1, 4, *node.shape)).expand(7, -1, *node.shape)
    default = _bound(rule.backward(node, rows, hidden), node, values)
    first = _bound(rule.backward(node, rows, hidden, start.unsqueeze(1)), node, values)
    torch.testing.assert_close(first, default, rtol=1e-6, atol=1e-6)
    want = _dot(rows, values[node])
    slack = 1e-9 * (1 + want.abs().amax(0))
    for i in range(3):
        free = (
            uniform(i, (7, 4, *start.shape[1:]), 0, 1) if i else torch.zeros(7, 4, *start.shape[1:]).double()
        )
        free = free.requires_grad_()
        found = rule.backward(node, rows, hidden, free)
        assert bool((_bound(found, node, values) <= want + slack).all())
        assert all(bool(c.isfinite().all()) for c in found.coefficients)
        (gradient,) = torch.autograd.grad(_bound(found, node, values).sum(), free)
        assert bool(gradient.isfinite().all())


def _values(nodes: tuple[Node, ...], points: Tensor) -> list[Tensor]:
    """Every node's values at points (N, B, *shape), as float64."""
    known: dict[Node, Tensor] = {nodes[0]: points.flatten(0, 1)}
    for node in nodes[1:]:
        known[node] = node.run(*(known[p] for p in node.inputs))
    return [known[n].double().unflatten(0, points.shape[:2]) for n in nodes]


def _bound(pulled: object, node: Node, values: dict[Node, Tensor]) -> Tensor:
    """The pulled rows at every point: (N, B, K)."""
    total: Tensor | float = 0.0 if pulled.offset is None else pulled.offset  # type: ignore[attr-defined]
    for parent, a in zip(node.inputs, pulled.coefficients, strict=True):  # type: ignore[attr-defined]
        total = total + _dot(a, values[parent])
    assert isinstance(total, Tensor)
    return total


def _dot(a: Tensor, values: Tensor) -> Tensor:
    """Rows (B, K, *shape) on points (N, B, *shape)."""
    product = a * values.unsqueeze(2)
    return product.flatten(3).sum(3) if product.dim() > 3 else product


def _lines(name: str, low: float, high: float, *free: float) -> list[float]:
    """Lower slope and offset, upper slope and offset on [low, high]."""
    node = the_node(name, torch.float64)
    rule = find_rule(node)
    assert isinstance(rule, Elementwise)
    box = Interval(*(torch.tensor([t], dtype=torch.float64) for t in (low, high)))
    lines = rule.lines(node, box, [torch.tensor([f], dtype=torch.float64) for f in free])
    found = (lines.lower_slope, lines.lower_offset, lines.upper_slope, lines.upper_offset)
    return [0.0 if t is None else float(t) for t in found]


@pytest.mark.parametrize(
    ("name", "box", "free", "want"),
    [
        # the chord above, the steeper side below
        ("abs", (-1, 3), (), [1, 0, 1 / 2, 3 / 2]),
        ("abs", (-3, 1), (), [-1, 0, -1 / 2, 3 / 2]),
        ("abs", (-1, 3), (0.5,), [0, 0, 1 / 2, 3 / 2]),
        ("abs", (-2, -1), (), [-1, 0, -1, 0]),
        # clamp to [-1, 1] on [-2, 3]: below, flat, then from (-1, -1) to (3, 1); above, to (1, 1), then flat
        ("hardtanh", (-2, 3), (0, 0), [0, -1, 2 / 3, 1 / 3]),
        ("hardtanh", (-2, 3), (1, 1), [1 / 2, -1 / 2, 0, 1]),
        ("hardtanh", (-2, 3), (), [1 / 2, -1 / 2, 2 / 3, 1 / 3]),
        ("hardtanh", (-0.5, 0.5), (), [1, 0, 1, 0]),
        ("hardtanh", (-3, -2), (), [0, -1, 0, -1]),
        ("hardtanh", (0, 2), (), [1 / 2, 0, 1, 0]),
        # soft shrinkage by 0.3
        ("softshrink", (-1.3, 1.3), (1, 1), [1, -0.3, 1 / 1.6, 0.3 / 1.6]),
        # the sign: below -1 up to zero, then to (2, 1); above from (-1, -1) to (0, 1), then 1
        ("sign", (-1, 2), (0, 0), [0, -1, 2, 1]),
        ("sign", (-1, 2), (1, 1), [1, -1, 0, 1]),
        ("sign", (0, 2), (), [1 / 2, 0, 0, 1]),
        # threshold at 0.2: -0.5 there and below, x above
        ("threshold", (0.2, 1.2), (0, 0), [1.7, -0.84, 1, 0]),
        ("threshold", (0.3, 1.2), (), [1, 0, 1, 0]),
        # hard swish: the parabola's chord above, its tangent in the middle below
        ("hardswish plain", (-1, 1), (), [1 / 2, 0, 1 / 2, 1 / 6]),
        ("hardswish plain", (-9, -4), (), [0, 0, 0, 0]),
        ("hardswish plain", (4, 9), (), [1, 0, 1, 0]),
        # the tangent through (-4, 0) touches at -2, the one through (4, 4) at 2
        ("hardswish plain", (-4, 4), (0, 0), [-1 / 6, -2 / 3, 1 / 2, 2]),
        ("hardswish plain", (-4, 4), (1, 1), [7 / 6, -2 / 3, 1 / 2, 2]),
        ("relu6 plain", (-2, 8), (0, 0), [0, 0, 3 / 4, 3 / 2]),
        # floor: below it (0.5, 0), (1, 0), (2, 1), (2.5, 2); above it (0.5, 0), (1, 1), (2, 2), (2.5, 2)
        ("floor plain", (0.5, 2.5), (), [1, -1, 1, 0]),
        ("floor plain", (0.5, 2.5), (0, 0), [0, 0, 2, -1]),
        ("floor plain", (0.5, 2.5), (1, 1), [2, -3, 0, 2]),
        ("round plain", (0.25, 0.75), (0, 0), [0, 0, 4, -1]),
    ],
)
def test_lines_by_hand(
    name: str, box: tuple[float, float], free: tuple[float, ...], want: list[float]
) -> None:
    assert _lines(name, *box, *free) == pytest.approx(want, abs=1e-12)


def test_a_jump_gets_no_line_steeper_than_rounding_allows() -> None:
    slope = _lines("threshold", 0.2, 0.2 + 1e-9, 1, 1)[0]
    assert abs(slope) < 100


def test_the_default_line_is_the_highest_at_the_middle() -> None:
    low, high = torch.tensor([0.0]), torch.tensor([4.0])
    points = [Corner(torch.tensor([float(x)]), torch.tensor([float(y)])) for x, y in PARABOLA]
    fan = fan_below(Interval(low, high), points, jumps=False)
    assert (float(fan.least), float(fan.most)) == (1.0, 7.0)
    assert [float(t) for t in fan.line(None)] == [3.0, -2.0]  # the edge from 1 to 2
    assert float(fan.share()) == pytest.approx(1 / 3)


PARABOLA = ((0, 0), (1, 1), (2, 4), (3, 9), (4, 16))


def test_upper_plane_of_a_maximum_by_hand() -> None:
    # x in [0, 2], y in [1, 3], z in [-9, 0]: the level is the second largest upper bound, 2
    box = Interval(torch.tensor([[0.0, 1.0, -9.0]]), torch.tensor([[2.0, 3.0, 0.0]]))
    plane = upper_plane(box, 1)
    assert plane.slopes.tolist() == [[0.0, 0.5, 0.0]]
    assert plane.offset.tolist() == [1.5]  # 2 - 1/2 * 1
    constant, exact = (upper_plane(box, 1, torch.tensor([[f]])) for f in (1.0, 0.0))
    assert (constant.slopes.tolist(), constant.offset.tolist()) == ([[0.0, 0.0, 0.0]], [3.0])
    assert (exact.slopes.tolist(), exact.offset.tolist()) == ([[0.5, 1.0, 0.0]], [0.0])


def test_a_maximum_that_surely_wins_is_exact() -> None:
    box = Interval(torch.tensor([[2.0, 0.0]]), torch.tensor([[5.0, 2.0]]))
    plane = upper_plane(box, 1)
    assert plane.slopes.tolist() == [[1.0, 0.0]] and plane.offset.tolist() == [0.0]
    assert not bool(contested(box, 1).any())


def test_order_statistics_by_hand() -> None:
    graph = traced(Fn(lambda x: x.topk(2).values), 3)
    lower, upper = torch.tensor([[0.0, 1.0, 5.0]]), torch.tensor([[2.0, 3.0, 6.0]])
    node = graph.output
    hidden = {graph.input: Interval(lower, upper)}
    interval = find_rule(node).interval(node, hidden[graph.input])
    assert (interval.lower.tolist(), interval.upper.tolist()) == ([[5.0, 1.0]], [[6.0, 3.0]])
    wanted = find_rule(node).undecided(node, 0, hidden[graph.input])
    assert wanted is not None and wanted.tolist() == [[True, True, False]]
    # the largest is the third entry for sure, so that its plane is exact
    largest = find_rule(node).backward(node, torch.tensor([[[1.0, 0.0]]]), hidden)
    assert largest.coefficients[0].tolist() == [[[0.0, 0.0, 1.0]]]
    assert largest.offset is not None and largest.offset.tolist() == [[0.0]]


def test_a_choice_by_a_decided_mask_is_exact() -> None:
    graph = traced(Fn(lambda x: torch.where(x > 0, 2 * x, -x)), 3)
    lower, upper = torch.tensor([[1.0, -2.0, -1.0]]), torch.tensor([[2.0, -1.0, 1.0]])
    low, high = output_bounds(graph, lower, upper, CROWN(intersect=False))
    assert (low[0, :2].tolist(), high[0, :2].tolist()) == ([2.0, 1.0], [4.0, 2.0])
    assert float(low[0, 2]) <= 0 and float(high[0, 2]) >= 2


@pytest.mark.parametrize("name", _planes())
def test_what_is_not_a_number_stays_so(name: str) -> None:
    graph = graphs(name)[0].resolved()
    bad = torch.full((1, *graph.input_shape), torch.nan)
    hidden = {graph.input: Interval(bad, bad)}
    for node in graph.nodes[1:]:
        hidden[node] = find_rule(node).interval(node, *(hidden[p] for p in node.inputs))
    assert bool(hidden[graph.output].lower.isnan().any() and hidden[graph.output].upper.isnan().any())


@pytest.mark.parametrize("name", [n for n in _lined() if isinstance(RULES[CASES[n].op], (Kinked, HardSwish))])
def test_derivatives_enclose_every_difference_quotient(name: str) -> None:
    node, box = the_node(name, torch.float64), boxes(torch.float64)
    wide = box.upper - box.lower > 1e-3
    box = Interval(box.lower[wide], box.upper[wide])
    x, y = (box.lower + uniform(i, (50, *box.lower.shape), 0, 1) * (box.upper - box.lower) for i in (1, 2))
    apart = (x - y).abs() > 1e-6
    quotient = torch.where(apart, (node.run(x) - node.run(y)) / torch.where(apart, x - y, 1), 0)
    rule = find_rule(node)
    assert isinstance(rule, Elementwise)
    slopes = rule.derivative(node, box)
    assert bool(((slopes.lower - 1e-6 <= quotient) & (quotient <= slopes.upper + 1e-6) | ~apart).all())


@pytest.mark.parametrize("name", [n for n in _planes() if isinstance(RULES[CASES[n].op], Extreme)])
def test_derivatives_of_extremes_enclose_every_difference(name: str) -> None:
    graph = graphs(name)[0].to(torch.float64)
    node = next(n for n in graph.nodes[1:] if n.op == CASES[name].op)
    rule = find_rule(node)
    if isinstance(rule, Place) or any(str(n.op) in LOGIC for n in graph.nodes):
        return
    lower, upper = sample_boxes(CASES[name].shape, torch.float64)
    values = dict(zip(graph.nodes, _values(graph.nodes, box_points(lower, upper, 10)), strict=True))
    hidden = {n: Interval(values[n].amin(0), values[n].amax(0)) for n in node.inputs}
    steps = {n: values[n] - values[n].roll(1, 0) for n in (*node.inputs, node)}
    # along the steps, as directions
    moves = tuple(Interval(s, s) for s in (steps[p].movedim(0, 1) for p in node.inputs))
    moved, want = rule.tangent(node, hidden, moves), steps[node].movedim(0, 1)
    assert bool(((moved.lower - 1e-9 <= want) & (want <= moved.upper + 1e-9)).all())
    # and for rows, pulled back
    rows = uniform(5, (7, 3, *node.shape))
    pulled = rule.cotangent(node, hidden, Interval(rows, rows))
    change = _dot(rows, steps[node])
    low = sum(_dot(_least(i, steps[p]), steps[p]) for i, p in zip(pulled, node.inputs, strict=True))
    assert bool((low <= change + 1e-9).all())


LOGIC = ("aten.gt.Scalar", "aten.lt.Scalar")


def _least(slopes: Interval, step: Tensor) -> Tensor:
    """The end of the slopes (B, K, *shape) that makes the product with a step (N, B, *shape) smallest."""
    return torch.where(step.unsqueeze(2) > 0, slopes.lower, slopes.upper)

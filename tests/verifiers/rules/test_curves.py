"""Smooth functions: lines enclose them for any point of contact, and touch them; ranges are exact."""

from __future__ import annotations

import math

import pytest
import torch
from robustbench_local.verifiers.rule import Lines
from robustbench_local.verifiers.rules.contact import Left, Right, Tails
from robustbench_local.verifiers.rules.curves import Smooth
from torch import Tensor

from robustbench_local.verifiers import RULES, Interval, Node, find_rule

from ..networks import uniform
from .cases import CASES
from .test_every_rule import graphs

F64 = torch.float64
NAMES = pytest.mark.parametrize(
    "name", [n for n, c in CASES.items() if isinstance(RULES.get(c.op), Smooth) and not c.parts]
)
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
SPECIAL = [
    *((-1, 1), (0, 0), (0, 1), (-1, 0), (0, 1e-9), (0, 1e-30), (-1e-7, 1e-7), (-50, 0.5), (-0.5, 50)),
    *((-200, 200), (0, 3), (0, 60), (-30, 0), (1e-20, 1), (-1, -1e-20), (0.5, 1), (-1, -0.5)),
    *((-1e4, 1), (-1, 1e4), (-1e6, 1e6), (1e6, 1e6 + 1), (-1e30, 1e30), (3, 3), (-3, -3)),
]


def the_node(name: str, dtype: torch.dtype = torch.float32) -> tuple[Smooth, Node]:
    """The node of the case's operator, and its rule."""
    node = next(n for n in graphs(name)[0].to(dtype).nodes[1:] if n.op == CASES[name].op)
    rule = find_rule(node)
    assert isinstance(rule, Smooth)
    return rule, node


def boxes(dtype: torch.dtype) -> Interval:
    """Boxes (n,) of all widths from zero to 1000, tiny and huge numbers, many around zero and in (-1, 1)."""
    centre = (
        *(uniform(1, (600,), -4, 4), uniform(2, (200,), -20, 20), uniform(3, (100,), -100, 100)),
        *(uniform(4, (300,)), torch.zeros(60, dtype=F64), 10 ** uniform(5, (140,), -8, 2)),
    )
    middle = torch.cat(centre)
    width = 10 ** uniform(6, middle.shape, -9, 3)
    width[::20] = 0
    pairs = torch.tensor(SPECIAL, dtype=F64)
    lower, upper = torch.cat((middle - width / 2, pairs[:, 0])), torch.cat((middle + width / 2, pairs[:, 1]))
    return Interval(lower.to(dtype), upper.to(dtype))


def points(box: Interval) -> Tensor:
    """Points (N, n) of boxes (n,), both ends included, many close to them."""
    near = 10 ** torch.linspace(-8, -2, 13, dtype=F64)
    share = torch.cat((torch.linspace(0, 1, 61, dtype=F64), near, 1 - near)).to(box.lower).unsqueeze(1)
    x = torch.lerp(box.lower.expand(len(share), -1), box.upper.expand(len(share), -1), share)
    return torch.minimum(torch.maximum(x, box.lower), box.upper)


def within(rule: Smooth, node: Node, box: Interval) -> Interval:
    """The boxes on which the function is defined and finite."""
    found = rule.interval(node, box)
    fine = found.lower.isfinite() & found.upper.isfinite()
    return Interval(box.lower[fine], box.upper[fine])


def heights(lines: Lines, x: Tensor) -> tuple[Tensor, Tensor]:
    """Values of both lines at points."""
    assert lines.lower_offset is not None and lines.upper_offset is not None
    return lines.lower_slope * x + lines.lower_offset, lines.upper_slope * x + lines.upper_offset


def slack(lines: Lines, x: Tensor, y: Tensor) -> Tensor:
    """20 units in the last place of all numbers that meet."""
    far = x.abs().amax(0)
    size = 1 + far + y.abs().amax(0) + far * torch.maximum(lines.lower_slope.abs(), lines.upper_slope.abs())
    return 20 * torch.finfo(x.dtype).eps * size


def choices(rule: Smooth, node: Node, box: Interval) -> list[tuple[Tensor, ...]]:
    """Values of the free parameters: none, both ends, random ones, the first ones."""
    count, like = rule.parameters, box.lower
    ends = [(torch.full_like(like, v),) * count for v in (0.0, 1.0)]
    noise = [tuple(uniform(7 + 2 * k + i, like.shape, 0, 1).to(like) for i in range(count)) for k in (0, 1)]
    return [(), *ends, *noise, rule.first(node, box)]


@DTYPES
@NAMES
def test_lines_enclose_the_function_for_any_parameters(name: str, dtype: torch.dtype) -> None:
    rule, node = the_node(name, dtype)
    box = within(rule, node, boxes(dtype))
    assert len(box.lower) > 200
    x = points(box)
    y, point = node.run(x), box.lower == box.upper
    for free in choices(rule, node, box):
        lines = rule.lines(node, box, free)
        low, high = heights(lines, x)
        finite = low.isfinite().all(0) & high.isfinite().all(0)
        assert float(finite.double().mean()) > 0.985, "only overflow"
        room = slack(lines, x, y)
        assert bool((low <= y + room)[:, finite].all() and (y <= high + room)[:, finite].all())
        for line in (low, high):
            assert bool(((line - y).abs() <= room)[:, point & finite].all()), "exact at points"


@NAMES
def test_lines_touch_the_function(name: str) -> None:
    rule, node = the_node(name, F64)
    box = within(rule, node, boxes(F64))
    wide = (box.upper - box.lower > 1e-3) & (box.upper - box.lower < 8)
    box = Interval(box.lower[wide], box.upper[wide])
    x = box.lower + torch.linspace(0, 1, 2001, dtype=F64).unsqueeze(1) * (box.upper - box.lower)
    y = node.run(x)
    least = 1e-3 * (y.amax(0) - y.amin(0)) + 1e-9
    jump = 1.2 if name == "softplus that jumps" else 0.05 if "steep" in name else 0.0
    for free in choices(rule, node, box):
        low, high = heights(rule.lines(node, box, free), x)
        assert bool(((y - low).amin(0) <= least + jump).all() and ((high - y).amin(0) <= least + jump).all())


@NAMES
def test_no_other_lines_leave_less_area(name: str) -> None:
    """In the middle of the box the lines are as high as the convex and as low as the concave hull."""
    rule, node = the_node(name, F64)
    box = within(rule, node, boxes(F64))
    fit = (box.upper - box.lower > 1e-2) & (box.upper - box.lower < 6) & (box.lower.abs() < 30)
    box = Interval(box.lower[fit][:100], box.upper[fit][:100])
    half = (box.upper - box.lower) / 2
    share = torch.linspace(0, 1, 101, dtype=F64).unsqueeze(1)
    middle = box.lower + half
    left, right = node.run(middle - share * half), node.run(middle + share * half)
    weight = share / (share + share.T).clamp(min=1e-9)  # (left, right) of the pair's right end
    pairs = torch.lerp(left.unsqueeze(1), right.unsqueeze(0), weight.unsqueeze(2)).flatten(0, 1)
    low, high = heights(rule.lines(node, box), middle)
    room = 2e-3 * (pairs.amax(0) - pairs.amin(0)) + 1e-9
    if "jumps" not in name and "steep" not in name:
        assert bool(((pairs.amin(0) - low).abs() <= room).all())
        assert bool(((pairs.amax(0) - high).abs() <= room).all())


@NAMES
def test_the_first_parameters_are_the_default(name: str) -> None:
    rule, node = the_node(name, F64)
    box = within(rule, node, boxes(F64))
    fine = box.upper.abs().maximum(box.lower.abs()) < 100
    box = Interval(box.lower[fine], box.upper[fine])
    first = rule.first(node, box)
    assert len(first) == rule.parameters
    assert all(bool(((p >= 0) & (p <= 1)).all()) for p in first)
    x = points(box)
    y = node.run(x)
    for a, b in zip(heights(rule.lines(node, box), x), heights(rule.lines(node, box, first), x), strict=True):
        size = 1 + y.abs().amax(0)
        assert float(((a - b).abs() / size).amax()) < 1e-6


@DTYPES
@NAMES
def test_ranges_are_exact(name: str, dtype: torch.dtype) -> None:
    rule, node = the_node(name, dtype)
    box = within(rule, node, boxes(dtype))
    x = points(box)
    y, found = node.run(x), rule.interval(node, box)
    room = 20 * torch.finfo(dtype).eps * (1 + x.abs().amax(0) + y.abs().amax(0))
    assert bool((found.lower - room <= y).all() and (y <= found.upper + room).all())
    narrow = box.upper - box.lower < 1  # the sampled points miss an extreme by (1 / 120) ** 2 / 2 at most
    gap = torch.maximum(y.amin(0) - found.lower, found.upper - y.amax(0))
    assert bool((gap <= room + 1e-4)[narrow].all() or "jumps" in name)


@DTYPES
@NAMES
def test_bounds_of_the_derivative_enclose_it(name: str, dtype: torch.dtype) -> None:
    rule, node = the_node(name, dtype)
    box = within(rule, node, boxes(dtype))
    huge = box.upper.abs().maximum(box.lower.abs()) > 1e10  # where torch's own derivative is NaN
    box = Interval(box.lower[~huge], box.upper[~huge])
    x = points(box).requires_grad_()
    (slope,) = torch.autograd.grad(node.run(x).sum(), x)
    found = rule.derivative(node, box)
    size = (1 + slope.abs().amax(0)) * (1 + x.detach().abs().amax(0))
    room = 50 * torch.finfo(dtype).eps * size
    assert bool((found.lower - room <= slope).all() and (slope <= found.upper + room).all())
    fine = (box.upper - box.lower < 0.1) & (box.upper.abs().maximum(box.lower.abs()) < 20)
    gap = torch.maximum(slope.amin(0) - found.lower, found.upper - slope.amax(0))[fine]
    exact = gap <= room[fine] + 1e-2 * (1 + slope.abs().amax(0)[fine])
    assert bool(exact.all() or "elu" in name or "jumps" in name), "at kinks and jumps more than f'"


@NAMES
def test_what_is_not_a_number_stays_so(name: str) -> None:
    rule, node = the_node(name)
    nan = math.nan
    box = Interval(torch.tensor([nan, 0.25, nan]), torch.tensor([0.5, nan, nan]))
    low, high = heights(rule.lines(node, box), torch.ones(3))
    interval = rule.interval(node, box)
    assert bool((low.isnan() | high.isnan())[2])
    assert bool((interval.lower.isnan() | interval.upper.isnan()).all())


@NAMES
def test_lines_differentiate_in_the_parameters(name: str) -> None:
    rule, node = the_node(name, F64)
    if not rule.parameters:
        return
    lower = torch.tensor([0.1, 0.2, 0.05, 0.4], dtype=F64)
    box = Interval(lower, lower + torch.tensor([0.3, 0.5, 0.9, 0.1], dtype=F64))

    def height(*free: Tensor) -> Tensor:
        lines = rule.lines(node, box, free)
        assert lines.lower_offset is not None and lines.upper_offset is not None
        return torch.cat((lines.lower_slope + 2 * lines.lower_offset, lines.upper_slope - lines.upper_offset))

    free = [uniform(3 + i, (4,), 0.3, 0.7).requires_grad_() for i in range(rule.parameters)]
    assert torch.autograd.gradcheck(height, tuple(free), atol=1e-5, rtol=1e-3, check_grad_dtypes=False)


@NAMES
def test_tangents_through_an_end_are_found(name: str) -> None:
    """Beyond a bend, the last point of contact is that of the tangent through the box's end."""
    rule, node = the_node(name, F64)
    shape = rule.shape(node)
    away = torch.cat((torch.logspace(-2, 1.3, 200, dtype=F64), torch.tensor([0.0], dtype=F64)))
    for side in (shape.below, shape.above):
        sides = (side.left, side.right) if isinstance(side, Tails) else (side,)
        for part in sides:
            if not isinstance(part, (Left, Right)) or ("elu" in name and isinstance(part, Right)):
                continue  # no tangent but lines through the kink
            x = part.bend + away if isinstance(part, Left) else part.bend - away
            touch = part.far(x)
            assert bool(((touch - part.bend) * (x - part.bend) <= 0).all())
            value, y = shape.value(touch), shape.value(x)
            miss = value + shape.slope(touch, value) * (x - touch) - y
            exists = y.isfinite() & (touch.abs() < 20)
            assert bool((miss.abs() <= 1e-3 * (1 + y.abs()))[exists].all())


E_, S1 = math.e, math.tanh(0.5)
DEEP = 0.3 * (1 / E_ - 1)
TOP = 0.25 * math.erf(0.5**1.5)  # half of gelu(1/2) + gelu(-1/2)
#: name, box, lower slope and offset, upper slope and offset
KNOWN: list[tuple[str, tuple[float, float], tuple[float, float], tuple[float, float]]] = [
    ("exp", (0, 1), (E_**0.5, E_**0.5 / 2), (E_ - 1, 1)),
    ("log", (1, E_), (1 / (E_ - 1), -1 / (E_ - 1)), (2 / (1 + E_), math.log((1 + E_) / 2) - 1)),
    ("square", (-1, 3), (2, -1), (2, 3)),
    ("sqrt", (0, 1), (1, 0), (0.5**0.5, 0.5**1.5)),
    ("reciprocal", (1, 2), (-4 / 9, 4 / 3), (-1 / 2, 3 / 2)),
    ("reciprocal", (-2, -1), (-1 / 2, -3 / 2), (-4 / 9, -4 / 3)),
    ("power -2", (-2, -1), (16 / 27, 4 / 3), (3 / 4, 7 / 4)),
    ("power 3", (-1, 2), (3 / 4, -1 / 4), (3, 2)),  # through (-1, -1), touching at 1/2
    ("tanh", (0, 1), (math.tanh(1), 0), (1 - S1**2, S1 - (1 - S1**2) / 2)),
    ("sin", (0, math.pi), (0, 0), (0, 1)),
    ("sin", (-10, 10), (0, -1), (0, 1)),
    ("cos", (0, math.pi), (-0.7246114, 1), (-0.7246114, 0.7246114 * math.pi - 1)),  # touching at 2.331
    ("gelu", (-0.5, 0.5), (0.5, 0), (0.5, TOP)),
    ("elu shallow", (-1, 1), (0.3, 0), ((1 - DEEP) / 2, (1 + DEEP) / 2)),
]


@pytest.mark.parametrize(("name", "box", "lower", "upper"), KNOWN, ids=[f"{k[0]} {k[1]}" for k in KNOWN])
def test_lines_by_hand(
    name: str, box: tuple[float, float], lower: tuple[float, float], upper: tuple[float, float]
) -> None:
    rule, node = the_node(name, F64)
    lines = rule.lines(node, Interval(*(torch.tensor([float(v)], dtype=F64) for v in box)))
    got = [lines.lower_slope, lines.lower_offset, lines.upper_slope, lines.upper_offset]
    assert [float(t) for t in got if t is not None] == pytest.approx([*lower, *upper], abs=2e-6)


RANGES: list[tuple[str, tuple[float, float], tuple[float, float]]] = [
    ("square", (-1, 3), (0, 9)),
    ("power 4", (-3, -2), (16, 81)),
    ("power -1", (-2, -1), (-1, -0.5)),
    ("cosh", (-1, 2), (1, math.cosh(2))),
    ("gelu", (-3, 0), (-0.16997120747990366, 0)),
    ("silu", (-3, 0), (-0.2784645427610738, 0)),
    ("mish", (-3, 0), (-0.3088434130172504, 0)),
    ("sin", (0, 2), (0, 1)),
    ("sin", (7, 10.9), (math.sin(10.9), 1)),
    ("sin", (7, 11), (-1, 1)),
    ("cos", (-4, -2), (-1, math.cos(-2))),
    ("cos", (100, 107), (-1, 1)),
]


@pytest.mark.parametrize(("name", "box", "want"), RANGES, ids=[f"{r[0]} {r[1]}" for r in RANGES])
def test_ranges_by_hand(name: str, box: tuple[float, float], want: tuple[float, float]) -> None:
    rule, node = the_node(name, F64)
    found = rule.interval(node, Interval(*(torch.tensor([float(v)], dtype=F64) for v in box)))
    assert (float(found.lower), float(found.upper)) == pytest.approx(want)

"""The two lines of every nonlinear function enclose it on every box, exactly at points; known numbers."""

from __future__ import annotations

import math

import pytest
import torch
from robustbench_local.verifiers.rules.curves import Smooth
from robustbench_local.verifiers.rules.relu import LeakyRelu, Relu
from torch import Tensor

from robustbench_local.verifiers import RULES, Elementwise, Interval, Node, find_rule

from ..networks import traced, uniform
from .cases import CASES
from .test_every_rule import graphs


def _elementwise() -> list[str]:
    """Every case of an elementwise operator that holds numbers only: no layers, no parameters.

    Smooth functions are in test_curves.py: many have a domain, or values of any size.
    """
    kinds = {
        op for op, rule in RULES.items() if isinstance(rule, Elementwise) and not isinstance(rule, Smooth)
    }
    return [n for n, c in CASES.items() if c.op in kinds and not c.parts]


JUMP = torch.ops.robustbench_local.jump.default
NAMES = pytest.mark.parametrize("name", _elementwise())
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def the_node(name: str, dtype: torch.dtype = torch.float32) -> Node:
    """The node of the case's operator."""
    return next(node for node in graphs(name)[0].to(dtype).nodes[1:] if node.op == CASES[name].op)


def boxes(dtype: torch.dtype) -> Interval:
    """Boxes (n,) of all widths from zero to 200 at centres from -100 to 100, many around zero."""
    centre = torch.cat((uniform(1, (300,), -3, 3), uniform(2, (60,), -100, 100), torch.zeros(40).double()))
    width = 10 ** uniform(3, (400,), -9, 2)
    width[::25] = 0
    lower, upper = (centre - width / 2).to(dtype), (centre + width / 2).to(dtype)
    special = [
        (-1, 1),
        (0, 0),
        (0, 1),
        (-1, 0),
        (-1e-7, 1e-7),
        (-50, 0.5),
        (-0.5, 50),
        (-200, 200),
        (3, 3),
        (-3, -3),
    ]
    pairs = torch.tensor(special, dtype=dtype)
    return Interval(torch.cat((lower, pairs[:, 0])), torch.cat((upper, pairs[:, 1])))


def lines_at(node: Node, box: Interval, x: Tensor) -> tuple[Tensor, Tensor]:
    """Values of both lines at points x (..., n)."""
    rule = find_rule(node)
    assert isinstance(rule, Elementwise)
    lines = rule.lines(node, box)
    low, high = lines.lower_slope * x, lines.upper_slope * x
    low = low if lines.lower_offset is None else low + lines.lower_offset
    return low, high if lines.upper_offset is None else high + lines.upper_offset


def values_at(node: Node, x: Tensor) -> tuple[Tensor, Tensor]:
    """The least and the largest value of the operator at points.

    They differ only where `jump` is at its kink and no number: bounds have to hold for all between 0 and 1.
    """
    y = node.run(x)
    if node.op != JUMP:
        return y, y
    return torch.where(x == 0, 0.0, y), torch.where(x == 0, 1.0, y)


def test_every_elementwise_operator_is_here() -> None:
    covered = {the_node(name).op for name in _elementwise()}
    found = {op for op, rule in RULES.items() if isinstance(rule, Elementwise)}
    assert covered == {op for op in found if not isinstance(RULES[op], Smooth)}


@DTYPES
@NAMES
def test_lines_and_intervals_enclose_the_function(name: str, dtype: torch.dtype) -> None:
    node, box = the_node(name, dtype), boxes(dtype)
    share = torch.linspace(0, 1, 201, dtype=dtype).unsqueeze(1)
    x = torch.minimum(torch.maximum(box.lower + share * (box.upper - box.lower), box.lower), box.upper)
    y, most = values_at(node, x)
    low, high = lines_at(node, box, x)
    ulp = 20 * torch.finfo(dtype).eps * (1 + torch.maximum(box.lower.abs(), box.upper.abs()))
    assert bool((low <= y + ulp).all() and (most <= high + ulp).all())
    interval = find_rule(node).interval(node, box)
    assert bool((interval.lower <= y + ulp).all() and (most <= interval.upper + ulp).all())
    point = (box.lower == box.upper) & (y == most).all(0)
    assert int(point.sum()) >= (15 if node.op == JUMP else 16)  # at its kink, jump is no number
    for bound in (low, high, interval.lower.expand_as(y), interval.upper.expand_as(y)):
        assert bool(((bound - y).abs() <= ulp)[:, point].all()), "exact at points"


@NAMES
def test_lines_are_tight(name: str) -> None:
    """At both ends, or at one point between, each line touches the function."""
    node, box = the_node(name, torch.float64), boxes(torch.float64)
    wide = (box.upper - box.lower > 1e-3) & (box.upper.abs().maximum(box.lower.abs()) < 30)
    box = Interval(box.lower[wide], box.upper[wide])
    x = box.lower + torch.linspace(0, 1, 2001, dtype=torch.float64).unsqueeze(1) * (box.upper - box.lower)
    low, high = lines_at(node, box, x)
    y, most = values_at(node, x)
    scale = 1e-3 * (1 + y.abs().amax(0) + box.upper - box.lower)  # jumps fall between two of the points
    assert bool(((y - low).amin(0) <= scale).all() and ((high - most).amin(0) <= scale).all())


@NAMES
def test_what_is_not_a_number_stays_so(name: str) -> None:
    node, nan = the_node(name), math.nan
    box = Interval(torch.tensor([nan, -1.0, nan, 1.0]), torch.tensor([1.0, nan, nan, nan]))
    low, high = lines_at(node, box, torch.ones(4))
    interval = find_rule(node).interval(node, box)
    assert bool((low.isnan() | high.isnan())[2]), (
        "one end alone: left to the engines, which refuse the sample"
    )
    assert bool((interval.lower.isnan() | interval.upper.isnan()).all())


def test_relu_by_hand() -> None:
    node, rule = the_node("relu"), Relu()
    box = Interval(torch.tensor([-2.0, -1.0, 1.0, -3.0, -1.0]), torch.tensor([1.0, 3.0, 2.0, -1.0, 1.0]))
    lines = rule.lines(node, box)
    assert lines.lower_offset is None and lines.upper_offset is not None
    # slope u / (u - l), offset -l u / (u - l); from below 1 where u > -l, else 0
    torch.testing.assert_close(lines.upper_slope, torch.tensor([1 / 3, 3 / 4, 1.0, 0.0, 1 / 2]))
    torch.testing.assert_close(lines.upper_offset, torch.tensor([2 / 3, 3 / 4, 0.0, 0.0, 1 / 2]))
    torch.testing.assert_close(lines.lower_slope, torch.tensor([0.0, 1.0, 1.0, 0.0, 0.0]))
    wanted = rule.undecided(node, 0, box)
    assert wanted is not None and wanted.tolist() == [True, True, False, False, True]


@pytest.mark.parametrize(
    ("slope", "lower", "upper"), [(0.5, (1, 0), (5 / 6, 1 / 3)), (2.0, (4 / 3, -2 / 3), (1, 0))]
)
def test_leaky_relu_by_hand(slope: float, lower: tuple[float, float], upper: tuple[float, float]) -> None:
    node = the_node(f"leaky relu {0.2 if slope < 1 else 2.0}")
    rule = type("Leaky", (LeakyRelu,), {"slope": lambda self, node: slope})()
    lines = rule.lines(node, Interval(torch.tensor([-1.0]), torch.tensor([2.0])))
    found = [(lines.lower_slope, lines.lower_offset), (lines.upper_slope, lines.upper_offset)]
    for (k, t), (want_k, want_t) in zip(found, (lower, upper), strict=True):
        assert float(k) == pytest.approx(want_k)
        assert (0.0 if t is None else float(t)) == pytest.approx(want_t)


def test_tanh_by_hand() -> None:
    node, one = the_node("tanh"), torch.tensor([1.0])
    low, high = lines_at(node, Interval(0 * one, one), torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(low, math.tanh(1) * torch.tensor([0.0, 0.5, 1.0]))  # the chord
    slope = 1 - math.tanh(0.5) ** 2  # the tangent in the middle
    torch.testing.assert_close(high, math.tanh(0.5) + slope * torch.tensor([-0.5, 0.0, 0.5]))


def test_max_pool_by_hand() -> None:
    graph = traced(torch.nn.MaxPool1d(2), 1, 6)
    node = graph.output
    rule, parent = find_rule(node), graph.input
    # the first window is decided; in the second a value of [0, 2] meets one of [1, 3]; the third is a tie
    box = Interval(torch.tensor([[[2.0, 0, 0, 1, 5, 5]]]), torch.tensor([[[4.0, 1, 2, 3, 5, 5]]]))
    # below, the second's higher entry y; above, 2 + (y - 1) / 2, which is 2 at (2, 1) and 3 at (0, 3)
    for sign, want, offset in ((1, [1, 0, 0, 1], 0.0), (-1, [-1, 0, 0, -0.5], -1.5)):
        rows = sign * torch.eye(3)[:2].reshape(1, 2, 1, 3)
        pulled = rule.backward(node, rows, {parent: box})
        assert pulled.coefficients[0][0, :, 0].sum(0)[:4].tolist() == want
        assert pulled.offset is not None and pulled.offset[0].tolist() == [0.0, offset]
    mask = rule.undecided(node, 0, box)
    assert mask is not None and mask.flatten().tolist() == [False, False, True, True, False, False]

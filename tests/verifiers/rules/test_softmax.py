"""Softmax against the published bounds, its rows against sum_i p_i = 1, log-sum-exp; known numbers."""

from __future__ import annotations

import math

import pytest
import torch
from robustbench_local.verifiers.log_sum_exp import rest_log_sum_exp
from robustbench_local.verifiers.rules.log_sum_exp import plane_above, plane_below
from robustbench_local.verifiers.rules.softmax import best_level, first_shares, softmax_planes
from robustbench_local.verifiers.sigmoid_lines import sigmoid_above, sigmoid_below
from torch import Tensor

from robustbench_local.verifiers import Interval, find_rule

from ..networks import Fn, box_points, traced, uniform
from .test_products import bilinear_node

SIZES = pytest.mark.parametrize("n", [2, 3, 10])


def boxes(n: int, count: int, spread: float, width: float) -> Interval:
    centre = uniform(n, (count, n), -spread, spread)
    radius = uniform(n + 1, (count, n), 0, width)
    return Interval(centre - radius, centre + radius)


def softmax_interval(box: Interval) -> Interval:
    low = torch.sigmoid(box.lower - rest_log_sum_exp(box.upper))
    return Interval(low, torch.sigmoid(box.upper - rest_log_sum_exp(box.lower)))


def er_bounds(box: Interval, x: Tensor) -> tuple[Tensor, Tensor]:
    """Wei et al. 2023 (arXiv 2303.01713): bounds at x by exponential and reciprocal."""
    gap = x.unsqueeze(-2) - x.unsqueeze(-1)  # entry (i, j): x_j - x_i
    low = box.lower.unsqueeze(-2) - box.upper.unsqueeze(-1)
    high = box.upper.unsqueeze(-2) - box.lower.unsqueeze(-1)
    share = (gap - low) / (high - low)
    chords = torch.exp(low) + (torch.exp(high) - torch.exp(low)) * share
    own = torch.eye(x.shape[-1], dtype=torch.bool)
    p = softmax_interval(box)
    lower = 1 / (1 + chords.masked_fill(own, 0.0).sum(-1))
    return lower, p.lower + p.upper - p.lower * p.upper * torch.exp(gap).sum(-1)


def lse_bounds(box: Interval, x: Tensor) -> tuple[Tensor, Tensor]:
    """Wei et al. 2023: bounds at x by log-sum-exp."""
    share = (x - box.lower) / (box.upper - box.lower)
    chords = torch.exp(box.lower) + (torch.exp(box.upper) - torch.exp(box.lower)) * share
    p = softmax_interval(box)
    start, end = p.lower.log(), p.upper.log()
    rise = (p.upper - p.lower) / (end - start)
    upper = p.lower + rise * (x - torch.logsumexp(x, -1, keepdim=True) - start)
    return torch.exp(x) / chords.sum(-1, keepdim=True), upper


@SIZES
@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("width", [0.2, 1.0, 3.0])
def test_planes_are_at_least_as_tight_as_the_published_bounds(n: int, spread: float, width: float) -> None:
    """At the box's centre, where a plane takes its mean over the box.

    The oracles are not linear yet: the published planes are their tangents, at the centre no better.
    """
    box = boxes(n, 1000, spread, width)
    middle = (box.lower + box.upper) / 2
    lower, upper = (p.at(middle) for p in softmax_planes(box, first_shares(box)))
    true = torch.softmax(middle, -1)
    gaps = []
    for low, high in (er_bounds(box, middle), lse_bounds(box, middle)):
        assert bool((low <= true + 1e-12).all() and (true <= high + 1e-12).all())
        assert bool((lower >= low - 1e-12).all() and (upper <= high + 1e-12).all())
        gaps.append(float((high - low).mean()))
    assert float((upper - lower).mean()) < (0.9 if n < 10 else 1.0) * min(gaps)


@SIZES
def test_planes_enclose_softmax(n: int) -> None:
    for width in (1e-9, 0.5, 5.0, 100.0):
        box = boxes(n, 200, 3.0, width)
        x = box_points(box.lower, box.upper, 100)
        y = torch.softmax(x, -1)
        lower, upper = softmax_planes(box, first_shares(box))
        assert bool((lower.at(x) <= y + 1e-12).all() and (y <= upper.at(x) + 1e-12).all())
        p = softmax_interval(box)
        assert bool((p.lower <= y + 1e-12).all() and (y <= p.upper + 1e-12).all())


def test_the_level_of_a_row_is_the_best() -> None:
    """min sum a_i p_i over low <= p <= high with sum 1 is the maximum over all levels."""
    a, low = uniform(1, (200, 6)), uniform(2, (200, 6), 0, 0.15)
    high = low + uniform(3, (200, 6), 0.05, 0.4)
    high = torch.maximum(high, high / high.sum(1, keepdim=True) * 1.01)

    def dual(level: Tensor) -> Tensor:
        rest = a - level
        return level.squeeze(1) + (rest.clamp(min=0) * low + rest.clamp(max=0) * high).sum(1)

    every = torch.stack([dual(a[:, i : i + 1]) for i in range(6)]).amax(0)
    torch.testing.assert_close(dual(best_level(a, low, high)), every)


def test_rows_use_the_sum_of_probabilities() -> None:
    node = bilinear_node("softmax")
    assert node is not None
    box = boxes(4, 20, 1.0, 2.0)
    rule, read = find_rule(node), {node.inputs[0]: box}
    pulled = rule.backward(node, torch.ones(20, 1, 4, dtype=torch.float64), read)
    assert pulled.offset is not None
    assert float(pulled.coefficients[0].abs().amax()) < 1e-12
    torch.testing.assert_close(pulled.offset, torch.ones_like(pulled.offset))
    # never below the best of the separate planes, over the box
    a = uniform(5, (20, 8, 4)) + 3
    lower, upper = softmax_planes(box.unsqueeze(1), first_shares(box.unsqueeze(1)))
    negative = a.clamp(max=0)
    plain = lower.pull(a - negative)[1] + upper.pull(negative)[1]
    slopes = lower.pull(a - negative)[0] + upper.pull(negative)[0]
    middle = torch.lerp(box.lower, box.upper, 0.5).unsqueeze(1)
    pulled = rule.backward(node, a, read)
    assert pulled.offset is not None
    joint = pulled.offset + (pulled.coefficients[0] * middle).sum(-1)
    assert bool((joint >= plain + (slopes * middle).sum(-1) - 1e-12).all())
    assert float((joint - plain - (slopes * middle).sum(-1)).mean()) > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_huge_boxes_and_masks_stay_finite(dtype: torch.dtype) -> None:
    lower = torch.tensor([[-100.0, -1e9, -100.0], [-3.0, 200.0, 0.0]], dtype=dtype)
    box = Interval(lower, torch.tensor([[100.0, -1e9, 100.0], [3.0, 300.0, 0.0]], dtype=dtype))
    x = box_points(box.lower, box.upper, 50)
    y, slack = torch.softmax(x, -1), 2000 * torch.finfo(dtype).eps  # terms of size 100 cancel
    for share in (0.0, 0.5, 1.0):
        lower_plane, upper_plane = softmax_planes(box, (torch.full_like(lower, share),) * 4)
        low, high = lower_plane.at(x), upper_plane.at(x)
        assert bool((torch.isfinite(low) & torch.isfinite(high)).all())
        assert bool((low <= y + slack).all() and (y <= high + slack).all())


def test_differences_of_log_softmax_are_exact() -> None:
    node = bilinear_node("log_softmax")
    assert node is not None
    box = boxes(4, 3, 2.0, 3.0)
    a = torch.tensor([1.0, 0, -1, 0], dtype=torch.float64).expand(3, 1, 4)
    pulled = find_rule(node).backward(node, a, {node.inputs[0]: box})
    torch.testing.assert_close(pulled.coefficients[0], a)
    assert pulled.offset is not None and float(pulled.offset.abs().amax()) < 1e-12


def test_log_sum_exp_of_two_meets_its_corners() -> None:
    """log(exp x + exp y) = x + softplus(y - x): above lies a chord of softplus, touching at two corners."""
    box = boxes(2, 100, 2.0, 3.0)
    slope, constant = plane_above(box, torch.full_like(box.lower[:, :1], 0.5))
    corners = torch.stack(
        [torch.stack((a[:, 0], b[:, 1]), 1) for a in (box.lower, box.upper) for b in (box.lower, box.upper)]
    )
    gap = (slope * corners).sum(-1) + constant.squeeze(-1) - corners.logsumexp(-1)
    assert bool((gap >= -1e-12).all()) and float(gap.sort(0).values[1].abs().amax()) < 1e-9
    below, offset = plane_below(box, torch.full_like(box.lower, 0.5))
    middle = torch.lerp(box.lower, box.upper, 0.5)
    torch.testing.assert_close((below * middle).sum(-1) + offset.squeeze(-1), middle.logsumexp(-1))


def test_softmax_by_hand() -> None:
    graph = traced(Fn(lambda x: torch.softmax(x, -1)), 2)
    rule, node = find_rule(graph.output), graph.output
    box = Interval(torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]]))
    found = rule.interval(node, box)
    torch.testing.assert_close(found.lower, torch.tensor([[1 / 2, 1 / 4]]))
    torch.testing.assert_close(found.upper, torch.tensor([[3 / 4, 1 / 2]]))
    # p_1 = sigmoid(x_1) is concave here: the chord from 1/2 to 3/4
    pulled = rule.backward(node, torch.tensor([[[1.0, 0.0]]]), {graph.input: box})
    assert pulled.offset is not None
    torch.testing.assert_close(pulled.coefficients[0], torch.tensor([[[1.0, -1.0]]]) / (4 * math.log(3)))
    torch.testing.assert_close(pulled.offset, torch.tensor([[0.5]]))


def test_lines_of_the_sigmoid() -> None:
    centre, width = uniform(1, (300,), -30, 30), 10 ** uniform(2, (300,), -9, 2)
    low, high = centre - width / 2, centre + width / 2
    x = low + torch.linspace(0, 1, 101, dtype=torch.float64).unsqueeze(1) * (high - low)
    y = torch.sigmoid(x)
    for share in (0.0, 0.3, 1.0):
        position = torch.full_like(low, share)
        below, above = (form(low, high, position) for form in (sigmoid_below, sigmoid_above))
        for (slope, offset), sign in ((below, 1), (above, -1)):
            line = slope * x + offset
            assert bool((slope >= 0).all() and (sign * (line - y) <= 1e-13).all())
            assert bool((sign * (y - line)).amin(0).le(1e-3).all()), "touches somewhere"

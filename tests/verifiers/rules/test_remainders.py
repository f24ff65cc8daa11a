"""Remainders around their jumps, whose places are rounded; running extremes and nan_to_num by hand."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from robustbench_local.specs import Box
from robustbench_local.verifiers import CROWN, IBP, Graph, interval_bounds, output_bounds

from ..networks import Fn, traced

OPERATORS = {"remainder": torch.remainder, "fmod": torch.fmod}
SIZES = st.floats(0.01, 50.0) | st.sampled_from([1 / 3, 0.1, 0.25, 3.0, math.pi])


def near(place: Tensor) -> Tensor:
    """The float, and two on either side."""
    points = [place]
    for end in (torch.full_like(place, -torch.inf), torch.full_like(place, torch.inf)):
        one = torch.nextafter(place, end)
        points += [one, torch.nextafter(one, end)]
    return torch.stack(points)


@cache
def dividing(name: str, dtype: torch.dtype) -> tuple[Fn, Graph]:
    """x over a parameter, and its graph, which reads the parameter live."""
    operator = OPERATORS[name]
    network = Fn(lambda x, d: operator(x, d), torch.ones(1)).to(dtype).requires_grad_(False)
    return network, traced(network, 1, dtype=dtype)


@pytest.mark.parametrize("name", OPERATORS)
@given(size=SIZES, sign=st.sampled_from([-1.0, 1.0]), first=st.integers(-40, 40), count=st.integers(0, 3))
def test_boxes_that_end_at_multiples_enclose_all_floats_around_them(
    name: str, size: float, sign: float, first: int, count: int
) -> None:
    for dtype in (torch.float32, torch.float64):
        network, graph = dividing(name, dtype)
        divisor = network.get_parameter("part0").fill_(sign * size)
        place = float(first) * divisor.abs()
        starts, far = near(place), near(place + count * divisor.abs())
        lower, upper = (t.flatten() for t in torch.meshgrid(starts.flatten(), far.flatten(), indexing="ij"))
        lower, upper = torch.minimum(lower, upper), torch.maximum(lower, upper)
        inside = [near(place + k * divisor.abs() / 2) for k in range(2 * count + 1)]
        points = torch.cat((starts, far, *inside)).flatten()
        held = (points >= lower.unsqueeze(1)) & (points <= upper.unsqueeze(1))
        y = OPERATORS[name](points, divisor).expand(held.shape)
        slack = 64 * torch.finfo(dtype).eps * (lower.abs() + upper.abs() + size).unsqueeze(1)
        for engine in (IBP(), CROWN(intersect=False)):
            low, high = output_bounds(graph, lower.unsqueeze(1), upper.unsqueeze(1), engine)
            assert bool(((low - slack <= y) & (y <= high + slack))[held].all()), engine.name


def test_a_tooth_is_a_line() -> None:
    graph = traced(Fn(lambda x: x % 0.75), 1)
    lower, upper = torch.tensor([[0.1], [-0.7], [0.75]]), torch.tensor([[0.7], [-0.1], [0.8]])
    for engine in (IBP(), CROWN(intersect=False)):
        low, high = output_bounds(graph, lower, upper, engine)
        torch.testing.assert_close(low, lower % 0.75)
        torch.testing.assert_close(high, upper % 0.75)
    whole = output_bounds(graph, torch.tensor([[0.7]]), torch.tensor([[0.8]]), IBP())
    torch.testing.assert_close(torch.stack(whole).flatten(), torch.tensor([0.0, 0.75]))


def test_a_running_maximum_by_hand() -> None:
    """x in [0, 1] x [2, 3] x [0, 1]: the second entry wins from its place on."""
    graph = traced(Fn(lambda x: x.cummax(1).values), 3)
    low, high = torch.tensor([[0.0, 2.0, 0.0]]), torch.tensor([[1.0, 3.0, 1.0]])
    for engine in (IBP(), CROWN(intersect=False)):
        found = output_bounds(graph, low, high, engine)
        torch.testing.assert_close(torch.cat(found), torch.tensor([[0.0, 2.0, 2.0], [1.0, 3.0, 3.0]]))
    C = torch.tensor([[0.0, 1.0, -1.0]])  # second and third output are the same entry
    found = output_bounds(graph, low, high, CROWN(intersect=False), C)
    torch.testing.assert_close(torch.cat(found), torch.zeros(2, 1))


def test_bounds_that_are_not_finite_tell_nothing_behind_nan_to_num() -> None:
    graph = traced(Fn(lambda x: torch.nan_to_num(x * 1e30, posinf=0.0, neginf=0.0)), 2)
    box = Box(torch.tensor([[-1e30, -1.0]]), torch.tensor([[1.0, 1.0]]))
    found = interval_bounds(graph, box)[graph.output]
    assert bool(found.lower[0, 0].isnan() and found.upper[0, 0].isnan())
    assert bool(found.lower[0, 1].isfinite() and found.upper[0, 1].isfinite())

"""Resampled images: exact ranges, planes that enclose for any parameters and touch, by dense sampling."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.verifiers.resampling import Frame, Window
from torch import Tensor
from torch.nn import functional as F

from robustbench_local.verifiers import (
    VERIFIERS,
    Forward,
    Graph,
    Interval,
    find_rule,
    output_bounds,
)

from ..networks import Fn, traced, uniform

FRAMES = st.builds(Frame, st.integers(1, 6), st.integers(1, 6), st.booleans(), st.booleans())
WIDTHS = (0.0, 1e-9, 1e-3, 0.3, 1.5, 4.0)


def boxes(frame: Frame, seed: int, spread: float, channels: int = 2) -> tuple[Interval, Interval]:
    """An image's bounds (6, channels, H, W), and a grid's (6, 1, 5, 2): rows of places of each width."""
    low = uniform(seed, (6, channels, frame.height, frame.width))
    image = Interval(low, low + spread * uniform(seed + 1, low.shape, 0, 1))
    near = 1.6 * uniform(seed + 2, (6, 1, 5, 2))
    near[:, :, 0] = 2 * (near[:, :, 0]).round() / 2  # edges of the image
    width = torch.tensor(WIDTHS, dtype=near.dtype).reshape(6, 1, 1, 1) * uniform(seed + 3, near.shape, 0, 1)
    return image, Interval(near - width / 2, near + width / 2)


def read(image: Tensor, grid: Tensor, frame: Frame) -> Tensor:
    """torch's own interpolation, (B, C, P)."""
    padding = "zeros" if frame.zeros else "border"
    return F.grid_sample(image, grid, padding_mode=padding, align_corners=frame.aligned).flatten(2)


def corners(grid: Interval, frame: Frame) -> Tensor:
    """Places (N, B, 1, P, 2): both ends of every interval and every pixel's middle between, all pairs."""
    axes = []
    for i, length in enumerate((frame.width, frame.height)):
        pixels = torch.arange(-1, length + 1, dtype=torch.float64)
        scale, shift = frame.axis(bool(i))
        shift -= 1 if frame.zeros else 0
        middles = (pixels - shift) / scale if scale else pixels * 0
        lower, upper = grid.lower[..., i], grid.upper[..., i]
        inner = middles.reshape(-1, 1, 1, 1).expand(-1, *lower.shape)
        axes.append(torch.cat((lower[None], torch.minimum(torch.maximum(inner, lower), upper), upper[None])))
    across, down = torch.broadcast_tensors(axes[0][:, None], axes[1][None])
    return torch.stack((across, down), -1).flatten(0, 1)


@settings(max_examples=60, deadline=None)
@given(frame=FRAMES, seed=st.integers(0, 10**6), spread=st.sampled_from((0.0, 0.5)))
def test_the_interval_is_the_exact_range(frame: Frame, seed: int, spread: float) -> None:
    image, grid = boxes(frame, seed, spread)
    found = Window.of(image, grid, frame).interval()
    places = corners(grid, frame)
    low = torch.stack([read(image.lower, p, frame) for p in places]).amin(0)
    high = torch.stack([read(image.upper, p, frame) for p in places]).amax(0)
    torch.testing.assert_close(found.lower.squeeze(1), low, rtol=0, atol=1e-11)
    torch.testing.assert_close(found.upper.squeeze(1), high, rtol=0, atol=1e-11)
    assert bool((found.lower.squeeze(1) <= low).all() and (found.upper.squeeze(1) >= high).all())


@settings(max_examples=60, deadline=None)
@given(frame=FRAMES, seed=st.integers(0, 10**6), spread=st.sampled_from((0.0, 0.5)), own=st.booleans())
def test_planes_enclose_and_touch(frame: Frame, seed: int, spread: float, own: bool) -> None:
    """For the rule's own parameters and for any others; with a known image they touch the function."""
    image, grid = boxes(frame, seed, spread)
    window = Window.of(image, grid, frame)
    first = window.first()
    assert bool(((first >= 0) & (first <= 1)).all())
    free = (first if own else uniform(seed, first.shape, 0, 1)).unsqueeze(1)
    share = uniform(seed + 5, (20, *grid.lower.shape), 0, 1)
    places = torch.cat((corners(grid, frame), torch.lerp(grid.lower, grid.upper, share)))
    share = uniform(seed + 6, (len(places), *image.lower.shape), 0, 1).round()
    pixels = torch.lerp(image.lower, image.upper, share)
    for side, sign in enumerate((1, -1)):
        plane = window.side(free[:, :, side], sign)
        gaps = []
        for x, place in zip(pixels, places, strict=True):
            value = plane.across * place[..., 0].unsqueeze(1) + plane.down * place[..., 1].unsqueeze(1)
            value = value + plane.offset
            if plane.weights is not None:
                flat = frame.framed(x).flatten(2)
                index = window.index().flatten(0, 1).unsqueeze(2).expand(-1, -1, 2, -1)
                found = torch.stack([flat.gather(2, i) for i in index]).unsqueeze(2)
                value = value + (plane.weights.flatten(0, 1) * found).sum(0)
            gaps.append(sign * read(x, place, frame) - value.squeeze(1))
        gap = torch.stack(gaps).amin(0)
        assert bool((gap >= 0).all())
        if spread == 0:
            assert bool((gap <= 1e-10).all()), "the plane touches at a corner"


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), spread=st.sampled_from((0.0, 0.3)), width=st.sampled_from((0.01, 0.4)))
def test_forward_bounds_enclose_sums_of_pixels(seed: int, spread: float, width: float) -> None:
    """Sums over places show errors that single places hide; both padded images, shared symbols."""
    graph = both()
    low = uniform(seed, (3, 36 + 18), -1, 1)
    high = low + uniform(seed + 1, low.shape, 0, 1) * torch.tensor([spread] * 36 + [width] * 18)
    C = uniform(seed + 2, (4, graph.output.numel))
    points = torch.lerp(low, high, uniform(seed + 3, (200, *low.shape), 0, 1).pow(0.3))
    y = graph.run(points.flatten(0, 1)).flatten(1).unflatten(0, points.shape[:2]) @ C.T
    for symbols in (0, 40):
        least, most = output_bounds(graph, low, high, Forward(symbols=symbols), C)
        assert bool((least <= y + 1e-9).all() and (y <= most + 1e-9).all())
    simple = output_bounds(graph, low, high, VERIFIERS["ibp"], C)
    assert bool((most - least <= simple[1] - simple[0] + 1e-9).all())


@cache
def both() -> Graph:
    """Two channels of 3 x 6 pixels read at nine places, with zeros and with the border, added."""

    def network(x: Tensor) -> Tensor:
        image, grid = x[:, :36].reshape(-1, 2, 3, 6), x[:, 36:].reshape(-1, 3, 3, 2)
        near = F.grid_sample(image, grid, padding_mode="border", align_corners=True)
        return near + F.grid_sample(image, grid.flip(1), align_corners=False)

    return traced(Fn(network).double(), 54, dtype=torch.float64)


def line(low: float, high: float) -> Window:
    """One row of the pixels 0, 1, 0, at -1, 0, 1, read between two places."""
    image = torch.tensor([[[[0.0, 1.0, 0.0]]]], dtype=torch.float64)
    ends = (torch.tensor([[[[end, 0.0]]]], dtype=torch.float64) for end in (low, high))
    return Window.of(Interval(image, image), Interval(*ends), Frame(1, 3, zeros=False, aligned=True))


def test_planes_by_hand() -> None:
    """A roof has flat planes; on its left side everything is exact."""
    roof, slope = line(-0.5, 0.5), line(-1.0, 0.0)
    found = roof.interval()
    assert float(found.lower) == pytest.approx(0.5) and float(found.upper) == pytest.approx(1.0)
    for window, sign, expected in ((roof, 1, (0.0, 0.5)), (roof, -1, (0.0, -1.0)), (slope, 1, (1.0, 1.0))):
        plane = window.side(window.first()[:, (1 - sign) // 2].unsqueeze(1), sign)
        assert (float(plane.across), float(plane.offset)) == pytest.approx(expected)


def test_a_sample_does_not_depend_on_its_batch() -> None:
    frame = Frame(6, 5, zeros=True, aligned=False)
    image, grid = boxes(frame, 3, 0.2)
    whole = Window.of(image, grid, frame)
    free = whole.first().unsqueeze(1)
    for b in range(6):
        part = Window.of(image.select(torch.tensor([b])), grid.select(torch.tensor([b])), frame)
        assert torch.equal(part.interval().lower, whole.interval().lower[b : b + 1])
        one, all_ = part.side(part.first().unsqueeze(1)[:, :, 0], 1), whole.side(free[:, :, 0], 1)
        torch.testing.assert_close(one.across, all_.across[b : b + 1], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(one.offset, all_.offset[b : b + 1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bad", (math.nan, math.inf, -math.inf))
def test_unknown_places_prove_nothing(bad: float) -> None:
    def network(x: Tensor, image: Tensor) -> Tensor:
        return F.grid_sample(image.expand(x.shape[0], -1, -1, -1), x, align_corners=False)

    graph = traced(Fn(network, torch.zeros(1, 1, 4, 4)), 2, 2, 2).resolved()
    low = torch.zeros(1, 2, 2, 2)
    high = low.clone()
    (high if bad != -math.inf else low)[0, 0, 0, 1] = bad
    node = graph.output
    found = find_rule(node).interval(node, Interval(low, high))
    unknown = torch.tensor([[[[True, False], [False, False]]]])
    assert torch.equal(found.lower.isnan(), unknown) and torch.equal(found.upper.isnan(), unknown)
    pulled = find_rule(node).backward(node, torch.ones(1, 1, 1, 2, 2), {graph.input: Interval(low, high)})
    assert pulled.offset is not None and bool(pulled.offset.isnan().all())


def test_wide_places_get_the_range_of_all_pixels() -> None:
    image = uniform(1, (1, 2, 12, 12))
    grid = Interval(torch.full((1, 1, 1, 2), -0.9).double(), torch.full((1, 1, 1, 2), 0.9).double())
    found = Window.of(Interval(image, image), grid, Frame(12, 12, zeros=False, aligned=False)).interval()
    torch.testing.assert_close(found.lower.flatten(), image.flatten(2).amin(2).flatten(), rtol=0, atol=0)
    torch.testing.assert_close(found.upper.flatten(), image.flatten(2).amax(2).flatten(), rtol=0, atol=0)

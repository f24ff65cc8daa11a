"""Blurs against sums written out, and what they leave unchanged."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.specs.transforms.blur import gaussian_blur, motion_blur
from torch import Tensor
from torch.nn import functional as F


def images(batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand((batch, 2, 5, 6), generator=generator, dtype=torch.float64)


def number(*value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def weighted(image: Tensor, kernel: Tensor, border: bool) -> Tensor:
    """The image under a kernel (2 r + 1, 2 r + 1), each channel by itself."""
    radius = kernel.shape[0] // 2
    padded = F.pad(image, (radius,) * 4, mode="replicate" if border else "constant")
    return F.conv2d(padded, kernel.expand(2, 1, *kernel.shape), groups=2)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.2, 5), st.integers(0, 3), st.booleans())
def test_gaussian_weights(sigma: float, radius: int, border: bool) -> None:
    line = number(*(math.exp(-(k**2) / (2 * sigma**2)) for k in range(-radius, radius + 1)))
    kernel = torch.outer(line, line)
    image = images(1)
    found = gaussian_blur(image, number(sigma), radius=radius, border=border)
    torch.testing.assert_close(found, weighted(image, kernel / kernel.sum(), border))


@settings(max_examples=50, deadline=None)
@given(st.floats(0.5, 5), st.sampled_from(((0, 1), (1, 0), (1, 1), (1, -1))), st.booleans())
def test_strokes(length: float, direction: tuple[int, int], border: bool) -> None:
    kernel = torch.zeros(5, 5, dtype=torch.float64)
    half = max(length, 1.0) / 2
    for k in range(-2, 3):
        covered = max(0.0, min(half, k + 0.5) - max(-half, k - 0.5))
        kernel[2 + k * direction[0], 2 + k * direction[1]] += covered / (2 * half)
    found = motion_blur(images(1), number(length), direction=direction, border=border)
    torch.testing.assert_close(found, weighted(images(1), kernel, border))


@pytest.mark.parametrize("border", (False, True))
def test_weak_blurs_change_nothing_and_images_stay_apart(border: bool) -> None:
    image = images()
    torch.testing.assert_close(gaussian_blur(image, number(0.05, 0.05), border=border), image)
    torch.testing.assert_close(motion_blur(image, number(1.0, 0.0), border=border), image)
    both = gaussian_blur(image, number(0.5, 1.5), border=border)
    torch.testing.assert_close(both[1:], gaussian_blur(image[1:], number(1.5), border=border))
    if border:
        flat = torch.full_like(image, 0.3)
        torch.testing.assert_close(gaussian_blur(flat, number(1.0, 2.0), border=True), flat)

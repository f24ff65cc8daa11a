"""Colours against the standard library's, intensities against their formulas."""

from __future__ import annotations

import colorsys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.specs.transforms.colour import hue, saturation
from robustbench_local.specs.transforms.intensity import bias_field, brightness, contrast, gamma
from torch import Tensor

from robustbench_local.errors import ShapeError

LEVELS = st.sampled_from((0.0, 0.25, 0.5, 1.0)) | st.floats(0, 1, width=32)
COLOURS = st.tuples(LEVELS, LEVELS, LEVELS)


def pixel(*colour: float) -> Tensor:
    return torch.tensor(colour, dtype=torch.float64).reshape(1, -1, 1, 1)


def number(*value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


@settings(max_examples=300, deadline=None)
@given(COLOURS, st.floats(-180, 180))
def test_hue_equals_the_standard_librarys(colour: tuple[float, float, float], degrees: float) -> None:
    h, s, v = colorsys.rgb_to_hsv(*colour)
    expected = colorsys.hsv_to_rgb((h + degrees / 360) % 1, s, v)
    torch.testing.assert_close(hue(pixel(*colour), number(degrees)), pixel(*expected), rtol=0, atol=1e-9)


def test_turned_primaries() -> None:
    red = pixel(1.0, 0.0, 0.0)
    for degrees, expected in ((120.0, (0.0, 1.0, 0.0)), (-120.0, (0.0, 0.0, 1.0)), (60.0, (1.0, 1.0, 0.0))):
        torch.testing.assert_close(hue(red, number(degrees)), pixel(*expected))


@given(COLOURS, st.floats(0, 3))
def test_saturation_keeps_the_luma(colour: tuple[float, float, float], factor: float) -> None:
    luma = number(0.299, 0.587, 0.114)
    image = pixel(*colour)
    found = saturation(image, number(factor))
    torch.testing.assert_close((found.flatten() * luma).sum(), (image.flatten() * luma).sum())
    torch.testing.assert_close(saturation(image, number(1.0)), image)
    grey = saturation(image, number(0.0)).flatten()
    torch.testing.assert_close(grey, grey[:1].expand(3))


def test_intensities_by_their_formulas() -> None:
    image = torch.rand((3, 2, 4, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = number(0.1, -0.2, 0.7)
    wide = p.reshape(3, 1, 1, 1)
    torch.testing.assert_close(brightness(image, p), image + wide)
    torch.testing.assert_close(contrast(image, p), 0.5 + wide * (image - 0.5))
    torch.testing.assert_close(contrast(image, p, pivot=0.0), wide * image)
    exponent = number(0.5, 1.0, 2.2)
    above = image.clamp(min=1 / 256)
    torch.testing.assert_close(gamma(above, exponent), above ** exponent.reshape(3, 1, 1, 1))
    assert bool((gamma(torch.zeros_like(image), exponent) == 0).all())
    low = torch.full_like(image, 1 / 512)
    torch.testing.assert_close(gamma(low, exponent), 0.5 * (low * 2) ** exponent.reshape(3, 1, 1, 1))


def test_bias_fields_are_polynomials_of_the_place() -> None:
    image = torch.rand((1, 2, 3, 5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(bias_field(image, number(1, 0, 0, 0, 0, 0).unsqueeze(0)), image)
    found = bias_field(torch.ones_like(image), number(1, 2, 3, 4, 5, 6).unsqueeze(0))
    y, x = (torch.linspace(-1, 1, n, dtype=torch.float64) for n in (3, 5))
    y, x = y.unsqueeze(1), x.unsqueeze(0)
    expected = 1 + 2 * x + 3 * y + 4 * x * x + 5 * x * y + 6 * y * y
    torch.testing.assert_close(found, expected.expand(1, 2, 3, 5))


def test_wrong_arguments_say_what_fits() -> None:
    image = torch.zeros(1, 2, 3, 3)
    with pytest.raises(ShapeError, match="2 channels"):
        hue(image, torch.zeros(1))
    with pytest.raises(ShapeError, match="1, 3, 6, 10"):
        bias_field(image, torch.zeros(1, 4))
    with pytest.raises(ShapeError, match="shift"):
        brightness(image, torch.zeros(()))

"""Geometric transformations against scipy's interpolation, exact moves, and their derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from robustbench_local.specs.transforms.geometry import affine, rotate, scale, shear, translate
from scipy import ndimage
from torch import Tensor

from robustbench_local.errors import DtypeError, ShapeError

REAL = st.floats(-1, 1, width=32)


def images(seed: int, batch: int = 1, height: int = 5, width: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((batch, 2, height, width), generator=generator, dtype=torch.float64)


def number(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64)


def by_scipy(image: Tensor, inverse: np.ndarray, shift: tuple[float, float], border: bool) -> Tensor:
    """The image read at inverse @ (y, x) - shift, counted from the centre."""
    centre = (np.array(image.shape[-2:]) - 1) / 2
    offset = centre - inverse @ centre - np.array(shift)
    mode = "nearest" if border else "grid-constant"
    found = [
        ndimage.affine_transform(c.numpy(), inverse, offset, order=1, mode=mode, prefilter=False)
        for c in image[0]
    ]
    return torch.from_numpy(np.stack(found)).unsqueeze(0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 99), st.tuples(*[REAL] * 6), st.booleans(), st.integers(1, 7), st.integers(1, 7))
def test_one_resampling_equals_scipys(
    seed: int, p: tuple[float, ...], border: bool, height: int, width: int
) -> None:
    image = images(seed, height=height, width=width)
    angle, factor = 180 * p[0], math.exp(p[1] / 2)
    c, s = math.cos(math.radians(angle)) / factor, math.sin(math.radians(angle)) / factor
    turn = np.array([[c, s], [-s, c]])  # acts on (y, x)
    slant = np.array([[1, -p[3]], [-p[2], 1]])
    found = affine(
        image,
        angle=number(angle),
        factor=number(factor),
        horizontal=number(p[2]),
        vertical=number(p[3]),
        right=number(2 * p[4]),
        down=number(2 * p[5]),
        border=border,
    )
    expected = by_scipy(image, slant @ turn, (2 * p[5], 2 * p[4]), border)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("border", (False, True))
def test_exact_moves(border: bool) -> None:
    image = images(1)
    for angle, turns in ((0.0, 0), (90.0, 1), (180.0, 2), (-90.0, 3)):
        square = image[..., :5]
        torch.testing.assert_close(
            rotate(square, number(angle), border=border), torch.rot90(square, turns, (2, 3))
        )
    moved = translate(image, number(2.0), number(-1.0), border=border)
    torch.testing.assert_close(moved[..., :-1, 2:], image[..., 1:, :-2])
    edge = image[..., 1:, :1].expand(-1, -1, -1, 2) if border else torch.zeros(1, 2, 4, 2)
    torch.testing.assert_close(moved[..., :-1, :2], edge.double())
    for same in (scale(image, number(1.0)), shear(image, number(0.0)), affine(image)):
        torch.testing.assert_close(same, image)
    slanted = shear(image, number(1.0), border=border)  # row r moves r - 2 pixels to the right
    torch.testing.assert_close(slanted[..., 4, 2:], image[..., 4, :-2])
    torch.testing.assert_close(slanted[..., 0, :-2], image[..., 0, 2:])


def test_every_image_has_its_own_parameters() -> None:
    image, angle = images(2, batch=3), torch.tensor([5.0, -20.0, 0.0], dtype=torch.float64)
    together = rotate(image, angle)
    for b in range(3):
        torch.testing.assert_close(together[b : b + 1], rotate(image[b : b + 1], angle[b : b + 1]))


def test_derivatives_by_image_and_parameters() -> None:
    image = images(3).requires_grad_()
    parameters = [number(v).requires_grad_() for v in (7.3, 1.13, 0.07, 0.11, 0.23, -0.31)]

    def whole(image: Tensor, *p: Tensor) -> Tensor:
        return affine(image, angle=p[0], factor=p[1], horizontal=p[2], vertical=p[3], right=p[4], down=p[5])

    assert torch.autograd.gradcheck(whole, (image, *parameters))


def test_wrong_arguments_say_what_fits() -> None:
    image = images(1)
    with pytest.raises(ShapeError, match="angle has shape"):
        rotate(image, torch.zeros(1, 1))
    with pytest.raises(ShapeError, match=r"\(B, channels, height, width\)"):
        translate(image[0], number(0.0), number(0.0))
    with pytest.raises(DtypeError):
        scale(image.long(), number(1.0))

"""Rotation, scaling, shear and translation of images by bilinear interpolation, in one resampling.

The output at (x, y), counted in pixels from the image's centre, x to the right and y down, is the input at

    (a - horizontal b - right, b - vertical a - down)   with   (a, b) = r (cos, sin)(angle + phase) / factor

and (r, phase) the polar coordinates of (x, y): first translated, then sheared, enlarged and rotated about the
centre. One cosine of the angle per coordinate, not cos x - sin y, so that interval bounds of the places are
exact. The interpolation is torch's `grid_sample` with align_corners=False. Such specifications: Balunovic et
al. 2019 (DeepG, NeurIPS), Mohapatra et al. 2020 (Semantify-NN, arXiv 1912.09533).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from .arguments import check_images, per_sample

__all__ = ["affine", "rotate", "scale", "shear", "translate"]


def affine(
    image: Tensor,
    *,
    angle: Tensor | None = None,
    factor: Tensor | None = None,
    horizontal: Tensor | None = None,
    vertical: Tensor | None = None,
    right: Tensor | None = None,
    down: Tensor | None = None,
    border: bool = False,
) -> Tensor:
    """The images (B or 1, C, H, W) translated, sheared, enlarged, rotated; each parameter (B,), or left out.

    angle: degrees counter-clockwise; factor > 0, above one enlarges; horizontal, vertical: pixels of shift
    per pixel of distance from the centre; right, down: pixels. Outside the image everything is zero; with
    `border` as at the nearest edge. Raises ShapeError or DtypeError.
    """
    check_images(image)
    moved = _places(image).unsqueeze(0)
    if angle is not None:
        radius, phase = _polar(moved)
        moved = radius * torch.cos(per_sample(angle, "angle") * (math.pi / 180) + phase)
    if factor is not None:
        moved = moved * per_sample(factor, "factor").reciprocal()
    slant = _pair(("horizontal", horizontal), ("vertical", vertical), image)
    if slant is not None:
        moved = moved - slant * moved.flip(-1)
    shift = _pair(("right", right), ("down", down), image)
    if shift is not None:
        moved = moved - shift
    height, width = image.shape[-2:]
    grid = moved * torch.tensor([2 / width, 2 / height], dtype=image.dtype, device=image.device)
    if image.shape[0] == 1:  # one image for all parameters
        image = image.expand(grid.shape[0], -1, -1, -1)
    else:
        grid = grid.expand(image.shape[0], -1, -1, -1)
    mode = "border" if border else "zeros"
    return functional.grid_sample(image, grid, padding_mode=mode, align_corners=False)


def rotate(image: Tensor, angle: Tensor, *, border: bool = False) -> Tensor:
    """The images (B, C, H, W) rotated about their centre by angle (B,), degrees counter-clockwise."""
    return affine(image, angle=angle, border=border)


def translate(image: Tensor, right: Tensor, down: Tensor, *, border: bool = False) -> Tensor:
    """The images (B, C, H, W) moved by right and down, (B,) pixels each."""
    return affine(image, right=right, down=down, border=border)


def scale(image: Tensor, factor: Tensor, *, border: bool = False) -> Tensor:
    """The images (B, C, H, W) enlarged about their centre by factor (B,) > 0."""
    return affine(image, factor=factor, border=border)


def shear(image: Tensor, horizontal: Tensor, *, border: bool = False) -> Tensor:
    """The images (B, C, H, W) whose rows move right by horizontal (B,) times their depth below the centre."""
    return affine(image, horizontal=horizontal, border=border)


def _places(image: Tensor) -> Tensor:
    """x and y of every pixel's middle, (H, W, 2)."""
    height, width = image.shape[-2:]
    down, right = (
        torch.arange(n, dtype=image.dtype, device=image.device) - (n - 1) / 2 for n in (height, width)
    )
    return torch.stack((right.expand(height, width), down.unsqueeze(1).expand(height, width)), -1)


def _polar(places: Tensor) -> tuple[Tensor, Tensor]:
    """Radius and phase whose r cos(phase) are x and y: (1, H, W, 1) and (1, H, W, 2)."""
    x, y = places.unbind(-1)
    phase = torch.atan2(y, x)
    return torch.hypot(x, y).unsqueeze(-1), torch.stack((phase, phase - math.pi / 2), -1)


def _pair(
    first: tuple[str, Tensor | None], second: tuple[str, Tensor | None], image: Tensor
) -> Tensor | None:
    """Parameters (B,) of x and of y as (B, 1, 1, 2), with zero for one that is missing."""
    pair: Tensor | None = None
    for unit, (name, parameter) in zip(((1.0, 0.0), (0.0, 1.0)), (first, second), strict=True):
        if parameter is not None:
            part = per_sample(parameter, name) * torch.tensor(unit, dtype=image.dtype, device=image.device)
            pair = part if pair is None else pair + part
    return pair

"""Blurs whose strength is a parameter: Gaussian, and motion along a line of pixels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .arguments import check_images, per_sample

__all__ = ["gaussian_blur", "motion_blur"]


def gaussian_blur(image: Tensor, sigma: Tensor, *, radius: int = 2, border: bool = False) -> Tensor:
    """The images (B, C, H, W) smoothed by a Gaussian of standard deviation sigma (B,) > 0, in pixels.

    Of the (2 radius + 1)^2 pixels around; the weights sum to one. Outside the image everything is zero; with
    `border` as at the nearest edge.
    """
    check_images(image)
    steps = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    squares = (steps.unsqueeze(1).square() + steps.square()).flatten()
    weights = torch.softmax(per_sample(sigma, "sigma", 1).pow(-2.0) * (-0.5 * squares), 1)
    return _mean(image, _patches(image, radius, border), weights)


def motion_blur(
    image: Tensor,
    length: Tensor,
    *,
    direction: tuple[int, int] = (0, 1),
    radius: int = 2,
    border: bool = False,
) -> Tensor:
    """The images (B, C, H, W) averaged along a stroke of length (B,), in steps, centred at every pixel.

    direction: a step down and right, each -1, 0 or 1. The stroke covers the pixel k steps away with the part
    of [-length / 2, length / 2] that lies in [k - 1/2, k + 1/2]; a length up to 1 changes nothing, and
    2 radius + 1 is the longest. Outside the image everything is zero; with `border` as at the nearest edge.
    """
    check_images(image)
    steps = torch.arange(-radius, radius + 1, device=image.device)
    along = (direction[0] * steps + radius) * (2 * radius + 1) + direction[1] * steps + radius
    stroke = per_sample(length, "length", 1).clamp(min=1.0)
    places = steps.to(image.dtype)
    covered = sum((stroke / 2 + sign * places).clamp(-0.5, 0.5) for sign in (1, -1))
    return _mean(image, _patches(image, radius, border).index_select(2, along), covered / stroke)


def _patches(image: Tensor, radius: int, border: bool) -> Tensor:
    """The (2 radius + 1)^2 pixels around each, (B, C, them, H W)."""
    padded = functional.pad(image, (radius,) * 4, mode="replicate" if border else "constant")
    found = functional.unfold(padded, 2 * radius + 1)
    return found.reshape(-1, image.shape[1], (2 * radius + 1) ** 2, found.shape[-1])


def _mean(image: Tensor, patches: Tensor, weights: Tensor) -> Tensor:
    """Patches (B, C, n, H W) with weights (B, n): (B, C, H, W)."""
    rows = weights.reshape(-1, 1, 1, weights.shape[1])
    return torch.matmul(rows, patches).reshape(-1, *image.shape[1:])

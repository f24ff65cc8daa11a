"""Changes of every pixel's brightness: shift, contrast, gamma, bias fields."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from robustbench_local.errors import ShapeError

from .arguments import check_images, per_sample

__all__ = ["bias_field", "brightness", "contrast", "gamma"]


def brightness(image: Tensor, shift: Tensor) -> Tensor:
    """The images (B, C, H, W) plus shift (B,)."""
    check_images(image)
    return image + per_sample(shift, "shift")


def contrast(image: Tensor, factor: Tensor, *, pivot: float = 0.5) -> Tensor:
    """pivot + factor (image - pivot), for images (B, C, H, W) and factor (B,): `pivot` stays as it is."""
    check_images(image)
    return (image - pivot) * per_sample(factor, "factor") + pivot


def gamma(image: Tensor, exponent: Tensor, *, toe: float = 1 / 256) -> Tensor:
    """image ** exponent, for images (B, C, H, W) in [0, 1] and exponent (B,) > 0.

    Below `toe` > 0 the power is replaced by the straight line from zero to its value there, as in curves for
    displays (IEC 61966-2-1): its slope has no bound at zero.
    """
    check_images(image)
    depth = image.clamp(min=toe).log()
    return image * torch.exp((per_sample(exponent, "exponent") - 1) * depth)


def bias_field(image: Tensor, coefficients: Tensor) -> Tensor:
    """The images (B, C, H, W) times a polynomial of the place, coefficients (B, n).

    x and y run from -1 to 1 between the middles of the corner pixels; the terms are 1, x, y, x^2, xy, y^2
    and so on by degree, so n is 1, 3, 6, 10, ...: coefficients (1, 0, 0, ...) change nothing. Such
    specifications: Henriksen et al. 2021, "Bias field robustness verification of large neural image
    classifiers" (BMVC).
    Raises ShapeError.
    """
    check_images(image)
    count = coefficients.shape[-1]
    degree = (math.isqrt(8 * count + 1) - 3) // 2
    if coefficients.dim() != 2 or count != (degree + 1) * (degree + 2) // 2:
        raise ShapeError(
            f"coefficients have shape {tuple(coefficients.shape)}",
            cure="give (B, n) with n = 1, 3, 6, 10, ...: all terms up to a degree",
        )
    height, width = image.shape[-2:]
    y, x = (torch.linspace(-1, 1, n, dtype=image.dtype, device=image.device) for n in (height, width))
    x, y = x.expand(height, width), y.unsqueeze(1).expand(height, width)
    terms = torch.stack([x ** (d - j) * y**j for d in range(degree + 1) for j in range(d + 1)], -1)
    field = torch.nn.functional.linear(coefficients, terms.flatten(0, 1))
    return image * field.reshape(-1, 1, height, width)

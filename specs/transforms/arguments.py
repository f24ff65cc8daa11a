"""Checks of what every transformation is given: images with a batch axis, parameters one per image."""

from __future__ import annotations

from torch import Tensor

from robustbench_local.errors import DtypeError, ShapeError

__all__ = ["check_colours", "check_images", "per_sample"]


def check_images(image: Tensor) -> None:
    """Raise ShapeError or DtypeError unless `image` is (B, C, H, W) of floating point."""
    if image.dim() != 4:
        raise ShapeError(
            f"the image has shape {tuple(image.shape)}", cure="give images (B, channels, height, width)"
        )
    if not image.is_floating_point():
        raise DtypeError(f"the image is {image.dtype}", cure="give floating point numbers")


def check_colours(image: Tensor) -> None:
    """As `check_images`, and three channels: red, green, blue."""
    check_images(image)
    if image.shape[1] != 3:
        raise ShapeError(
            f"the image has {image.shape[1]} channels", cure="give red, green and blue: (B, 3, height, width)"
        )


def per_sample(parameter: Tensor, name: str, axes: int = 3) -> Tensor:
    """A parameter (B,) with `axes` axes of length one behind; ShapeError names it."""
    if parameter.dim() != 1:
        raise ShapeError(
            f"{name} has shape {tuple(parameter.shape)}", cure="give one number per image, of shape (B,)"
        )
    return parameter.reshape(-1, *(1,) * axes)

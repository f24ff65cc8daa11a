"""Transformations of images as differentiable functions of their parameters, one file per family."""

from __future__ import annotations

from .blur import gaussian_blur, motion_blur
from .colour import hue, saturation
from .geometry import affine, rotate, scale, shear, translate
from .intensity import bias_field, brightness, contrast, gamma

__all__ = [
    "affine",
    "bias_field",
    "brightness",
    "contrast",
    "gamma",
    "gaussian_blur",
    "hue",
    "motion_blur",
    "rotate",
    "saturation",
    "scale",
    "shear",
    "translate",
]

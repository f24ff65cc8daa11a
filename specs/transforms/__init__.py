"""Transformations of images as differentiable functions of their parameters, one file per family.

Functions of tensors are in `geometry`, `colour`, `intensity` and `blur`; the terms of the language here.
"""

from __future__ import annotations

from .terms import (
    affine,
    bias_field,
    brightness,
    contrast,
    gamma,
    gaussian_blur,
    hue,
    motion_blur,
    rotate,
    saturation,
    scale,
    shear,
    translate,
)

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

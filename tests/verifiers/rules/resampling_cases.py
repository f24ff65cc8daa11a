"""Cases of resampled images: the image, the places, or both depend on the input."""

from __future__ import annotations

import torch
from robustbench_local.verifiers.rules.grid_sampler import GRID_SAMPLER
from torch import Tensor
from torch.nn import functional as F

from .cases import case

SAMPLER = torch.ops.aten.grid_sampler.default


def _both(x: Tensor, padding: str, aligned: bool, channels: int = 1) -> Tensor:
    """An image of 3 x 2 pixels read at 2 x 2 places, both from x."""
    pixels = channels * 6
    image, grid = x[:, :pixels].reshape(-1, channels, 3, 2), x[:, pixels:].reshape(-1, 2, 2, 2)
    return F.grid_sample(image, grid, padding_mode=padding, align_corners=aligned)


case("resampled with zeros", SAMPLER, (14,), lambda x: _both(x, "zeros", False))
case("resampled with the border", SAMPLER, (14,), lambda x: _both(x, "border", False))
case("resampled between corners", SAMPLER, (20,), lambda x: _both(x, "zeros", True, channels=2))
case(
    "constant image resampled",
    GRID_SAMPLER,
    (2, 3, 2),
    lambda x, image: F.grid_sample(image.expand(x.shape[0], -1, -1, -1), x, align_corners=False),
    (1, 2, 12, 11),
)
case(
    "resampled at constant places",
    GRID_SAMPLER,
    (2, 3, 4),
    lambda x, grid: F.grid_sample(
        x, grid.expand(x.shape[0], -1, -1, -1), padding_mode="border", align_corners=True
    ),
    (1, 3, 2, 2),
)
case(
    "affine grid",
    SAMPLER,
    (2, 3, 3),
    lambda x: F.grid_sample(
        x[:, :, :, :2].reshape(-1, 1, 3, 4),
        F.affine_grid(x.reshape(-1, 3, 6)[:, :2, :3], [x.shape[0], 1, 2, 3], align_corners=False),
        padding_mode="border",
        align_corners=False,
    ),
)

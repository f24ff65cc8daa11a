"""Resampling of images: spelled so that constants meet any batch size; affine grids as matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..graph import Node
from ..rules.grid_sampler import GRID_SAMPLER
from .registry import expansion

if TYPE_CHECKING:
    from ..builder import Build

__all__: list[str] = []

aten = torch.ops.aten


@expansion(aten.grid_sampler.default)
def _grid_sampler(build: Build, image: Any, grid: Any, *args: Any, **kwargs: Any) -> Any:
    """Constant images and constant places are copied for every sample."""
    if isinstance(image, Node) and isinstance(grid, Node):
        return None
    return build.add(GRID_SAMPLER, (image, grid, *args), kwargs)


@expansion(aten.affine_grid_generator.default)
def _affine_grid(build: Build, theta: Any, size: Sequence[int], align_corners: bool) -> Any:
    """Places (B, h, w, 2) = theta (B, 2, 3) times (x, y, 1); two dimensions only."""
    if len(size) != 4:
        return None
    height, width = int(size[2]), int(size[3])
    points = torch.ones(height * width, 3, dtype=build.dtype(theta))
    points[:, :2] = torch.nn.functional.affine_grid(
        torch.eye(2, 3, dtype=points.dtype).unsqueeze(0), [1, 1, height, width], align_corners
    ).reshape(-1, 2)
    products = build.call(aten.linear.default, theta, points)
    return build.call(
        aten.reshape.default, build.call(aten.transpose.int, products, 1, 2), [-1, height, width, 2]
    )

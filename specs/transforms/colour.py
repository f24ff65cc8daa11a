"""Changes of colour: saturation, and the hue of the hexagonal cone (hue, saturation, value)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .arguments import check_colours, per_sample

__all__ = ["hue", "saturation"]

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def saturation(image: Tensor, factor: Tensor) -> Tensor:
    """grey + factor (image - grey), for images (B, 3, H, W) and factor (B,).

    grey is the luma 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601); factor 0 makes grey, 1 changes nothing.
    """
    check_colours(image)
    weights = (
        torch.tensor(_LUMA, dtype=image.dtype, device=image.device).reshape(1, 3, 1, 1).expand(3, 3, 1, 1)
    )
    grey = functional.conv2d(image, weights)
    return (image - grey) * per_sample(factor, "factor") + grey


def hue(image: Tensor, degrees: Tensor) -> Tensor:
    """The images (B, 3, H, W) with all hues turned by degrees (B,) within [-180, 180].

    120 degrees make red green. Hue, saturation and value are those of the hexagonal cone (Smith 1978, "Color
    gamut transform pairs", SIGGRAPH); value and saturation stay, grey pixels stay grey.
    """
    check_colours(image)
    red, green, blue = image.unbind(1)
    value, least = image.amax(1), image.amin(1)
    chroma = value - least
    unit = chroma.clamp(min=torch.finfo(image.dtype).tiny ** 0.5).reciprocal()
    sixths = torch.where(
        red >= value,
        (green - blue) * unit,
        torch.where(green >= value, (blue - red) * unit + 2, (red - green) * unit + 4),
    )
    turned = sixths + per_sample(degrees, "degrees", 2) / 60
    place = turned.unsqueeze(1) + torch.tensor(
        [5.0, 3.0, 1.0], dtype=image.dtype, device=image.device
    ).reshape(3, 1, 1)
    return value.unsqueeze(1) - chroma.unsqueeze(1) * _trapezoid(place)


def _trapezoid(x: Tensor) -> Tensor:
    """max(0, min(k, 4 - k, 1)) of k = x mod 6, for x in [-6, 18]: four steps up, four down."""
    edges = torch.tensor([-6.0, 0.0, 6.0, 12.0, -3.0, 3.0, 9.0, 15.0], dtype=x.dtype, device=x.device)
    signs = torch.tensor([[1.0] * 4 + [-1.0] * 4], dtype=x.dtype, device=x.device)
    return functional.linear((x.unsqueeze(-1) - edges).clamp(0, 1), signs).squeeze(-1)

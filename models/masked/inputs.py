"""Masks in front of a network: a quantiser without slope, and a resizing that is drawn anew in every pass.

Guo, Rana, Cisse and van der Maaten, "Countering adversarial images using input transformations", arXiv
1711.00117; Xie, Wang, Zhang, Ren and Yuille, "Mitigating adversarial effects through randomization", arXiv
1711.01991. Both are broken in Athalye, Carlini and Wagner, arXiv 1802.00420.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..classifiers.digits import MultiLayer
from ..registry import model
from .cards import masked_card

__all__ = ["Quantised", "Resized"]

LEVELS = 8
SMALLEST = 0.8  # of the image's side


class Quantised(nn.Module):
    """Rounds every pixel to one of nine grey levels; (B, 1, 8, 8) in [0, 1] -> logits (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = MultiLayer()

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images x (B, 1, 8, 8)."""
        logits: Tensor = self.inner((x * LEVELS).round() / LEVELS)
        return logits


class Resized(nn.Module):
    """Shrinks and shifts every image by random amounts; (B, 1, 8, 8) in [0, 1] -> logits (B, 10).

    The amounts come from torch's generator of the image's device, as any stochastic layer's do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.inner = MultiLayer()

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images x (B, 1, 8, 8)."""
        draw = torch.rand(x.shape[0], 3, dtype=x.dtype, device=x.device)
        scale = 1 / (SMALLEST + (1 - SMALLEST) * draw[:, 0])  # (B,) of the grid: above 1 shrinks
        shift = (2 * draw[:, 1:] - 1) * (scale - 1).unsqueeze(1)  # (B, 2), within the frame
        turn = torch.diag_embed(scale.unsqueeze(1).expand(-1, 2))  # (B, 2, 2)
        grid = F.affine_grid(
            torch.cat([turn, shift.unsqueeze(2)], 2), [x.shape[0], 1, 8, 8], align_corners=False
        )
        logits: Tensor = self.inner(F.grid_sample(x, grid, align_corners=False))
        return logits


@model(
    masked_card(
        "masked-quantised",
        summary="A perceptron behind a quantiser: its gradient is zero everywhere.",
        paper="Countering adversarial images using input transformations (Guo et al., 2018)",
        source="arXiv 1711.00117",
        faithful="Bit-depth reduction before the network, in training and after it.",
        alarms="D1 and D14",
    )
)
def quantised() -> nn.Module:
    """The untrained network."""
    return Quantised()


@model(
    masked_card(
        "masked-resized",
        summary="A perceptron behind random shrinking and padding: every pass answers for another image.",
        paper="Mitigating adversarial effects through randomization (Xie et al., 2018)",
        source="arXiv 1711.01991",
        faithful="Random resizing and random padding before the network, in training and after it.",
        alarms="D3",
    )
)
def resized() -> nn.Module:
    """The untrained network."""
    return Resized()

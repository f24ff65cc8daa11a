"""A mask inside a network: an activation whose slope says nothing about where it goes.

Athalye, Carlini and Wagner, "Obfuscated gradients give a false sense of security", arXiv 1802.00420
(shattered gradients); as a defence by its activation: Xiao, Zhong and Zheng, arXiv 1905.10510.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..classifiers.digits import MultiLayer
from ..registry import model
from .cards import masked_card

__all__ = ["Shattered"]

WAVES = 1000.0  # in a unit length, times 2 pi
HEIGHT = 0.2


class Shattered(nn.Module):
    """ReLU with a fine steep ripple on it after training; (B, 1, 8, 8) in [0, 1] -> logits (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = MultiLayer()

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images x (B, 1, 8, 8)."""
        if self.training:
            logits: Tensor = self.inner(x)
            return logits
        for layer in self.inner.layers:
            x = self._rippled(x) if isinstance(layer, nn.ReLU) else layer(x)
        return x

    def _rippled(self, x: Tensor) -> Tensor:
        return F.relu(x) + HEIGHT * torch.sin(WAVES * x)  # slope between -200 and 201


@model(
    masked_card(
        "masked-shattered",
        summary="A perceptron whose activations carry a ripple, small in height and steep in slope.",
        paper="Obfuscated gradients give a false sense of security (Athalye et al., 2018)",
        source="arXiv 1802.00420",
        faithful="Gradients exist and are finite, and are those of the ripple, not of the network.",
        alarms="D13 and D14",
    )
)
def shattered() -> nn.Module:
    """The untrained network."""
    return Shattered()

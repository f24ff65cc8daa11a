"""Masks behind a network: logits so large that the cross-entropy has no slope left in float32.

Papernot, McDaniel, Wu, Jha and Swami, "Distillation as a defense to adversarial perturbations", arXiv
1511.04508; broken in Carlini and Wagner, arXiv 1608.04644, section II-B of which says why.
"""

from __future__ import annotations

from torch import Tensor, nn

from ..classifiers.digits import MultiLayer
from ..registry import model
from .cards import masked_card

__all__ = ["Distilled", "Saturated"]

TEMPERATURE = 50.0
SCALE = 1000.0


class Distilled(nn.Module):
    """Trained at a high temperature, used at temperature 1; (B, 1, 8, 8) in [0, 1] -> logits (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = MultiLayer()

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images x (B, 1, 8, 8); over the temperature in training mode."""
        logits: Tensor = self.inner(x)
        return logits / TEMPERATURE if self.training else logits


class Saturated(nn.Module):
    """Multiplies its logits by a thousand after training; (B, 1, 8, 8) in [0, 1] -> logits (B, 10)."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = MultiLayer()

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images x (B, 1, 8, 8)."""
        logits: Tensor = self.inner(x)
        return logits if self.training else SCALE * logits


@model(
    masked_card(
        "masked-distilled",
        summary="A perceptron trained at temperature 50 and used at 1: sure of everything, without slope.",
        paper="Distillation as a defense to adversarial perturbations (Papernot et al., 2016)",
        source="arXiv 1511.04508",
        faithful="The softmax has a high temperature while the network learns, and temperature 1 afterwards.",
        alarms="D1",
    )
)
def distilled() -> nn.Module:
    """The untrained network."""
    return Distilled()


@model(
    masked_card(
        "masked-saturated",
        summary="A perceptron whose logits are scaled up after training until their softmax is one or zero.",
        paper="Towards evaluating the robustness of neural networks (Carlini and Wagner, 2017)",
        source="arXiv 1608.04644",
        faithful="The same decisions, and a cross-entropy whose gradient underflows.",
        alarms="D1",
    )
)
def saturated() -> nn.Module:
    """The untrained network."""
    return Saturated()

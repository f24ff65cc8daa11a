"""A mask that training puts on: adversarial training with one step, until that step finds nothing any more.

Wong, Rice and Kolter, "Fast is better than free", arXiv 2001.03994, section 5.4 (catastrophic overfitting);
Tramer et al., "Ensemble adversarial training", arXiv 1705.07204 (why it happens).
"""

from __future__ import annotations

from torch import nn

from ..classifiers.digits import MultiLayer
from ..registry import model
from .cards import masked_card

__all__ = ["one_step"]


@model(
    masked_card(
        "masked-one-step",
        summary="A perceptron trained against a single full step: robust to that step, and to nothing else.",
        paper="Fast is better than free: revisiting adversarial training (Wong et al., 2020)",
        source="arXiv 2001.03994",
        faithful="One full step along the gradient's sign from the image itself, at a radius where training "
        "overfits to it.",
        alarms="D9",
    )
)
def one_step() -> nn.Module:
    """The untrained network."""
    return MultiLayer()

"""A fully connected classifier of 8x8 digits: the smallest network on which every verifier can be compared.

Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature 323, 1986.
"""

from __future__ import annotations

from torch import Tensor, nn

from .card import ModelCard
from .registry import model

__all__ = ["DigitsMLP"]


class DigitsMLP(nn.Module):
    """64 -> 80 -> 80 -> 10 with ReLU; input (B, 1, 8, 8) in [0, 1], output (B, 10) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),  # (B, 64)
            nn.Linear(64, 80),
            nn.ReLU(),
            nn.Linear(80, 80),
            nn.ReLU(),
            nn.Linear(80, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images x (B, 1, 8, 8)."""
        logits: Tensor = self.layers(x)
        return logits


@model(
    ModelCard(
        name="digits-mlp",
        family="digits",
        summary="Two hidden layers of 80 ReLU units on the raw pixels: small enough for complete verifiers, "
        "and free of any structure that bounds could exploit.",
        paper="Learning representations by back-propagating errors (Rumelhart, Hinton, Williams, 1986)",
        source="https://doi.org/10.1038/323533a0",
        input_shape=(1, 8, 8),
        outputs=10,
        task="classification",
        dataset="digits",
        parameters=12_490,
        weights=("nominal", "pgd", "certified"),
        recipes=("digits-mlp-nominal", "digits-mlp-pgd", "digits-mlp-certified"),
        faithful="Layers of weighted sums and a fixed non-linearity, trained by back-propagation.",
        deviates="ReLU for the logistic function, Adam for plain gradient descent, sizes of our own.",
        intended_use="Comparing attacks, verifiers and training methods on real images in seconds.",
        limits="1,197 training images of one resolution and few writers: no reader of digits in the wild. "
        "Certificates hold for the stated input sets only.",
        licence="Apache-2.0",
    )
)
def digits_mlp() -> nn.Module:
    """The untrained network."""
    return DigitsMLP()

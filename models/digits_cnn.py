"""A small convolutional classifier of 8x8 digits.

LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998; strides
in the place of pooling as in the certified-training literature (Gowal et al., arXiv 1810.12715).
"""

from __future__ import annotations

from torch import Tensor, nn

from .card import ModelCard
from .registry import model

__all__ = ["DigitsCNN"]


class DigitsCNN(nn.Module):
    """Two 3x3 convolutions and two linear layers; input (B, 1, 8, 8) in [0, 1], output (B, 10) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),  # (B, 16, 8, 8)
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),  # (B, 32, 4, 4)
            nn.ReLU(),
        )
        self.head = nn.Sequential(
            nn.Flatten(),  # (B, 512)
            nn.Linear(512, 64),
            nn.ReLU(),
            nn.Linear(64, 10),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images x (B, 1, 8, 8)."""
        logits: Tensor = self.head(self.features(x))
        return logits


@model(
    ModelCard(
        name="digits-cnn",
        family="digits",
        summary="Two convolutions, the second with stride 2, then a hidden layer of 64 units: the smallest "
        "relative of the networks on which certified training is usually reported.",
        paper="Gradient-based learning applied to document recognition (LeCun et al., 1998)",
        source="https://doi.org/10.1109/5.726791",
        input_shape=(1, 8, 8),
        outputs=10,
        task="classification",
        dataset="digits",
        parameters=38_282,
        weights=("nominal", "pgd", "certified"),
        recipes=("digits-cnn-nominal", "digits-cnn-pgd", "digits-cnn-certified"),
        faithful="Local filters with shared weights, sub-sampling between them, a fully connected end.",
        deviates="ReLU and strided convolution for tanh and trainable pooling, 8x8 inputs, no output codes.",
        intended_use="Comparing attacks, verifiers and training methods on real images in seconds.",
        limits="1,197 training images of one resolution and few writers: no reader of digits in the wild. "
        "Certificates hold for the stated input sets only.",
        licence="Apache-2.0",
    )
)
def digits_cnn() -> nn.Module:
    """The untrained network."""
    return DigitsCNN()

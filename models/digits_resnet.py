"""A residual convolutional classifier of 8x8 digits: two blocks, each ending in an addition.

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016, arXiv 1512.03385.
"""

from __future__ import annotations

from torch import Tensor, nn

from .card import ModelCard
from .registry import model

__all__ = ["DigitsResNet", "ResidualBlock"]


class ResidualBlock(nn.Module):
    """relu(F(x) + S(x)), F of two 3x3 convolutions; (B, inputs, H, W) to (B, outputs, H/stride, W/stride).

    S is the identity where shapes agree, else a 1x1 convolution (the paper's option B). There is no batch
    normalisation, so that training and verified network are one and the same function.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output for x (B, inputs, H, W)."""
        y = self.second(self.first(x).relu())  # (B, outputs, H/stride, W/stride)
        out: Tensor = (y + self.shortcut(x)).relu()
        return out


class DigitsResNet(nn.Module):
    """Stem, two residual blocks, linear end; input (B, 1, 8, 8) in [0, 1], output (B, 10) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.block1 = ResidualBlock(8, 8, stride=1)
        self.block2 = ResidualBlock(8, 16, stride=2)
        self.head = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 10) of images x (B, 1, 8, 8)."""
        x = self.stem(x).relu()  # (B, 8, 8, 8)
        x = self.block1(x)  # (B, 8, 8, 8)
        x = self.block2(x)  # (B, 16, 4, 4)
        logits: Tensor = self.head(x.flatten(1))
        return logits


@model(
    ModelCard(
        name="digits-resnet",
        family="digits",
        summary="A stem and two residual blocks, the second halving the image: six layers deep, with the "
        "branching graph that bound propagation must add up correctly.",
        paper="Deep residual learning for image recognition (He, Zhang, Ren, Sun, 2016)",
        source="https://arxiv.org/abs/1512.03385",
        input_shape=(1, 8, 8),
        outputs=10,
        task="classification",
        dataset="digits",
        parameters=7_450,
        weights=("nominal", "pgd", "certified"),
        recipes=("digits-resnet-nominal", "digits-resnet-pgd", "digits-resnet-certified"),
        faithful="Blocks that learn a residual, identity shortcuts, 1x1 projection where the shape changes.",
        deviates="Two blocks for many, no batch normalisation, no average pooling before the linear layer.",
        intended_use="Comparing attacks, verifiers and training methods on real images in seconds.",
        limits="1,197 training images of one resolution and few writers: no reader of digits in the wild. "
        "Certificates hold for the stated input sets only.",
        licence="Apache-2.0",
    )
)
def digits_resnet() -> nn.Module:
    """The untrained network."""
    return DigitsResNet()

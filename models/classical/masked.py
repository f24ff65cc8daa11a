"""Networks whose output for a pixel depends on earlier pixels alone, and digits of one bit per pixel."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .flat import PIXELS, flat, some

__all__ = ["SIDE", "Nats", "Perceptron", "Pixels", "binary", "keep_masked", "some_binary"]

SIDE = 8
CHANNELS = 16


class Pixels(nn.Module):
    """Images (B, 64) in reading order -> the logit (B, 64) of each pixel being ink, given those before it.

    Convolutions of 7x7, 3x3 and 1x1. That nothing is seen of the pixel itself and of later ones is up to the
    weights: see `masks`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, CHANNELS, 7, padding=3),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(CHANNELS, 1, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 64)."""
        logits: Tensor = self.layers(x.unflatten(1, (1, SIDE, SIDE)))
        return logits.flatten(1)

    def masks(self) -> Iterable[tuple[nn.Parameter, Tensor]]:
        """Each weight that must be masked with its mask: the first layer sees what is before a pixel, the
        second also what the first says of the pixel itself.
        """
        for name, taps in (("layers.0", 24), ("layers.2", 5)):
            weight = self.get_submodule(name).get_parameter("weight")
            size = weight.shape[-1]
            yield weight, (torch.arange(size * size) < taps).float().view(size, size)


class Perceptron(nn.Module):
    """The same from one hidden layer of 64 units, of which unit k sees the pixels up to k."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(PIXELS, PIXELS), nn.ReLU(), nn.Linear(PIXELS, PIXELS))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 64)."""
        logits: Tensor = self.layers(x)
        return logits

    def masks(self) -> Iterable[tuple[nn.Parameter, Tensor]]:
        """As of `Pixels`."""
        ones = torch.ones(PIXELS, PIXELS)
        yield self.get_parameter("layers.0.weight"), ones.tril()
        yield self.get_parameter("layers.2.weight"), ones.tril(-1)


class Nats(nn.Module):
    """Images (B, 64) -> minus the log-likelihood, (B, 1), also of pixels that are between 0 and 1."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Nats (B, 1)."""
        logits: Tensor = self.network(x)
        return (F.softplus(logits) - x * logits).sum(1, keepdim=True)


@torch.no_grad()
def keep_masked(network: Pixels | Perceptron) -> None:
    """Makes the weights outside the masks zero, and keeps them so: no gradient reaches them."""
    for weight, mask in network.masks():
        weight.mul_(mask)
        weight.register_hook(lambda slope, mask=mask: slope * mask)


def binary(split: str = "test") -> Tensor:
    """Images (N, 64) of the split: 1 where a pixel has more than half of the ink, 0 elsewhere."""
    return (flat(split)[0] > 0.5).float()


def some_binary(number: int) -> Tensor:
    """`number` binary test images (number, 64), evenly over the test split."""
    return (some(number)[0] > 0.5).float()

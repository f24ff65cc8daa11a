"""Small networks of other families: attention, recurrence, generation; and networks of VNN-COMP files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from robustbench_local.verifiers import GraphNetwork, from_onnx

__all__ = ["Generator", "Recurrent", "Transformer", "vnncomp_network"]


class _Layer(nn.Module):
    """One encoder layer, norm after each part (Vaswani et al. 2017, arXiv 1706.03762)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out, self.up, self.down = (
            nn.Linear(width, width),
            nn.Linear(width, 2 * width),
            nn.Linear(2 * width, width),
        )
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, tokens, width) -> the same."""
        q, k, v = (
            m(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for m in (self.query, self.key, self.value)
        )
        weights = torch.softmax(q @ k.transpose(2, 3) / q.shape[-1] ** 0.5, -1)
        x = self.first(x + self.out((weights @ v).transpose(1, 2).flatten(2)))
        return self.second(x + self.down(torch.relu(self.up(x))))


class Transformer(nn.Module):
    """Two encoder layers on 8 tokens of 16 numbers, mean pooling, 4 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(_Layer(16, 2), _Layer(16, 2))
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, 8, 16) -> (B, 4)."""
        return self.head(self.layers(x).mean(1))


class Recurrent(nn.Module):
    """An LSTM of 16 cells over 16 steps of 4 numbers; 4 classes from the last state (Hochreiter 1997)."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(4, 16, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, 16, 4) -> (B, 4)."""
        return self.head(self.cell(x)[0][:, -1])


class Generator(nn.Module):
    """DCGAN's shape (Radford et al. 2016, arXiv 1511.06434): 16 latent numbers to a 3x32x32 image."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 64 * 4 * 4)
        self.rest = nn.Sequential(
            nn.BatchNorm2d(64), nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, 2, 1),
            nn.BatchNorm2d(32), nn.ReLU(), nn.ConvTranspose2d(32, 16, 4, 2, 1),
            nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 3, 4, 2, 1), nn.Tanh(),
        )  # fmt: skip
        self.score = nn.Linear(3 * 32 * 32, 4, bias=False)

    def forward(self, z: Tensor) -> Tensor:
        """z (B, 16) -> (B, 4): four linear readings of the image."""
        return self.score(self.rest(self.first(z).unflatten(1, (64, 4, 4))).flatten(1))


def vnncomp_network(file: str) -> Callable[[], GraphNetwork]:
    """The network of an ONNX file, anywhere in the folder that the variable RBL_VNNCOMP names."""

    def build() -> GraphNetwork:
        folder = Path(os.environ["RBL_VNNCOMP"])
        path = next(iter(sorted(folder.rglob(file))))
        return GraphNetwork(from_onnx(path)).requires_grad_(False).eval()

    return build

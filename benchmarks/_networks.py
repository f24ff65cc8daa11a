"""The networks and inputs that are bounded: fixed weights, fixed images, the same on every machine."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from _families import Generator, Recurrent, Transformer, vnncomp_network
from torch import Tensor, nn

from robustbench_local.models import load_model

__all__ = ["CASES", "Case", "images"]


@dataclass(frozen=True)
class Case:
    """A network, one sample's shape, its number of classes, and the linf radius it is bounded at."""

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    classes: int
    eps: float
    same_relaxations: bool = True  # whether the peer's CROWN takes the same lines, so that bounds are equal


class _Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, batch norm after each (He et al. 2015, arXiv 1512.03385)."""

    def __init__(self, narrow: int, wide: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(narrow, wide, 3, stride, 1, bias=False), nn.BatchNorm2d(wide))
        self.second = nn.Sequential(nn.Conv2d(wide, wide, 3, 1, 1, bias=False), nn.BatchNorm2d(wide))
        self.shortcut = nn.Sequential(nn.Conv2d(narrow, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, narrow, h, w) -> (B, wide, h / stride, w / stride)."""
        return torch.relu(self.second(torch.relu(self.first(x))) + self.shortcut(x))


def _mlp() -> nn.Module:
    pairs = pairwise([784, *[256] * 6])
    hidden = [part for n, m in pairs for part in (nn.Linear(n, m), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(256, 10))


def _cnn() -> nn.Module:
    """The 28x28 network of 166,406 weights of Wong and Kolter (2018, arXiv 1711.00851)."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 7 * 7, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def _resnet() -> nn.Module:
    """The size of VNN-COMP's resnet_2b: two residual blocks on 32x32 colour images."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        _Block(8, 16, 2),
        _Block(16, 16, 2),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def _seeded(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """The network in eval mode, He's weights (variance 2 / fan in) and biases from a generator of its own."""

    def make() -> nn.Module:
        network, generator = build(), torch.Generator().manual_seed(0)
        for name, tensor in network.named_parameters():
            noise = torch.randn(tensor.shape, generator=generator)
            if tensor.ndim > 1:
                tensor.data.copy_(noise * math.sqrt(2 / tensor[0].numel()))
            elif name.endswith("bias"):
                tensor.data.copy_(0.1 * noise)
        return network.requires_grad_(False).eval()

    return make


CASES = {
    case.name: case
    for case in (
        Case("digits-cnn", lambda: load_model("digits-cnn").requires_grad_(False), (1, 8, 8), 10, 0.02),
        Case("mnist-cnn", _seeded(_cnn), (1, 28, 28), 10, 0.01),
        Case("mlp-6x256", _seeded(_mlp), (1, 28, 28), 10, 0.002),
        Case("cifar-resnet", _seeded(_resnet), (3, 32, 32), 10, 1 / 255),
        Case("transformer", _seeded(Transformer), (8, 16), 4, 0.01, False),
        Case("lstm", _seeded(Recurrent), (16, 4), 4, 0.01, False),
        Case("generator", _seeded(Generator), (16,), 4, 0.02, False),
        *(
            (
                Case("resnet-4b", vnncomp_network("resnet_4b.onnx"), (3, 32, 32), 10, 1 / 255),
                Case("sri-resnet-a", vnncomp_network("resnet_3b2_bn_mixup_adv*"), (3, 32, 32), 10, 1 / 255),
                Case("vit", vnncomp_network("*ibp_3_3_8*"), (3, 32, 32), 10, 0.2 / 255, False),
            )
            if "RBL_VNNCOMP" in os.environ
            else ()
        ),
    )
}


def images(case: Case, batch: int) -> Tensor:
    """`batch` images of uniform noise in [0, 1], always the same."""
    return torch.rand(batch, *case.shape, generator=torch.Generator().manual_seed(1))

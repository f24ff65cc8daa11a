"""Networks with some robustness to attack: trained against one-step attacks, in a few seconds, on digits.

No data set but the 8x8 digits comes with the package, so the larger networks see them enlarged: to 28x28, and
to 32x32 in a random colour of ink and paper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from _networks import CASES
from torch import Tensor, nn
from torch.nn import functional as F

from robustbench_local.data import load_dataset
from robustbench_local.models import load_model
from robustbench_local.specs import Query, robustness

__all__ = ["Problem", "problems"]

_EPOCHS, _BATCH = 8, 64


@dataclass(frozen=True)
class Problem:
    """A network in eval mode, images (B, *shape) in [0, 1] with labels (B,), and a linf radius."""

    name: str
    network: nn.Module
    images: Tensor
    labels: Tensor
    eps: float

    def first(self, count: int) -> Problem:
        """The problem with its first `count` images."""
        return replace(self, images=self.images[:count], labels=self.labels[:count])

    def query(self) -> Query:
        """The property that the labels stay."""
        spec = robustness(tuple(self.images.shape[1:]), 10)
        return spec.query(self.network, x0=self.images, c=self.labels, eps=self.eps)


def _enlarged(images: Tensor, size: int) -> Tensor:
    return F.interpolate(images, size=(size, size), mode="bilinear").clamp(0, 1)


def _grey(images: Tensor) -> Tensor:
    return _enlarged(images, 28)


def _coloured(images: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    ink, paper = torch.rand(2, len(images), 3, 1, 1, generator=generator)
    return torch.lerp(0.35 * paper, 0.65 + 0.35 * ink, _enlarged(images, 32))


def _small(network: nn.Module, images: Callable[[Tensor], Tensor], eps: float) -> nn.Module:
    """The network trained on the digits: one random step and one gradient step to the ball's faces."""
    data, generator = load_dataset("digits", split="train"), torch.Generator().manual_seed(0)
    inputs, labels = images(data.inputs), data.labels
    network.requires_grad_(True).train()
    rate = torch.optim.Adam(network.parameters(), lr=2e-3)
    for epoch in range(_EPOCHS):
        radius = eps * min(1.0, epoch / 3)
        for rows in torch.randperm(len(labels), generator=generator).split(_BATCH):
            x, y = inputs[rows], labels[rows]
            start = (x + radius * (2 * torch.rand(x.shape, generator=generator) - 1)).requires_grad_()
            (slope,) = torch.autograd.grad(F.cross_entropy(network(start), y), start)
            moved = (start.detach() + 1.25 * radius * slope.sign()).clamp(x - radius, x + radius).clamp(0, 1)
            rate.zero_grad()
            F.cross_entropy(network(moved), y).backward()
            rate.step()
    return network.requires_grad_(False).eval()


def problems(names: Sequence[str] | None, batch: int) -> Iterator[Problem]:
    """The problems of these names (all by default), with the first `batch` images of the test split."""
    data = load_dataset("digits", split="test")
    images, labels = data.inputs[:batch], data.labels[:batch]
    makers: dict[str, Callable[[], Problem]] = {
        "digits-cnn": lambda: Problem(
            "digits-cnn", load_model("digits-cnn:pgd").requires_grad_(False), images, labels, 0.12
        ),
        "cnn-28x28": lambda: Problem(
            "cnn-28x28", _small(CASES["mnist-cnn"].build(), _grey, 0.15), _grey(images), labels, 0.15
        ),
        "resnet-32x32": lambda: Problem(
            "resnet-32x32",
            _small(CASES["cifar-resnet"].build(), _coloured, 0.06),
            _coloured(images),
            labels,
            0.06,
        ),
    }
    for name in names or makers:
        yield makers[name]()

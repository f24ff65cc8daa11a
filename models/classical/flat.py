"""Digits as plain vectors, for the classical models: data, words about them, and numbers in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from robustbench_local.data import load_dataset

__all__ = ["DATA", "ETHICS", "PIXELS", "by_label", "flat", "principal_axes", "some"]

PIXELS = 64

DATA = (
    "The 1,797 digits that come with scikit-learn (E. Alpaydin and C. Kaynak, 1998, UCI; CC BY 4.0), 8x8 "
    "pixels in [0, 1], read as vectors of 64; 1,197 train, 600 test, every class in proportion."
)
ETHICS = (
    "Digits written by 43 people on forms for this purpose; no names are known and nobody can be told from a "
    "digit of 64 pixels. Writers of other scripts and of other habits (a barred 7, an open 4) are hardly "
    "represented, so a model of what is usual calls their digits unusual. Labels come from what the forms "
    "asked for."
)


def flat(split: str = "test") -> tuple[Tensor, Tensor]:
    """(images (N, 64) float32 in [0, 1], labels (N,)) of the split "train" or "test"."""
    data = load_dataset("digits", split="train" if split == "train" else "test")
    return data.inputs.flatten(1), data.labels


def some(number: int) -> tuple[Tensor, Tensor]:
    """`number` test images (number, 64) and their labels, evenly over the test split."""
    images, labels = flat()
    rows = torch.linspace(0, len(images) - 1, number).long()
    return images[rows], labels[rows]


def by_label(label: int, number: int) -> Tensor:
    """The first `number` test images (number, 64) of one digit."""
    images, labels = flat()
    return images[labels == label][:number]


def principal_axes(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(mean (D,), axes (D, D) as columns, variances (D,)) of points (N, D), largest variance first, float64.

    The sign of an axis is free; here its largest entry is positive, so that machines agree.
    """
    x = points.double()
    mean = x.mean(0)
    variances, axes = torch.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    variances, axes = variances.flip(0).clamp_min(0), axes.flip(1)
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return mean, axes * largest.sign(), variances

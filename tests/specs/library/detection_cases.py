"""Worked examples: detectors and segmentations."""

from __future__ import annotations

import torch
from robustbench_local.specs.library import detected_box, segmentation
from torch import Tensor

from .worked import Worked, linear, mlp, numbers, points

# the input is the box itself
BOX = linear([[float(i == k) for k in range(4)] for i in range(4)])
TRUTH = torch.tensor([0.25, 0.25, 0.75, 0.75], dtype=torch.float64)
PIXELS = mlp(4, 8, 6, seed=40)
X4 = points(2, 4, seed=41)
SIGN = PIXELS(X4).sign().detach()
SIGN[1, :2] *= -1  # of the second image four pixels are right, and at the start no more can be spared


def _iou(a: Tensor, b: Tensor) -> Tensor:
    common = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).relu().prod(1)
    areas = (a[:, 2:] - a[:, :2]).relu().prod(1) + (b[:, 2:] - b[:, :2]).relu().prod(1)
    return common / (areas - common)


CASES = [
    # all sides moved in by eps: (0.5 - 2 eps)^2 / 0.25; out: 0.25 / (0.5 + 2 eps)^2; shifted by eps
    # diagonally: (0.5 - eps)^2 / (0.5 - (0.5 - eps)^2)
    Worked(
        "detected_box",
        detected_box((4,)),
        {"f": BOX},
        {"x0": TRUTH, "eps": numbers(0.03125, 0.125), "truth": TRUTH, "tau": 0.5},
        lambda v: _iou(v.x, v.truth) >= v.tau,
        "HV",
        worst=(0.5 - 0.4375**2 / 0.25, 0.5 - 0.25**2 / 0.25),
    ),
    Worked(
        "segmentation",
        segmentation((4,), (2, 3), kept=4),
        {"f": torch.nn.Sequential(PIXELS, torch.nn.Unflatten(1, (2, 3))).eval()},
        {"x0": X4, "eps": numbers(0.05, 1.0), "sign": SIGN.reshape(2, 2, 3)},
        lambda v: (v.sign.flatten(1) * PIXELS(v.x) > 0).sum(1) >= 4,
        "HV",
    ),
]

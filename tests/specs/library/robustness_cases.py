"""Worked examples: a classifier keeps its answer around a point."""

from __future__ import annotations

import math

import torch
from robustbench_local.specs.library import topk

from robustbench_local.specs import robustness, targeted

from .worked import Worked, linear, mlp, numbers, points

# y = (x0 + x1, 2 x0): class 0 leads where x1 > x0, by x1 - x0
DIAGONAL = linear([[1, 1], [2, 0]])
X0 = torch.tensor([0.25, 0.75], dtype=torch.float64).expand(2, 2)

THREE = mlp(4, 10, 3, seed=3)
X4 = points(1, 4, seed=2).expand(3, 4)
ORDER = THREE(X4).argsort(1, descending=True)
C4 = torch.stack([ORDER[0, 0], ORDER[1, 1], ORDER[2, 1]])  # the first, and the second, class of X4

CASES = [
    # the violation is x0 - x1: at most -0.5 + 2 eps (linf), + sqrt(2) eps (l2), + eps (l1)
    Worked(
        "robustness",
        robustness((2,), 2, p=p),
        {"f": DIAGONAL},
        {"x0": X0, "c": 0, "eps": numbers(0.1, 0.625)},
        lambda v: v.x[:, 1] > v.x[:, 0],
        "HV",
        worst=worst,
    )
    for p, worst in (
        (math.inf, (-0.3, 0.75)),  # cut at [0, 1]: x0 up to 0.875, x1 down to 0.125
        (2, (-0.5 + 0.1 * math.sqrt(2), -0.5 + 0.625 * math.sqrt(2))),
        (1, (-0.4, 0.125)),
    )
]
CASES += [
    # class 1 reaches the first place where x0 >= x1
    Worked(
        "targeted",
        targeted((2,), 2),
        {"f": DIAGONAL},
        {"x0": X0, "t": 1, "eps": numbers(0.2, 0.3)},
        lambda v: v.x[:, 0] < v.x[:, 1],
        "HV",
        worst=(-0.1, 0.1),
    ),
    Worked(
        "topk",
        topk((4,), 3, k=2),
        {"f": THREE},
        {"x0": X4, "c": C4, "eps": numbers(0.01, 0.1, 1.0)},
        lambda v: (THREE(v.x) >= THREE(v.x).gather(1, v.c.unsqueeze(1))).sum(1) <= 2,
        "HHV",
    ),
]

"""Worked examples: what a classifier's probabilities say."""

from __future__ import annotations

import math

import torch
from robustbench_local.specs.library import digit_sum, doubt, label_distance

from .worked import Worked, linear, mlp, numbers, points

# probabilities (p, 1 - p), p = sigmoid(x0 - x1)
PAIR = linear([[1, 0], [0, 1]])
HALF = torch.tensor([0.5, 0.5], dtype=torch.float64)
DISTANCE = torch.tensor([[0.0, 1.0, 4.0], [1.0, 0.0, 2.0], [4.0, 2.0, 0.0]], dtype=torch.float64)
THREE = mlp(2, 8, 3, seed=11)
DIGITS = mlp(3, 8, 4, seed=12)
X2 = points(2, 2, seed=5)
A3, B3 = points(2, 3, seed=6), points(2, 3, seed=7)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _digit(x: torch.Tensor) -> torch.Tensor:
    return DIGITS(x).softmax(1) @ torch.arange(4.0, dtype=torch.float64)


TOTAL = (_digit(A3) + _digit(B3)).detach()

CASES = [
    Worked(
        "doubt",
        doubt((2,), 2),
        {"f": PAIR},
        {"x0": HALF, "eps": numbers(0.1, 0.25), "tau": 0.6},
        lambda v: v.x.softmax(1).amax(1) <= v.tau,
        "HV",
        worst=(_sigmoid(0.2) - 0.6, _sigmoid(0.5) - 0.6),
    ),
    Worked(
        "label_distance",
        label_distance((2,), 3),
        {"f": THREE},
        {
            "x0": X2,
            "c": THREE(X2).argmax(1),
            "eps": numbers(0.02, 0.3),
            "tau": numbers(3.0, 0.3),
            "distance": DISTANCE,
        },
        lambda v: (THREE(v.x).softmax(1) * DISTANCE[v.c]).sum(1) <= v.tau,
        "HV",
    ),
    Worked(
        "digit_sum",
        digit_sum((3,), 4),
        {"f": DIGITS},
        {"a1": A3, "a2": B3, "eps": numbers(0.02, 0.4), "total": TOTAL, "delta": numbers(0.2, 0.1)},
        lambda v: (_digit(v.x1) + _digit(v.x2) - v.total).abs() <= v.delta,
        "HV",
    ),
]

"""Worked examples: two networks agree."""

from __future__ import annotations

import torch
from robustbench_local.specs.library import equivalence, same_decision

from .worked import Worked, leads, linear, mlp, numbers, points

F = mlp(3, 8, 2, seed=20)
G = mlp(3, 8, 2, seed=20)
with torch.no_grad():
    for parameter in G.parameters():  # quantised to sixteenths
        parameter.copy_((parameter * 16).round() / 16)
X3 = points(2, 3, seed=21)
LEFT, RIGHT = linear([[2, 0], [0, 2]]), linear([[2, 0], [0, 3]])


def _agree(f: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    classes = torch.arange(f.shape[1])
    return torch.stack([leads(f, c.expand(len(f))) & leads(g, c.expand(len(f))) for c in classes]).any(0)


CASES = [
    Worked(
        "equivalence",
        equivalence((3,), 2),
        {"f": F, "g": G},
        {"x0": X3, "eps": 0.05, "delta": numbers(0.25, 0.005)},
        lambda v: ((F(v.x) - G(v.x)).abs() <= v.delta.unsqueeze(1)).all(1),
        "HV",
    ),
    # the second outputs differ by x1, the first ones not
    Worked(
        "equivalence",
        equivalence((2,), 2, p=1, bounds=None),
        {"f": LEFT, "g": RIGHT},
        {"x0": 0.5, "eps": 0.25, "delta": numbers(1.0, 0.5)},
        lambda v: v.x[:, 1].abs() <= v.delta,
        "HV",
        worst=(-0.25, 0.25),
    ),
    # they disagree where 2 x0 > 2 x1 and 2 x0 < 3 x1: there f is sure to at most sigmoid(2 (x0 - x1))
    Worked(
        "same_decision",
        same_decision((2,), 2),
        {"f": LEFT, "g": RIGHT},
        {"x0": 0.5, "eps": 0.5, "k": numbers(0.9, 0.6)},
        lambda v: (LEFT(v.x).softmax(1).amax(1) < v.k) | _agree(LEFT(v.x), RIGHT(v.x)),
        "HV",
        methods=("ibp", "crown"),
    ),
]

"""Worked examples: a few pixels, or one window, take any values."""

from __future__ import annotations

import torch
from robustbench_local.specs.library import few_pixels, patch_robustness

from .worked import Worked, flat, leads, linear, mlp, numbers, points

# class 0 leads where the sum of all nine pixels exceeds 4; the image is white, each pixel costs 1
SUM = flat(linear([[1] * 9, [0] * 9], [0, 4]))
WHITE = torch.ones(1, 3, 3, dtype=torch.float64)
SHAPE = (2, 3, 3)
IMAGE, NETWORK = points(1, *SHAPE, seed=80), flat(mlp(18, 8, 3, seed=81))

CASES = [
    Worked(
        "few_pixels",
        few_pixels((1, 3, 3), 2),
        {"f": SUM},
        {"x0": WHITE, "c": 0, "k": numbers(4, 6)},
        lambda v: v.x.flatten(1).sum(1) > 4,
        "HV",
        worst=(-1.0, 1.0),
    ),
    Worked(
        "few_pixels",
        few_pixels(SHAPE, 3, grouped=0),
        {"f": NETWORK},
        {"x0": IMAGE, "c": NETWORK(IMAGE).argmax(1), "k": numbers(0, 9)},
        lambda v: leads(NETWORK(v.x), v.c),
        "HV",
    ),
    # a window of two by two leaves five pixels, one of two by three three
    Worked(
        "patch_robustness",
        patch_robustness((1, 3, 3), 2, size=(2, 2)),
        {"f": SUM},
        {"x0": WHITE, "c": 0},
        lambda v: v.x.flatten(1).sum(1) > 4,
        "H",
        worst=(-1.0,),
    ),
    Worked(
        "patch_robustness",
        patch_robustness((1, 3, 3), 2, size=(2, 3)),
        {"f": SUM},
        {"x0": WHITE, "c": 0},
        lambda v: v.x.flatten(1).sum(1) > 4,
        "V",
        worst=(1.0,),
    ),
]

"""Worked examples: a few pixels, one window, or chosen features take any values."""

from __future__ import annotations

import torch
from robustbench_local.specs.library import few_pixels, irrelevant_features, patch_robustness

from .worked import Worked, flat, leads, linear, mlp, numbers, points

# class 0 leads where the sum of all nine pixels exceeds 4; the image is white, each pixel costs 1
SUM = flat(linear([[1] * 9, [0] * 9], [0, 4]))
WHITE = torch.ones(1, 3, 3, dtype=torch.float64)
SHAPE = (2, 3, 3)
IMAGE, NETWORK = points(1, *SHAPE, seed=80), flat(mlp(18, 8, 3, seed=81))
# class 0 leads where x0 + x1 / 4 + x3 exceeds 1/2; x1 is the tint that should not matter
TINTED = linear([[1, 0.25, 0, 1], [0, 0, 0, 0]], [0, 0.5])
TILES = flat(mlp(8, 10, 3, seed=83))
PICTURE = points(1, 2, 2, 2, seed=84)
LOWEST = numbers(0, -9).reshape(2, 1, 1, 1).expand(2, 2, 2, 2)

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
    # within 1/16 of (x0, x3) = (3/4, 0) the lead is at least 1/8 whatever the tint; of (1/2, 0), it is not
    Worked(
        "irrelevant_features",
        irrelevant_features(4, 2, free=[1, 2]),
        {"f": TINTED},
        {
            "x0": torch.tensor([[0.75, 0.5, 9.0, 0.0], [0.5, 0.5, 9.0, 0.0]], dtype=torch.float64),
            "c": 0,
            "eps": 0.0625,
            "low": torch.tensor([0.0, 0.0, 8.0, 0.0], dtype=torch.float64),
            "high": torch.tensor([1.0, 1.0, 9.0, 1.0], dtype=torch.float64),
        },
        lambda v: v.x[:, 0] + v.x[:, 1] / 4 + v.x[:, 3] > 0.5,
        "HV",
        worst=(0.5 - 0.6875, 0.5 - 0.4375),
    ),
    # a control of the claim: class 0 needs the tint
    Worked(
        "irrelevant_features",
        irrelevant_features(4, 2, free=[1]),
        {"f": linear([[0, 1, 0, 0], [0, 0, 0, 0]], [0, 0.5])},
        {"x0": torch.ones(4, dtype=torch.float64), "c": 0, "eps": 0.0, "low": 0.0, "high": 1.0},
        lambda v: v.x[:, 1] > 0.5,
        "V",
        worst=(0.5,),
        tags="-control",
    ),
    Worked(
        "irrelevant_features",
        irrelevant_features((2, 2, 2), 3, free=[0, 7]),
        {"f": TILES},
        {"x0": PICTURE, "c": TILES(PICTURE).argmax(1), "eps": 0.0, "low": LOWEST, "high": 1.0},
        lambda v: leads(TILES(v.x), v.c),
        "HV",
        tags="-random",
    ),
]

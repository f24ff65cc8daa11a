"""Worked examples: images changed by motion, light and lenses."""

from __future__ import annotations

import torch
from robustbench_local.specs.library import bias_field, blur, geometry, light
from robustbench_local.specs.transforms import blur as blurs
from robustbench_local.specs.transforms import colour, intensity
from robustbench_local.specs.transforms import geometry as moves
from torch import nn

from .worked import Worked, flat, leads, linear, mlp, points

GREY, COLOURS = (1, 5, 5), (3, 1, 2)
IMAGE, PHOTO = points(1, *GREY, seed=70), points(1, *COLOURS, seed=71)
SMALL, BIG = flat(mlp(25, 10, 3, seed=72)), flat(mlp(6, 10, 3, seed=73))
# the pixel in the middle, 1 of a dark image, against 1/2
DOT = torch.zeros(1, *GREY, dtype=torch.float64)
DOT[..., 2, 2] = 1
MIDDLE = nn.Sequential(nn.Flatten(), linear([[float(i == 12) for i in range(25)], [0] * 25], [0, 0.5])).eval()
C1, C3 = SMALL(IMAGE).argmax(1), BIG(PHOTO).argmax(1)
# the mean against 1/2: brightness b and contrast k of an image whose mean is 1/2 give 1/2 + b
MEAN = nn.Sequential(nn.Flatten(), linear([[1 / 25] * 25, [0] * 25], [0, 0.5])).eval()
FLAT = torch.full((1, *GREY), 0.75, dtype=torch.float64)


def _rows(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


CASES = [
    Worked(
        "geometry",
        geometry(GREY, 3),
        {"f": SMALL},
        {"x0": IMAGE, "c": C1, "low": _rows((-1,), (-180,)), "high": _rows((1,), (180,))},
        lambda v: leads(SMALL(moves.rotate(v.x0, v.t[:, 0])), v.c),
        "HV",
    ),
    Worked(
        "geometry",
        geometry(GREY, 3, parameters=("right", "down", "factor"), border=True),
        {"f": SMALL},
        {
            "x0": IMAGE,
            "c": C1,
            "low": _rows((-0.05, 0, 1), (-2, -2, 0.5)),
            "high": _rows((0.05, 0, 1), (2, 2, 2)),
        },
        lambda v: leads(
            SMALL(moves.affine(v.x0, right=v.t[:, 0], down=v.t[:, 1], factor=v.t[:, 2], border=True)), v.c
        ),
        "HV",
    ),
    # 3/4 + b is brighter than 1/2 down to b = -1/4
    Worked(
        "light",
        light(GREY, 2, parameters=("brightness",)),
        {"f": MEAN},
        {"x0": FLAT, "c": 0, "low": _rows((-0.125,), (-0.5,)), "high": _rows((0.25,), (0.25,))},
        lambda v: 0.75 + v.t[:, 0] > 0.5,
        "HV",
        worst=(-0.125, 0.25),
    ),
    Worked(
        "light",
        light(COLOURS, 3, parameters=("saturation", "hue", "gamma")),
        {"f": BIG},
        {
            "x0": PHOTO,
            "c": C3,
            "low": _rows((0.98, -1, 0.99), (0, -180, 0.5)),
            "high": _rows((1.02, 1, 1.01), (2, 180, 2)),
        },
        lambda v: leads(
            BIG(intensity.gamma(colour.hue(colour.saturation(v.x0, v.t[:, 0]), v.t[:, 1]), v.t[:, 2])), v.c
        ),
        "HV",
    ),
    # a Gaussian of deviation 1/4 leaves the middle, one of 3 spreads it; a stroke of n leaves 1 / n of it
    Worked(
        "blur",
        blur(GREY, 2),
        {"f": MIDDLE},
        {"x0": DOT, "c": 0, "low": 0.2, "high": _rows((0.25,), (3,))},
        lambda v: leads(MIDDLE(blurs.gaussian_blur(v.x0, v.t[:, 0], border=True)), v.c),
        "HV",
    ),
    Worked(
        "blur",
        blur(GREY, 2, motion=True, radius=1),
        {"f": MIDDLE},
        {"x0": DOT, "c": 0, "low": 1.0, "high": _rows((1.25,), (3,))},
        lambda v: 1 / v.t[:, 0] > 0.5,
        "HV",
        worst=(0.5 - 1 / 1.25, 0.5 - 1 / 3),
    ),
    # the mean of a field on a flat image is its constant coefficient: 3/4 a > 1/2
    Worked(
        "bias_field",
        bias_field(GREY, 2),
        {"f": MEAN},
        {"x0": FLAT, "c": 0, "low": _rows((0.75, -1, -1), (0.5, 0, 0)), "high": _rows((1, 1, 1), (1, 1, 1))},
        lambda v: 0.75 * v.t[:, 0] > 0.5,
        "HV",
        worst=(0.5 - 0.75 * 0.75, 0.125),
    ),
]

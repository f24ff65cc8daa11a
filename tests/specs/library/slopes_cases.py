"""Worked examples: derivatives by an input."""

from __future__ import annotations

import torch
from robustbench_local.specs.library import monotone_slope, sensitivity
from torch import Tensor, nn

from .worked import Worked, flat, linear, mlp, numbers, points

# relu(x0 - 1/2) + x1 / 4: the slope by x0 is 0, then 1; by x1 it is 1/4 everywhere
BENT = nn.Sequential(linear([[1, 0], [0, 1]], [-0.5, 9.0]), nn.ReLU(), linear([[1, 0.25]])).eval()
SMOOTH = nn.Sequential(mlp(4, 6, seed=95), nn.Tanh(), mlp(6, 3, seed=96)).eval()
TILES = flat(mlp(8, 10, 3, seed=97))
CURVED = nn.Sequential(linear([[2.0]]), nn.Tanh(), linear([[0.5]])).eval()


def _slopes(network: nn.Module, x: Tensor) -> Tensor:
    """(N, outputs, inputs), by torch."""
    with torch.enable_grad():
        rows = torch.autograd.functional.jacobian(lambda x: network(x).sum(0), x)
    return rows.flatten(2).movedim(0, 1)


def _steepest(network: nn.Module, x: Tensor, c: Tensor, watched: list[int]) -> Tensor:
    return _slopes(network, x)[torch.arange(len(x)), c][:, watched].abs().amax(1)


CASES = [
    Worked(
        "sensitivity",
        sensitivity((2,), 1, watched=[1]),
        {"f": BENT},
        {"x0": 0.5, "eps": 0.5, "c": 0, "limit": numbers(0.5, 0.125)},
        lambda v: _steepest(BENT, v.x, v.c, [1]) <= v.limit,
        "HV",
        worst=(-0.25, 0.125),
    ),
    # left of the kink nothing is seen of x0, right of it all
    Worked(
        "sensitivity",
        sensitivity((2,), 1, watched=[0, 1]),
        {"f": BENT},
        {
            "x0": torch.tensor([[0.25, 0.5], [0.75, 0.5]], dtype=torch.float64),
            "eps": 0.125,
            "c": 0,
            "limit": 0.5,
        },
        lambda v: _steepest(BENT, v.x, v.c, [0, 1]) <= v.limit,
        "HV",
        worst=(-0.25, 0.5),
        tags="-kink",
    ),
    Worked(
        "sensitivity",
        sensitivity((2, 2, 2), 3, watched=[0, 7]),
        {"f": TILES},
        {"x0": points(1, 2, 2, 2, seed=98), "eps": 0.25, "c": 1, "limit": numbers(9.0, 0.001)},
        lambda v: _steepest(TILES, v.x, v.c, [0, 7]) <= v.limit,
        "HV",
        tags="-random",
    ),
    Worked(
        "sensitivity",
        sensitivity((4,), 3, watched=[0, 1, 2, 3], p=2.0, bounds=None),
        {"f": SMOOTH},
        {"x0": points(1, 4, seed=99), "eps": 0.125, "c": 2, "limit": numbers(2.0, 0.001)},
        lambda v: _steepest(SMOOTH, v.x, v.c, [0, 1, 2, 3]) <= v.limit,
        "HV",
        tags="-smooth",
    ),
    # the slope of tanh(2 x) / 2 is 1 - tanh(2 x)^2: 1 at zero
    Worked(
        "monotone_slope",
        monotone_slope(1),
        {"f": CURVED},
        {"low": -0.5, "high": 0.5, "least": numbers(0.0, 0.9)},
        lambda v: _slopes(CURVED, v.x)[:, 0, 0] >= v.least,
        "HV",
    ),
    Worked(
        "monotone_slope",
        monotone_slope(2, rising=False),
        {"f": nn.Sequential(BENT, linear([[-1.0]])).eval()},
        {
            "low": torch.tensor([[0.625, 0.0], [0.0, 0.0]], dtype=torch.float64),
            "high": 1.0,
            "least": 0.5,
        },
        lambda v: v.x[:, 0] > 0.5,
        "HV",
        worst=(-0.5, 0.5),
    ),
]

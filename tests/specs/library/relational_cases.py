"""Worked examples: two evaluations of one network."""

from __future__ import annotations

import torch
from robustbench_local.specs.library import (
    equivariance,
    global_robustness,
    lipschitz,
    local_lipschitz,
    monotone,
)

from robustbench_local.specs import flip

from .worked import Worked, flat, linear, mlp, numbers, points

BEND = torch.nn.Sequential(linear([[1, 1], [1, -1]]), torch.nn.ReLU(), linear([[1, 1]])).eval()
SLOPE = linear([[1, -1]])
BENT = torch.nn.Sequential(linear([[1, 0], [0, 1]], [1, 0]), torch.nn.ReLU(), linear([[1, -2]])).eval()
MEAN = flat(linear([[1 / 6] * 6]))
E0 = torch.tensor([1.0, 0.0], dtype=torch.float64)
UNIT = {"low": torch.zeros(2, dtype=torch.float64), "high": torch.ones(2, dtype=torch.float64)}
TWO = linear([[4, 0], [0, 4]])
SMALL = mlp(2, 6, 2, seed=8)
X2 = points(2, 2, seed=1)


def _distance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x - y).abs().amax(1)


CASES = [
    # the confidence of (4 x0, 4 x1) is sigmoid(4 |x0 - x1|), at most 0.982
    Worked(
        "global_robustness",
        global_robustness((2,), 2),
        {"f": TWO},
        {"eps": 0.1, "k": numbers(0.99, 0.6)},
        lambda v: (
            (TWO(v.x).softmax(1).amax(1) < v.k) | ((v.x[:, 0] - v.x[:, 1]) * (v.y[:, 0] - v.y[:, 1]) > 0)
        ),
        "HV",
        methods=("crown", "alpha-crown"),
    ),
    # |x0 + x1|+ + |x0 - x1|+ rises by 2 per step of x0
    Worked(
        "lipschitz",
        lipschitz((2,), 1),
        {"f": BEND},
        {"L": 1.5},
        lambda v: _distance(BEND(v.x), BEND(v.y)) <= v.L * _distance(v.x, v.y),
        "V",
        worst=(0.5,),
    ),
    # |x0 - y0 - x1 + y1| is at most |x - y|_1; 1/4 more of it is at most 1/2 of the slack
    Worked(
        "lipschitz",
        lipschitz((2,), 1, p=1),
        {"f": SLOPE},
        {"L": 1.25, "slack": 0.75},
        lambda v: (SLOPE(v.x) - SLOPE(v.y))[:, 0].abs() <= v.L * (v.x - v.y).abs().sum(1) + v.slack,
        "H",
        worst=(-0.75,),
    ),
    Worked(
        "local_lipschitz",
        local_lipschitz((2,), 1, p=1),
        {"f": SLOPE},
        {"x0": X2, "eps": 0.2, "L": numbers(1.25, 0.5), "slack": numbers(0.25, 0.0)},
        lambda v: (SLOPE(v.x) - SLOPE(v.y))[:, 0].abs() <= v.L * (v.x - v.y).abs().sum(1) + v.slack,
        "HV",
        worst=(-0.25, 0.4),
    ),
    Worked(
        "local_lipschitz",
        local_lipschitz((2,), 2, bounds=(0.0, 1.0)),
        {"f": SMALL},
        {"x0": X2, "eps": 0.1, "L": 0.125},
        lambda v: _distance(SMALL(v.x), SMALL(v.y)) <= v.L * _distance(v.x, v.y),
        "VV",
    ),
    # relu(x0 + 1) - 2 x1 rises with x0 and falls with x1, here by 2 d at most
    Worked(
        "monotone",
        monotone(2, feature=0),
        {"f": BENT},
        {**UNIT, "rise": 0.5},
        lambda v: BENT(v.x + v.d.unsqueeze(1) * E0)[:, 0] >= BENT(v.x)[:, 0],
        "H",
        worst=(0.0,),
    ),
    Worked(
        "monotone",
        monotone(2, feature=1),
        {"f": BENT},
        {**UNIT, "rise": 0.5},
        lambda v: v.d <= 0,
        "V",
        worst=(1.0,),
    ),
    Worked(
        "monotone",
        monotone(2, feature=1, rising=False),
        {"f": BENT},
        {**UNIT, "rise": 0.5},
        lambda v: v.d >= 0,
        "H",
        worst=(0.0,),
    ),
    # f(T x) - T f(x) = (x0, -x1) / 2 for the exchange T of both elements
    Worked(
        "equivariance",
        equivariance((2,), 2, of_input=flip, of_output=flip),
        {"f": linear([[1, 2], [1.5, 1]])},
        {"x0": 0.5, "eps": 0.25, "delta": numbers(0.5, 0.25)},
        lambda v: (v.x.abs() / 2 <= v.delta.unsqueeze(1)).all(1),
        "HV",
        worst=(-0.125, 0.125),
    ),
    # the mean of an image does not change when it is mirrored
    Worked(
        "equivariance",
        equivariance((1, 2, 3), 1, of_input=flip, of_output=lambda y: y),
        {"f": MEAN},
        {"x0": 0.5, "eps": 0.5, "delta": 0.125},
        lambda v: (MEAN(v.x.flip(-1)) - MEAN(v.x)).abs()[:, 0] <= v.delta,
        "H",
        worst=(-0.125,),
    ),
]

"""Worked examples: learned models of physical systems."""

from __future__ import annotations

import math

import torch
from robustbench_local.specs.library import feasibility, pendulum_loses_energy

from robustbench_local.specs import stack, vsum

from .worked import Plain, Worked, linear, numbers

# a model that keeps the angle and scales the speed
DAMP = linear([[1, 0, 0], [0, 1, 0], [0, 0, 0.5]])
KICK = linear([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [0, 0, 0.1])
# both generators give half of the load
SHARE = linear([[0.5, 0.5], [0.5, 0.5]])
LINE = Plain(lambda x: torch.cat([x[:, :1] * x[:, 1:], x[:, 1:]], 1))


def _pair(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


CASES = [
    # speed v -> v / 2 loses 3/8 v^2: at least 0.375 for speeds above 1
    Worked(
        "pendulum_loses_energy",
        pendulum_loses_energy(),
        {"f": DAMP},
        {"low": _pair(-0.5, 1.0), "high": _pair(0.5, 1.25), "tolerance": 0.01},
        lambda v: (v.q[:, 1] / 2) ** 2 / 2 <= v.q[:, 1] ** 2 / 2 + 0.01,
        "H",
        worst=(-0.385,),
    ),
    # v -> v + 0.1 gains v / 10 + 0.005
    Worked(
        "pendulum_loses_energy",
        pendulum_loses_energy(length=2.0),
        {"f": KICK},
        {"low": _pair(-math.pi, -1.0), "high": _pair(math.pi, 1.0), "tolerance": 0.01},
        lambda v: 4 * (v.q[:, 1] / 10 + 0.005) <= 0.01,
        "V",
        worst=(0.41,),
    ),
    Worked(
        "feasibility",
        feasibility(2, 2, residual=lambda x, y: vsum(y) - vsum(x)),
        {"f": SHARE},
        {
            "low": 0.0,
            "high": 1.0,
            "tolerance": 0.001,
            "under": 0.0,
            "over": torch.stack([_pair(1.5, 1.5), _pair(0.75, 1)]),
        },
        lambda v: (SHARE(v.x) <= v.over).all(1),
        "HV",
        worst=(-0.001, 0.25),
    ),
    # products in the residual: y0 should be x0 y1
    Worked(
        "feasibility",
        feasibility(2, 2, residual=lambda x, y: stack(y[0] - x[0] * y[1], y[1] - x[1])),
        {"f": LINE},
        {"low": 0.25, "high": 0.5, "tolerance": numbers(0.25), "under": 0.0, "over": 1.0},
        lambda v: v.x[:, 0] <= torch.inf,
        "H",
    ),
]

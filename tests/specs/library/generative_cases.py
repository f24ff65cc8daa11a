"""Worked examples: generators, autoencoders and flows."""

from __future__ import annotations

import math

import torch
from robustbench_local.specs.library import (
    critic_bounds,
    disentangled,
    inverse,
    latent_box,
    latent_line,
    log_density,
    mode_coverage,
    typical_inputs,
    vae_reconstruction,
)

from .worked import Plain, Worked, leads, linear, mlp, numbers

# G(z) = (z0, z1, z0 + z1); a critic that adds everything up
G = linear([[1, 0], [0, 1], [1, 1]])
CRITIC = linear([[1, 1, 1]])
CLASSES = linear([[1, 0, 0], [0, 1, 0], [0, 0, 0.25]], [0, 0, 0.5])
ZERO = torch.zeros(2, dtype=torch.float64)
MU, SIGMA, DEC = linear([[1, 0, 0], [0, 1, 0]]), Plain(lambda x: x[:, :2] * 0 + 0.5), G
X0 = torch.tensor([0.5, 0.25, 0.75], dtype=torch.float64)  # what DEC makes of MU(X0)
FLOW, BACK = linear([[2, 1], [0, 1]]), linear([[0.5, -0.5], [0, 1.125]])
LOG_TWO_PI = math.log(2 * math.pi)
NORMAL = Plain(lambda x: -0.5 * (x * x).sum(1, keepdim=True) - LOG_TWO_PI)
CURVED, JUDGE = mlp(2, 8, 3, seed=30), mlp(3, 8, 3, seed=31)


def _made(v: torch.Tensor) -> torch.Tensor:
    return torch.stack([v[:, 0], v[:, 1], v[:, 0] + v[:, 1]], 1)


CASES = [
    # 2 (z0 + z1) within 4 eps of 0
    Worked(
        "critic_bounds",
        critic_bounds((2,), 3),
        {"G": G, "f": CRITIC},
        {"z0": ZERO, "eps": numbers(0.2, 0.3), "low": -1.0, "high": 1.0},
        lambda v: (2 * v.z.sum(1)).abs() <= 1,
        "HV",
        worst=(-0.2, 0.2),
    ),
    # along (t, 1 - t) the first class leads the second by 2 t - 1, and its own offsets play no part
    Worked(
        "latent_line",
        latent_line((2,), 3, 3),
        {"G": G, "f": CLASSES},
        {
            "z1": torch.tensor([1.0, 0.25], dtype=torch.float64),
            "z2": torch.tensor([[2.0, 0.5], [0.25, 1.0]], dtype=torch.float64),
            "c": 0,
        },
        lambda v: leads(CLASSES(_made(v.z1 + v.t.unsqueeze(1) * (v.z2 - v.z1))), v.c),
        "HV",
    ),
    # the error is (e0, e1, e0 + e1) / 2, squared 3/4 (e0^2 + e1^2 + ..) at most 1.5 spread^2
    Worked(
        "vae_reconstruction",
        vae_reconstruction((3,), 2),
        {"mu": MU, "sigma": SIGMA, "dec": DEC},
        {"x0": X0, "spread": numbers(0.5, 2.0), "tau": 1.0},
        lambda v: ((v.x0 - _made(v.x0[:, :2] + 0.5 * v.e)) ** 2).sum(1) <= v.tau,
        "HV",
        worst=(1.5 * 0.25 - 1, 1.5 * 4 - 1),
    ),
    # x0 - x1 = 0.25 + (e0 - e1) / 2: class 0 stays ahead of class 1 up to a spread of 1/4
    Worked(
        "latent_box",
        latent_box((3,), 2, 2),
        {"mu": MU, "sigma": SIGMA, "dec": DEC, "f": linear([[1, 0, 0], [0, 1, 0]])},
        {"x0": X0, "spread": numbers(0.125, 0.5), "c": 0},
        lambda v: v.x0[:, 0] + v.e[:, 0] / 2 > v.x0[:, 1] + v.e[:, 1] / 2,
        "HV",
        worst=(-0.125, 0.25),
    ),
    # attributes (z0, z0 + z1): moving z1 by up to reach + eps leaves the first as it is
    Worked(
        "disentangled",
        disentangled(2, 3, 2, moved=1),
        {"G": G, "f": linear([[1, 0, 0], [0, 0, 1]])},
        {
            "z0": ZERO,
            "eps": 0.25,
            "reach": 1.0,
            "delta": torch.tensor([[0.125, 5.0], [0.125, 0.5]], dtype=torch.float64),
        },
        lambda v: (v.v - v.z[:, 1]).abs() <= v.delta[:, 1],
        "HV",
        worst=(-0.125, 0.75),
    ),
    # g(f(x)) - x = (0, x1 / 8) with f(x) = (2 x0 + x1, x1)
    Worked(
        "inverse",
        inverse((2,), 2),
        {"f": FLOW, "g": BACK},
        {"x0": 0.5, "eps": 0.5, "delta": numbers(0.25, 0.1)},
        lambda v: (BACK(FLOW(v.x)) - v.x).abs().amax(1) <= v.delta,
        "HV",
        worst=(0.125 - 0.25, 0.125 - 0.1),
    ),
    # the normal density in the plane: farthest from 0 at a corner, nearest where the ball allows
    Worked(
        "log_density",
        log_density((2,)),
        {"f": NORMAL},
        {"x0": torch.tensor([0.5, 0.0], dtype=torch.float64), "eps": 0.5, "limit": numbers(-2.5, -2.4)},
        lambda v: NORMAL(v.x)[:, 0] >= v.limit,
        "HV",
        worst=(-2.5 + 0.625 + LOG_TWO_PI, -2.4 + 0.625 + LOG_TWO_PI),
    ),
    Worked(
        "log_density",
        log_density((2,), rare=True, p=2.0),
        {"f": NORMAL},
        {"x0": torch.tensor([3.0, 4.0], dtype=torch.float64), "eps": numbers(1, 2), "limit": -8.0},
        lambda v: NORMAL(v.x)[:, 0] <= v.limit,
        "HV",
        worst=(8 - 8 - LOG_TWO_PI, 8 - 4.5 - LOG_TWO_PI),
    ),
    # class 2 has (z0 + z1) / 4 + 1/2 against z0 and z1: 3/4 z0 - z1 / 4 reaches sqrt(10) / 4 times the radius
    Worked(
        "typical_inputs",
        typical_inputs((2,), 3, 3),
        {"G": G, "f": CLASSES},
        {"z0": ZERO, "radius": numbers(0.5, 1.0), "c": 2},
        lambda v: leads(CLASSES(_made(v.z)), v.c),
        "HV",
        worst=(0.5 * math.sqrt(10) / 4 - 0.5, math.sqrt(10) / 4 - 0.5),
    ),
    # class 1 of (z0, -1) needs z0 < -1: within a radius of 2, not of 1/2
    Worked(
        "mode_coverage",
        mode_coverage((2,), 3, 2),
        {"G": G, "f": linear([[1, 0, 0], [0, 0, 0]], [0, -1])},
        {"z0": ZERO, "radius": numbers(2.0, 0.5), "c": 1},
        lambda v: v.z[:, 0] < -1,
        "HV",
        worst=(1.0, -0.5),
    ),
    Worked(
        "mode_coverage",
        mode_coverage((2,), 3, 3),
        {"G": CURVED, "f": JUDGE},
        {"z0": ZERO, "radius": 0.125, "c": torch.arange(3)},
        lambda v: leads(JUDGE(CURVED(v.z)), v.c),
        "VVH",
        tags="-random",
    ),
]

"""Worked examples: conditions that another network decides."""

from __future__ import annotations

import torch
from robustbench_local.specs.library import if_seen_then

from .worked import Worked, leads, linear, mlp, numbers, points

# the sign is seen where x0 > x1; the brake, action 1, leads where x0 - x1 > -0.25 or, for SLOW, > 0.25
SIGN = linear([[1, 0], [0, 1]])
QUICK, SLOW = linear([[0, 1], [1, 0]], [0, 0.25]), linear([[0, 1], [1, 0]], [0, -0.25])
SEES, ACTS = mlp(3, 6, 2, seed=60), mlp(3, 6, 3, seed=61)
X3 = points(2, 3, seed=62)

CASES = [
    Worked(
        "if_seen_then",
        if_seen_then((2,), 2, 2),
        {"f": network, "g": SIGN},
        {"x0": 0.5, "eps": eps, "k": 0, "a": 1},
        lambda v, gap=gap: (v.x[:, 0] <= v.x[:, 1]) | (v.x[:, 0] - v.x[:, 1] > gap),
        verdict,
        methods=("crown", "alpha-crown"),
    )
    for network, gap, eps, verdict in ((QUICK, -0.25, 0.1, "H"), (SLOW, 0.25, 0.5, "V"))
]
CASES.append(
    Worked(
        "if_seen_then",
        if_seen_then((3,), 2, 3, p=2),
        {"f": ACTS, "g": SEES},
        {
            "x0": X3,
            "eps": numbers(0.01, 0.1),
            "k": SEES(X3).argmax(1),
            "a": torch.stack([ACTS(X3)[0].argmax(), ACTS(X3)[1].argmin()]),
        },
        lambda v: ~leads(SEES(v.x), v.k) | leads(ACTS(v.x), v.a),
        "HV",
        tags="-random",
    )
)

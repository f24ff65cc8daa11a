"""Worked examples: outputs stay within limits."""

from __future__ import annotations

import torch
from robustbench_local.specs.library import index_error, linear_band, regression

from robustbench_local.specs import output_bounds

from .worked import Worked, linear, mlp, numbers, points

SUM = linear([[1, 1]])
X0 = torch.tensor([0.25, 0.5], dtype=torch.float64)
FIT = mlp(3, 12, 2, seed=5)
X3 = points(2, 3, seed=4)
SLOPE = torch.tensor([[1.0, -1.0], [0.5, 0.0]], dtype=torch.float64)


def _band() -> torch.nn.Module:
    """(|x0| - x1, x0 / 2) where x1 >= 0."""
    network = torch.nn.Sequential(
        linear([[1, 0], [-1, 0], [0, 1]]), torch.nn.ReLU(), linear([[1, 1, -1], [0.5, -0.5, 0]])
    )
    return network.eval()


CASES = [
    # |x0 + x1 - 0.75| <= 2 eps, against 0.5
    Worked(
        "output_bounds",
        output_bounds((2,), 1),
        {"f": SUM},
        {"x0": X0, "eps": numbers(0.2, 0.3), "low": 0.25, "high": 1.25},
        lambda v: (SUM(v.x) >= v.low).all(1) & (SUM(v.x) <= v.high).all(1),
        "HV",
        worst=(-0.1, 0.1),
    ),
    Worked(
        "output_bounds",
        output_bounds((3,), 2, p=2, bounds=(0, 1)),
        {"f": FIT},
        {"x0": X3, "eps": numbers(0.05, 0.8), "low": FIT(X3).detach() - 0.4, "high": FIT(X3).detach() + 0.4},
        lambda v: ((FIT(v.x) - (v.low + v.high) / 2).abs() <= 0.4).all(1),
        "HV",
    ),
    Worked(
        "regression",
        regression((2,)),
        {"f": SUM},
        {"x0": X0, "eps": numbers(0.1, 0.2), "delta": 0.3},
        lambda v: (SUM(v.x) - SUM(v.x0)).abs()[:, 0] <= v.delta,
        "HV",
        worst=(-0.1, 0.1),
    ),
    Worked(
        "regression",
        regression((3,), 2, p=1),
        {"f": FIT},
        {"x0": X3, "eps": numbers(0.1, 2.0), "delta": 0.35},
        lambda v: ((FIT(v.x) - FIT(v.x0)).abs() <= v.delta.unsqueeze(1)).all(1),
        "HV",
    ),
    # f - (A x + b) is (|x0| - x0, 0) for x1 >= 0: at most 2 |low_0|
    Worked(
        "linear_band",
        linear_band(2, 2),
        {"f": _band()},
        {
            "low": torch.tensor([[-0.25, 0.0], [-0.5, 0.0]], dtype=torch.float64),
            "high": torch.ones(2, dtype=torch.float64),
            "A": SLOPE,
            "b": torch.zeros(2, dtype=torch.float64),
            "under": -0.25,
            "over": 0.75,
        },
        lambda v: (v.x[:, 0].abs() - v.x[:, 0]) <= 0.75,
        "HV",
        worst=(-0.25, 0.25),
    ),
    # 10 k on [0, 0.3] next to the positions 1, 2: the error is the larger distance of an end
    Worked(
        "index_error",
        index_error(),
        {"f": linear([[10]])},
        {
            "low": torch.tensor([[0.0], [0.1]], dtype=torch.float64),
            "high": torch.tensor([[0.1], [0.3]], dtype=torch.float64),
            "position": numbers(1, 2),
            "error": numbers(1.5, 0.5),
        },
        lambda v: (10 * v.k[:, 0] - v.position).abs() <= v.error,
        "HV",
        worst=(-0.5, 0.5),
    ),
]

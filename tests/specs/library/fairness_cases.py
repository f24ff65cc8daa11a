"""Worked examples: protected attributes do not decide."""

from __future__ import annotations

import torch
from robustbench_local.specs.library import counterfactual_fairness, individual_fairness, keeps_places
from torch import Tensor

from .worked import Worked, leads, linear, mlp, numbers

# the second of three features is protected
PROTECTED = {1: (0.0, 1.0)}
SCORE = linear([[1, 0.25, 0.5]])
UNIT = {"low": torch.zeros(3, dtype=torch.float64), "high": torch.ones(3, dtype=torch.float64)}
LOANS = mlp(3, 8, 2, seed=4)
BLIND = linear([[1, 0, -1], [0, 0, 0.25]], [0.5, -2])
# one candidate with a merit of 1, and the same with the second word in place of the first
SAME = torch.tensor([[1, 1, 0], [1, 0, 1]], dtype=torch.float64)
POOL = torch.tensor([[0.25, 0, 0], [0.875, 0, 0], [1.75, 0, 0]], dtype=torch.float64)


def _lost(score: torch.nn.Module, x: Tensor) -> Tensor:
    """How many places x (N, 3) loses to POOL that the first of SAME has."""
    rivals, own = score(POOL)[:, 0], score(SAME[:1])[:, 0]
    return ((own > rivals) & ~(score(x) > rivals)).sum(1)


def _twin(x: Tensor, value: float) -> Tensor:
    y = x.clone()
    y[:, 1] = value
    return y


def _same(network: torch.nn.Module, x: Tensor) -> Tensor:
    a, b = (network(_twin(x, value)) for value in (0.0, 1.0))
    classes = torch.arange(a.shape[1])
    return torch.stack([leads(a, c.expand(len(x))) & leads(b, c.expand(len(x))) for c in classes]).any(0)


CASES = [
    # a drift of 0.1 in both other features moves the score by 0.15, the attribute by 0.25
    Worked(
        "individual_fairness",
        individual_fairness(3, protected=PROTECTED),
        {"f": SCORE},
        {**UNIT, "drift": 0.1, "tolerance": numbers(0.5, 0.25)},
        lambda v: torch.stack(
            [(SCORE(v.x) - SCORE(_twin(v.x + v.d, value)))[:, 0].abs() <= v.tolerance for value in (0.0, 1.0)]
        ).all(0),
        "HV",
        worst=(-0.1, 0.15),
    ),
    Worked(
        "individual_fairness",
        individual_fairness(3, 2, protected={0: (0.0, 0.5, 1.0), 2: (0.0, 1.0)}),
        {"f": LOANS},
        {"low": 0.0, "high": 1.0, "drift": 0.05, "tolerance": numbers(9.0, 0.01)},
        lambda v: torch.stack(
            [
                (
                    (
                        LOANS(v.x)
                        - LOANS(torch.stack([v.x[:, 0] * 0 + a, (v.x + v.d)[:, 1], v.x[:, 2] * 0 + b], 1))
                    ).abs()
                    <= v.tolerance.unsqueeze(1)
                ).all(1)
                for a in (0.0, 0.5, 1.0)
                for b in (0.0, 1.0)
            ]
        ).all(0),
        "HV",
    ),
    # class 0 leads by 2.5 + x0 - 1.25 x2, whatever the attribute
    Worked(
        "counterfactual_fairness",
        counterfactual_fairness(3, 2, protected=PROTECTED),
        {"f": BLIND},
        UNIT,
        lambda v: _same(BLIND, v.x),
        "H",
        worst=(-1.25,),
    ),
    Worked(
        "counterfactual_fairness",
        counterfactual_fairness(3, 2, protected=PROTECTED),
        {"f": linear([[1, 1, 1], [0, 0, 0]], [-1.5, 0])},
        UNIT,
        lambda v: (v.x[:, 0] + v.x[:, 2] > 1.5) | (v.x[:, 0] + v.x[:, 2] < 0.5),
        "V",
    ),
    # SCORE values the words at 1/4 and 1/2, nothing is lost; the other at 0 and -1/4, one place of two
    Worked(
        "keeps_places",
        keeps_places(3, rivals=3, variants=2),
        {"f": SCORE},
        {"x0": SAME[0], "pool": POOL, "variants": SAME},
        lambda v: _lost(SCORE, v.x) == 0,
        "H",
        worst=(0.875 - 1.25,),
        methods=(),
    ),
    Worked(
        "keeps_places",
        keeps_places(3, rivals=3, variants=2),
        {"f": linear([[1, 0, -0.25]])},
        {"x0": SAME[0], "pool": POOL, "variants": SAME},
        lambda v: _lost(linear([[1, 0, -0.25]]), v.x) == 0,
        "V",
        worst=(0.875 - 0.75,),
        methods=(),
    ),
    Worked(
        "keeps_places",
        keeps_places(3, rivals=3, variants=2, lost=1),
        {"f": linear([[1, 0, -0.25]])},
        {"x0": SAME[0], "pool": POOL, "variants": SAME},
        lambda v: _lost(linear([[1, 0, -0.25]]), v.x) <= 1,
        "H",
        methods=(),
        tags="-one-lost",
    ),
    Worked(
        "keeps_places",
        keeps_places(3, rivals=3, variants=2, lost=1),
        {"f": linear([[1, 0, -2]])},
        {"x0": SAME[0], "pool": POOL, "variants": SAME},
        lambda v: _lost(linear([[1, 0, -2]]), v.x) <= 1,
        "V",
        methods=(),
        tags="-one-lost",
    ),
]

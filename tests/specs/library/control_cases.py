"""Worked examples: controllers, policies, Lyapunov functions, closed loops."""

from __future__ import annotations

import torch
from robustbench_local.specs.library import (
    conditional_safety,
    lyapunov,
    policy_safety,
    reach_avoid,
    reaches,
    stays_safe,
    stopping_distance,
)
from torch import Tensor

from .worked import Plain, Worked, linear, mlp, numbers

# y = x0 + x1
SUM = linear([[1, 1]])
UNIT = {"low": torch.zeros(2, dtype=torch.float64), "high": torch.ones(2, dtype=torch.float64)}
BRAKE = Plain(lambda x: x[:, :1] * 0 + 2.0)

# s' = s / 8, whatever the control
SHRINK = linear([[0.125, 0, 0], [0, 0.125, 0]])
CONTROL = linear([[-1, -1]])
SQUARE = Plain(lambda s: s.square().sum(1, keepdim=True))
# s' = s + 0.1 u with u = -s: each step takes a tenth away
PULL, MOVE = linear([[-1, 0], [0, -1]]), linear([[1, 0, 0.1, 0], [0, 1, 0, 0.1]])
STEPS = 3


def _path(v: Tensor) -> Tensor:
    """The states of PULL and MOVE from s0, (N, STEPS + 1, 2)."""
    return torch.stack([v * 0.9**k for k in range(STEPS + 1)], 1)


def _inside(path: Tensor, low: Tensor, high: Tensor) -> Tensor:
    return ((path >= low.unsqueeze(1)) & (path <= high.unsqueeze(1))).all(2)


def _until(safe: Tensor, goal: Tensor) -> Tensor:
    reached = torch.zeros(len(safe), dtype=torch.bool)
    for k in range(safe.shape[1]):
        reached |= goal[:, k] & safe[:, :k].all(1)
    return reached


def _pair(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


CASES = [
    # in the half where x0 >= x1 + t the sum is at most 2 - t
    Worked(
        "conditional_safety",
        conditional_safety(
            2, 1, when=lambda x: x.a >= x.b + 0.5, then=lambda y: y[0] <= 1.75, names=("a", "b")
        ),
        {"f": SUM},
        UNIT,
        lambda v: (v.x.sum(1) <= 1.75) | (v.x[:, 0] < v.x[:, 1] + 0.5),
        "H",
        worst=(-0.25,),
        methods=("crown",),
    ),
    Worked(
        "conditional_safety",
        conditional_safety(2, 1, when=lambda x: (x[0] >= 0.5) & (x[1] >= 0.25), then=lambda y: y[0] >= 1),
        {"f": SUM},
        UNIT,
        lambda v: v.x.sum(1) >= 1,
        "V",
        worst=(0.25,),
    ),
    # braking with 2 keeps 2 a d >= v^2 for a = 2 exactly; for a larger a it does not suffice
    Worked(
        "stopping_distance",
        stopping_distance(),
        {"f": BRAKE},
        {"low": _pair(10, 1), "high": torch.stack([_pair(20, 3), _pair(20, 3)]), "a": numbers(1, 1)},
        lambda v: _stops(v, 2.0),
        "HH",
    ),
    Worked(
        "stopping_distance",
        stopping_distance(),
        {"f": Plain(lambda x: x[:, :1] * 0)},
        {"low": _pair(0.5, 1), "high": _pair(2, 3), "a": 1.0},
        lambda v: _stops(v, 0.0),
        "V",
    ),
    # f = (s0, s1): action 0 is never chosen where s1 > s0
    Worked(
        "policy_safety",
        policy_safety(2, 2),
        {"f": linear([[1, 0], [0, 1]])},
        {"low": torch.stack([_pair(0, 0.5), _pair(0, 0.25)]), "high": _pair(0.375, 1.0), "a": 0},
        lambda v: v.s[:, 0] < v.s[:, 1],
        "HV",
        worst=(-0.125, 0.125),
    ),
    # V = |s|^2 and s' = s / 8: V falls by 63/64 V, at least by 63/64 r^2 outside of the square of radius r
    Worked(
        "lyapunov",
        lyapunov(2),
        {"V": SQUARE, "f": CONTROL, "step": SHRINK},
        {"low": _pair(-1, -1), "high": _pair(1, 1), "r": 0.5, "rate": numbers(0.01, 0.5)},
        lambda v: (v.s.abs().amax(1) <= 0.5) | (63 / 64 * v.s.square().sum(1) >= v.rate),
        "HV",
        methods=(),
    ),
    Worked(
        "stays_safe",
        stays_safe(2, 2, steps=STEPS),
        {"f": PULL, "step": MOVE},
        {"low": _pair(-1, -1), "high": _pair(1, 1), "safe_low": -1.5, "safe_high": _pair(1.25, 0.75)},
        lambda v: _inside(_path(v.s0), v.safe_low, v.safe_high).all(1),
        "V",
        worst=(0.25,),
    ),
    Worked(
        "stays_safe",
        stays_safe(2, 2, steps=STEPS),
        {"f": PULL, "step": MOVE},
        {"low": _pair(-1, -1), "high": _pair(1, 1), "safe_low": -1.5, "safe_high": _pair(1.25, 1.25)},
        lambda v: _inside(_path(v.s0), v.safe_low, v.safe_high).all(1),
        "H",
        worst=(-0.25,),
    ),
    # from the corner (1, 1) the state is 0.729 after three steps
    Worked(
        "reaches",
        reaches(2, 2, steps=STEPS),
        {"f": PULL, "step": MOVE},
        {
            "low": _pair(-0.5, -0.5),
            "high": _pair(1, 1),
            "goal_low": -1.0,
            "goal_high": torch.stack([_pair(0.75, 0.75), _pair(0.7, 0.7)]),
        },
        lambda v: _inside(_path(v.s0), v.goal_low, v.goal_high).any(1),
        "HV",
        worst=(0.729 - 0.75, 0.729 - 0.7),
    ),
    Worked(
        "reach_avoid",
        reach_avoid(2, 2, steps=STEPS),
        {"f": PULL, "step": MOVE},
        {
            "low": _pair(0, 0),
            "high": _pair(1, 1),
            "safe_low": torch.stack([_pair(-1, -1), _pair(0.5, -1)]),
            "safe_high": 1.5,
            "goal_low": torch.stack([_pair(-0.5, -0.5), _pair(0.25, -0.5)]),
            "goal_high": 0.75,
        },
        lambda v: _until(
            _inside(_path(v.s0), v.safe_low, v.safe_high), _inside(_path(v.s0), v.goal_low, v.goal_high)
        ),
        "HV",
    ),
]

# a random policy and dynamics; the bounds only have to enclose
_POLICY, _DYNAMICS = mlp(2, 6, 1, seed=1), mlp(3, 8, 2, seed=2)


def _simulated(s: Tensor) -> Tensor:
    path = [s]
    for _ in range(4):
        path.append(_DYNAMICS(torch.cat([path[-1], _POLICY(path[-1])], 1)))
    return torch.stack(path, 1)


CASES.append(
    Worked(
        "stays_safe",
        stays_safe(2, 1, steps=4),
        {"f": _POLICY, "step": _DYNAMICS},
        {
            "low": _pair(-0.25, -0.25),
            "high": _pair(0.25, 0.25),
            "safe_low": torch.stack([_pair(-9, -9), _pair(-0.25, -0.25)]),
            "safe_high": torch.stack([_pair(9, 9), _pair(0.25, 0.25)]),
        },
        lambda v: _inside(_simulated(v.s0), v.safe_low, v.safe_high).all(1),
        "HV",
        tags="-random",
    )
)


def _stops(v: object, brake: float) -> Tensor:
    gap, speed, dt, a = v.x[:, 0], v.x[:, 1], 0.1, v.a  # type: ignore[attr-defined]
    later, slower = gap - dt * speed + brake * dt**2 / 2, speed - dt * brake
    return (2 * a * gap < speed**2) | (2 * a * later >= slower**2)
